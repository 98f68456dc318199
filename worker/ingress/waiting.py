"""A loop that outlasts what it depends on: database and broker may be away for as long as they like."""

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from worker.queue.broker import BROKER_ERRORS
from worker.queue.patience import first_line

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 30.0


class Patience:
    """Runs `work` again and again until `stopping` is set, with growing pauses while there is an outage."""

    def __init__(self, name: str, stopping: threading.Event) -> None:
        self._name = name
        self._stopping = stopping
        self._wait_s = _FIRST_WAIT_S

    def went_well(self) -> None:
        """The next outage begins with a short pause again."""
        self._wait_s = _FIRST_WAIT_S

    def run(self, work: Callable[[], None]) -> None:
        """Returns once `stopping` is set. What is no outage is raised: a defect must not go round in circles."""
        while not self._stopping.is_set():
            try:
                work()
            except (SQLAlchemyError, *BROKER_ERRORS) as error:
                log.warning("%s pauses for %.0f s: %s", self._name, self._wait_s, first_line(error))
                self._stopping.wait(self._wait_s)
                self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
