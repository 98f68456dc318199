"""The processes under test, each with somebody who starts it again: what a supervisor does."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_FAKETIME = [
    Path(folder) / "faketime" / "libfaketimeMT.so.1"
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib")
]


def faketime_library() -> Path | None:
    """libfaketime for programs with threads, where it is installed."""
    return next((path for path in _FAKETIME if path.exists()), None)


class Supervised:
    """One process that is started again whenever it is found dead."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        """`arguments` follow the Python interpreter. What it prints goes to the file `log`."""
        self.name = name
        self.ended_by_itself: list[int] = []
        self._command = [sys.executable, *arguments]
        self._environment = dict(environment)
        self._log = log
        self._clock = log.with_suffix(".clock")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def tend(self) -> None:
        """Starts it where it does not run. An end that nobody asked for is noted with its exit status."""
        if self.pid is not None:
            return
        if self._process is not None and self._process.returncode != -signal.SIGKILL:
            self.ended_by_itself.append(self._process.returncode)
        environment = os.environ | self._environment
        library = faketime_library()
        if self._clock.exists() and library is not None:
            environment |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",  # seconds until a change of the file is seen
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as on a real machine, where only the wall clock jumps
            }
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, env=environment, stdout=output, stderr=output)

    def kill(self) -> None:
        """kill -9; returns when it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def set_clock(self, offset: str) -> None:
        """Lets its wall clock jump (`+1h`). It must have been started with a clock file: set one, then kill it."""
        draft = self._clock.with_suffix(".draft")
        draft.write_text(offset + "\n")
        draft.replace(self._clock)

    def real_clock(self) -> None:
        """From its next start on it has the machine's clock again."""
        self._clock.unlink(missing_ok=True)

    def terminate(self) -> bool:
        """SIGTERM: it is to finish what it has in work. False where it does not run."""
        if self.pid is None or self._process is None:
            return False
        self._process.terminate()
        return True

    def stop(self) -> None:
        """SIGTERM, and kill -9 for one that does not end within a minute."""
        if not self.terminate():
            return
        assert self._process is not None
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.ended_by_itself.append(-signal.SIGKILL)
            self._process.kill()
            self._process.wait(30)
