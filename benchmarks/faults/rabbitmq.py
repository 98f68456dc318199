"""A RabbitMQ node of this run's own: own name, ports and data, so that no other node is touched."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from kombu import Connection

from worker.errors import SetupError
from worker.queue.broker import BROKER_ERRORS

_START_S = 300.0


class RabbitMQ:
    """`rabbitmq-server` as a process. Raises `SetupError` where it is not installed or does not start."""

    def __init__(self, folder: Path) -> None:
        """`folder` does not exist yet. A node that root starts runs as another user, who must write there."""
        command = shutil.which("rabbitmq-server")
        if command is None:
            raise SetupError("rabbitmq-server is not installed")
        self._command = command
        self._folder = folder
        self._pid_file = folder / "pid"
        self.port = _free_port()
        self._environment = os.environ | {
            "RABBITMQ_NODENAME": f"globetag-faults-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(_free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(self._pid_file),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        }
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        self._make_folders()

    @property
    def url(self) -> str:
        """Its own address, not that of a proxy before it."""
        return url_at(self.port)

    def start(self) -> None:
        """Returns when it takes connections."""
        self._pid_file.unlink(missing_ok=True)
        output = (self._folder / "output").open("ab")
        with output:
            self._process = subprocess.Popen(
                [self._command], env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        deadline_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                said = (self._folder / "output").read_text(errors="replace").strip()
                raise SetupError(f"RabbitMQ did not start: {said.rpartition(chr(10))[2][:300]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of the node (beam), and the end of what started it."""
        os.kill(int(self._pid_file.read_text()), signal.SIGKILL)
        assert self._process is not None
        self._process.wait(30)

    def lose_data(self) -> None:
        """Everything that the stopped node has stored is gone."""
        shutil.rmtree(self._folder / "data")
        self._make_folders()

    def remove(self) -> None:
        """Ends it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _make_folders(self) -> None:
        for name in ("", "data", "log"):
            (self._folder / name).mkdir(exist_ok=True)
            (self._folder / name).chmod(0o777)

    def _answers(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=2) as connection:
                connection.ensure_connection(max_retries=1, timeout=2)
        except BROKER_ERRORS:
            return False
        return self._pid_file.exists()


def url_at(port: int) -> str:
    """The URL of a node, or of a proxy before one, on this machine."""
    return f"amqp://guest:guest@127.0.0.1:{port}//"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
