"""Looks at the calibrations again and again, in a thread of the training worker.

Not by a message as training itself: a training may hold the one thread that takes messages for hours, and what it
has just replaced serves on with the radii of before.
"""

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from trainer.renew.renew import Look, Looked
from worker.queue.patience import first_line

log = logging.getLogger(__name__)

EVERY_S = 60.0
_JOIN_S = 60.0


class Watch:
    """Calls `look` at once and then every `every_s` seconds, from `start` to `stop`.

    What goes wrong in a look is told in the log, and the next one comes all the same.
    """

    def __init__(self, look: Callable[[], Look], *, every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._stopping = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="calibrations", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no further look. Does not wait for the one at work."""
        self._stopping.set()

    def close(self) -> None:
        """Stops, and waits for the look at work. What it does not end in a minute, the next process does."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._tell(self._look())
            except SQLAlchemyError as error:
                log.warning("the calibrations cannot be looked at: %s", first_line(error))
            except Exception:
                log.exception("a look at the calibrations failed")
            self._stopping.wait(self._every_s)

    def _tell(self, looked: Look) -> None:
        """Each refusal that stands is told once, not at every look."""
        if looked.ended is Looked.STANDS_REFUSED and looked.told != self._said:
            log.info("calibrations: %s", looked.told)
        self._said = looked.told
