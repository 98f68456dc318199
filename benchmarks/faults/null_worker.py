"""A worker with null models as a process, which takes a while for each photograph: something to kill.

    python -m benchmarks.faults.null_worker SECONDS

Its settings come from the environment, as those of `globetag worker --no-dispatch`; SIGTERM drains it. SECONDS is
the mean time for an answer. An answer takes between half of that and half as much again, by the picture.
"""

import os
import threading
import time
from typing import Any

if "FAKETIME_TIMESTAMP_FILE" in os.environ:
    # Python 3.11 sleeps until a time of the monotonic clock. libfaketime 0.9.10 takes that for a time of the wall
    # clock that it has moved, and the kernel refuses what comes out. Waiting for an event is not affected.
    # Must stand before whatever imports `sleep` by name.
    def _sleep(seconds: Any) -> None:
        threading.Event().wait(float(seconds))

    time.sleep = _sleep

import hashlib
import logging
import signal
import sys
from collections.abc import Callable

from PIL.Image import Image

from benchmarks.null_models import ANSWER, NullEngine, NullGate
from worker.assemble import Models, assemble
from worker.database import open_database
from worker.errors import SetupError
from worker.settings import load


def taking(mean_s: float) -> Callable[[Image], str]:
    """What a null engine says, after a pause that depends on the picture alone."""

    def say(image: Image) -> str:
        share = hashlib.sha256(image.tobytes()).digest()[0] / 255
        time.sleep(mean_s * (0.5 + share))
        return ANSWER

    return say


def main(mean_s: float) -> int:
    """Works until SIGTERM, or until the consumer ends by itself (status 1)."""
    settings, _ = load()
    models = Models(NullGate(), NullEngine(taking(mean_s)), gate_threshold=0.5)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    with open_database(settings) as database, assemble(settings, database, models, dispatch=False) as worker:
        worker.runner.start()
        while not stopping.wait(0.5) and worker.failure is None:
            pass
        failure = worker.failure
        if failure is not None:
            print(f"the consumer ended: {failure!r}", file=sys.stderr, flush=True)
        worker.runner.stop(drain_s=30)
    return 0 if failure is None else 1


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(threadName)s: %(message)s"
    )
    try:
        sys.exit(main(float(sys.argv[1])))
    except SetupError as error:
        sys.exit(str(error))
