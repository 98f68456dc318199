"""Who works in this process: many jobs together, or one suspect alone.

A suspect is a job that was in work when a worker died. That proves nothing while others were in work too. If a
worker dies again while the suspect is the only job in work, it does; and meanwhile an innocent suspect is in no
danger from other jobs, nor they from a guilty one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Floor:
    """A lock that many share or one has alone. Who waits for it alone goes before those who come later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._waiting_alone = 0
        self._is_alone = False

    @property
    def waiting_alone(self) -> int:
        """How many wait to be alone."""
        return self._waiting_alone

    @contextmanager
    def together(self) -> Iterator[None]:
        """Returns as soon as nobody is alone or waits to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone and not self._waiting_alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Returns when all others have left; nobody enters until this one leaves."""
        with self._changed:
            self._waiting_alone += 1
            try:
                self._changed.wait_for(lambda: not self._is_alone and not self._together)
            finally:
                self._waiting_alone -= 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()
