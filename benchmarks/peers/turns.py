"""Both ends of the line between the benchmark and a contender: JSON on standard input and output, a line each.

A contender lives in a process of its own, loads its model once, and then waits for its turns, so that loading is
no part of any figure and idle contenders cost nothing but memory.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worker.errors import SetupError

_READY = "ready"


def serve(
    run: Callable[[Path], float | None], rest: Callable[[Path], float | None], stored: Callable[[], int]
) -> None:
    """The contender's side. `run` answers about all files of a folder; `rest` goes on after the process was killed
    in the middle of that; `stored` counts the answers that would survive a kill now. `run` and `rest` return the
    seconds in which they loaded the model, if they did."""
    sys.stdout.write(json.dumps({_READY: True}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        told = json.loads(line)
        began_s = time.perf_counter()
        loaded_s = None
        if told["do"] != "count":
            loaded_s = (run if told["do"] == "run" else rest)(Path(told["folder"]))
        took_s = time.perf_counter() - began_s - (loaded_s or 0.0)
        sys.stdout.write(json.dumps({"seconds": took_s, "stored": stored()}) + "\n")
        sys.stdout.flush()


class Contender:
    """The benchmark's side: a contender's process, which begins to load its model."""

    def __init__(self, module: str, home: Path, environment: Mapping[str, str]) -> None:
        home.mkdir(exist_ok=True)
        self._log = home / "log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.peers.{module}", str(home)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Returns once its model is loaded. Raises `SetupError` with its last line where that fails."""
        self._answer()

    def run(self, folder: Path) -> float:
        """Seconds for all files of the folder."""
        return float(self._ask("run", folder)["seconds"])

    def begin(self, folder: Path) -> None:
        """As `run`, without waiting: for one that is going to be killed."""
        self._tell("run", folder)

    def rest(self, folder: Path) -> tuple[float, int]:
        """Seconds for what a killed process left undone, and how many answers are stored then."""
        found = self._ask("rest", folder)
        return float(found["seconds"]), int(found["stored"])

    def stored(self) -> int:
        """How many answers are stored."""
        return int(self._ask("count", Path())["stored"])

    def kill(self) -> None:
        """Ends it and all that it has started in its session at once, as a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Ends it in an orderly way; where it does not, at once."""
        if self._process.poll() is None and self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def _ask(self, what: str, folder: Path) -> dict[str, Any]:
        self._tell(what, folder)
        return self._answer()

    def _tell(self, what: str, folder: Path) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "folder": str(folder)}) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        """The next line that is one of ours: libraries print to standard output too."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and (_READY in found or "seconds" in found):
                return found
        said = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        raise SetupError(said[-1][:300] if said else "it ended without a word")
