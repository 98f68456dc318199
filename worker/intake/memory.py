"""One budget of memory for all pictures that are being decoded in this process."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Lets pictures in while their estimated needs fit together; giants therefore go one at a time.

    First come, first served: a giant at the head is not starved by small ones behind it. Needs below
    `free_bytes` are not counted at all, so that ordinary photographs never wait here.
    """

    def __init__(self, total_bytes: int, free_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._free_bytes = free_bytes
        self._held_bytes = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, needed_bytes: int) -> Iterator[None]:
        """Blocks until `needed_bytes` fit, holds them for the block. More than the total waits for all of it."""
        if needed_bytes <= self._free_bytes:
            yield
            return
        share_bytes = min(needed_bytes, self._total_bytes)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(
                    lambda: self._waiting[0] is ticket and self._held_bytes + share_bytes <= self._total_bytes
                )
                self._held_bytes += share_bytes
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held_bytes -= share_bytes
                self._changed.notify_all()
