"""How two lanes share the workers: urgent work first, and yet bulk work never stands still."""

URGENT_FOR_ONE = 7
"""While urgent work lasts, so many of its photographs are published for one of the bulk."""


class BulkShare:
    """What one dispatcher may publish of the bulk lane. Not thread-safe.

    Nothing is held back while no urgent work waits. Otherwise bulk work earns one message for each
    `URGENT_FOR_ONE` urgent ones. What waits in the bulk queue already is not called back: workers take from both
    queues in turn, so an urgent photograph waits for the next free thread at most.
    """

    def __init__(self, *, most: int) -> None:
        """`most`: no more than this is saved up, in messages."""
        self._most = most
        self._earned = 0.0

    def of(self, room: int, *, urgent: int, urgent_waiting: int) -> int:
        """How much of `room` may be filled in this round.

        `urgent`: how many urgent messages the round publishes; `urgent_waiting`: how many waited before it.
        """
        if not urgent and not urgent_waiting:
            self._earned = 0.0
            return room
        self._earned = min(self._earned + urgent / URGENT_FOR_ONE, self._most)
        return min(room, int(self._earned))

    def spend(self, published: int) -> None:
        """Notes how many bulk messages were published."""
        self._earned = max(self._earned - published, 0.0)
