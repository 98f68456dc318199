"""When a webhook that failed is tried again."""

import random

MAX_ATTEMPTS = 10
"""Five seconds after the first, then four times as long each time, up to 12 hours: about 32 hours in all."""

PATIENCE_S = 3 * 86400.0
"""A webhook that took nothing for so long is disabled, until somebody enables it again."""

_FIRST_S = 5.0
_LONGEST_S = 12 * 3600.0
_LONGEST_PAUSE_S = 300.0


def retry_s(attempts: int, chance: random.Random, *, asked_s: float | None = None) -> float | None:
    """How long to wait after `attempts` attempts with one event; None: it is given up.

    A fifth is left to chance, so that what failed together does not come back together. `asked_s` is what the
    receiver asked for (Retry-After): no less is waited.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    wait_s: float = min(_FIRST_S * 4.0 ** (attempts - 1), _LONGEST_S) * chance.uniform(0.9, 1.1)
    return max(wait_s, min(asked_s or 0.0, _LONGEST_S))


def pause_s(retry_in_s: float | None) -> float:
    """How long a webhook is left in peace after a failure, whatever else is due for it."""
    return _LONGEST_PAUSE_S if retry_in_s is None else min(retry_in_s, _LONGEST_PAUSE_S)
