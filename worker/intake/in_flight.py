"""Counts the bytes of the photographs that are in work, so that a worker's memory is bounded in bytes.

A number of threads alone bounds nothing: 32 small photographs are 50 MB, 32 scans are gigabytes.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from worker.intake.limits import LVLM_PIXELS

RGB_BYTES = 3
LARGEST_PICTURE_BYTES = 4 * LVLM_PIXELS * RGB_BYTES
"""What a decoded picture may take (see `limits.reduced_size`): reserved until its real size is known."""


class Room:
    """What one photograph holds. Not thread-safe: one thread works on one photograph."""

    def __init__(self, flight: "InFlight", held_bytes: int) -> None:
        self._flight = flight
        self.held_bytes = held_bytes

    def keep_only(self, held_bytes: int) -> None:
        """From now on it holds so many bytes, such as its picture's once the file is not needed any more.

        Never waits: what is more than was reserved is counted all the same.
        """
        self._flight.change(held_bytes - self.held_bytes)
        self.held_bytes = held_bytes


class InFlight:
    """Lets photographs in while their bytes fit together. Thread-safe.

    First come, first served, so that a giant is not starved by small ones behind it. One that is larger than all
    there is waits until it is alone.
    """

    def __init__(self, total_bytes: int) -> None:
        if total_bytes < 1:
            raise ValueError(f"there must be room for something, not {total_bytes} bytes")
        self.total_bytes = total_bytes
        self.peak_bytes = 0
        self._held_bytes = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def held_bytes(self) -> int:
        """Bytes of all photographs that are in work now."""
        return self._held_bytes

    @contextmanager
    def room_for(self, file_bytes: int) -> Iterator[Room]:
        """Blocks until a file of this size and the picture in it have room; they have it until the block ends."""
        wanted_bytes = file_bytes + LARGEST_PICTURE_BYTES
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and self._fits(wanted_bytes))
                self._count(wanted_bytes)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        room = Room(self, wanted_bytes)
        try:
            yield room
        finally:
            self.change(-room.held_bytes)

    def change(self, more_bytes: int) -> None:
        """Counts what a photograph holds more, or less."""
        with self._changed:
            self._count(more_bytes)
            self._changed.notify_all()

    def _fits(self, wanted_bytes: int) -> bool:
        return self._held_bytes == 0 or self._held_bytes + wanted_bytes <= self.total_bytes

    def _count(self, more_bytes: int) -> None:
        self._held_bytes += more_bytes
        self.peak_bytes = max(self.peak_bytes, self._held_bytes)
