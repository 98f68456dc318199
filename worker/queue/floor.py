"""Who works in this process: many jobs together, a few suspects among themselves, or one suspect alone.

A suspect is a job that was in work when a worker died. That proves nothing while others were in work too. If a
worker dies again while the suspect is the only job in work, it does; and meanwhile an innocent suspect is in no
danger from other jobs, nor they from a guilty one.

Most suspects are innocent: one death makes suspects of all that was in work. So those that only one worker died
with begin alone, and each that comes through lets one more in at once, as TCP begins slowly (RFC 5681).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Floor:
    """A lock that many share, few share, or one has alone.

    Suspects go before other jobs that come later, and the few before the one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._suspects = 0
        self._is_alone = False
        self._waiting_few = 0
        self._waiting_alone = 0
        self._at_once = 1

    @property
    def waiting_few(self) -> int:
        """How many wait to be among suspects."""
        return self._waiting_few

    @property
    def waiting_alone(self) -> int:
        """How many wait to be alone."""
        return self._waiting_alone

    @contextmanager
    def together(self) -> Iterator[None]:
        """Returns as soon as no suspect is in work or waits."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._suspects or self._waiting_few or self._waiting_alone))
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def among_suspects(self) -> Iterator[None]:
        """Returns when none but suspects are in work, and not too many of them.

        That is one, and one more for each that came through since `begin_anew`.
        """
        with self._changed:
            self._waiting_few += 1
            try:
                self._changed.wait_for(
                    lambda: not self._together and not self._is_alone and self._suspects < self._at_once
                )
            finally:
                self._waiting_few -= 1
            self._suspects += 1
        try:
            yield
        finally:
            with self._changed:
                self._suspects -= 1
                self._at_once += 1
                self._changed.notify_all()

    def begin_anew(self) -> None:
        """Of the suspects that come now nothing is known: the first is alone again."""
        with self._changed:
            self._at_once = 1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Returns when all others have left; nobody enters until this one leaves."""
        with self._changed:
            self._waiting_alone += 1
            try:
                self._changed.wait_for(lambda: not (self._together or self._suspects or self._waiting_few))
            finally:
                self._waiting_alone -= 1
            self._suspects += 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._suspects -= 1
                self._is_alone = False
                self._changed.notify_all()
