"""The Postgres of a run: the embedded one, on a small file system of its own that can be filled."""

import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from worker import embedded
from worker.errors import SetupError

_PORT = 5432  # also in the name of its Unix socket
_DISK_MB = 768
_START_S = 60.0


class Postgres:
    """Started by `start`. `disk_refusal` says why its disk cannot be filled, None where it can."""

    def __init__(self, home: Path) -> None:
        """`home`: a folder that does not exist yet, GLOBETAG_HOME."""
        self.home = home
        self.url = ""
        home.mkdir()
        self.disk_refusal = _mount(home)
        self._filler = home / "filler"

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        [folder] = parse_qs(urlsplit(self.url).query)["host"]
        return f"{folder}/.s.PGSQL.{_PORT}"

    def start(self) -> None:
        """Starts it as an operator does who finds it dead: again, until it answers. Raises `SetupError`."""
        deadline_s = time.monotonic() + _START_S
        while True:
            try:
                self.url = embedded.start(self.home)
                return
            except SetupError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.5)

    def kill(self) -> None:
        """kill -9 of the postmaster; its children see that it is gone and end."""
        pid = int((self.home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, signal.SIGKILL)

    @property
    def is_running(self) -> bool:
        """Is there a postmaster?"""
        try:
            pid = int((self.home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return False
        return True

    def fill_disk(self) -> int:
        """Takes all space that is left; returns how many bytes that was."""
        filled = 0
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                block = b"\0" * size
                try:
                    while True:
                        filled += file.write(block)
                except OSError:
                    continue
        return filled

    def empty_disk(self) -> None:
        """Gives the space back."""
        self._filler.unlink(missing_ok=True)

    def remove(self) -> None:
        """Stops it, and takes its file system away."""
        self.empty_disk()
        try:
            embedded.stop(self.home)
        finally:
            if self.disk_refusal is None:
                subprocess.run(["umount", "--lazy", str(self.home)], check=False, capture_output=True)


def _mount(folder: Path) -> str | None:
    """Puts a small tmpfs on the folder; returns why that is not possible here."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m,mode=755", "globetag-faults", str(folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or f"mount ended with {done.returncode}" if done.returncode else None
