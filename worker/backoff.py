"""How long a photograph waits for its next try, and when it is given up.

Waits have full jitter: drawn evenly from nothing up to a ceiling that doubles with each try. Photographs that
failed together so do not come back together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
2015).
A time that the server names (`Retry-After`, RFC 9110, 10.2.3) is kept to, with the jitter on top of it.

A photograph that is put off because its host answers nobody has not been tried: no attempt is counted. It waits
for about as long again as it has waited, so that a night without its host costs each of a hundred thousand only a
few rounds, and is given up by its age.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from schema.reasons import JobState, Reason
from worker.errors import Cause, JobError, PutOff, Transient
from worker.outcome import Job, Settled

MOST_RETRY_AFTER_S = 3600.0
"""A server that names a longer time is asked again after this long all the same."""

_LEAST_PUT_OFF_S = 5.0
_MOST_PUT_OFF_S = 1800.0


@dataclass(frozen=True, slots=True)
class Steps:
    """For one cause. `attempts` and the first ceiling are multiples of what the operator has set."""

    attempts: int
    first: float
    ceiling_s: float


STEPS = {
    Cause.NETWORK: Steps(attempts=1, first=1.0, ceiling_s=900.0),
    Cause.BUSY: Steps(attempts=3, first=1.0, ceiling_s=3600.0),
    Cause.MODEL: Steps(attempts=3, first=1 / 6, ceiling_s=300.0),
}


@dataclass(frozen=True, slots=True)
class Backoff:
    """What the operator decided. `first_s`: the ceiling of the wait before the second try.

    `give_up_s`: a photograph that was put off for so long fails. `draw` returns numbers in [0, 1).
    """

    max_attempts: int = 3
    first_s: float = 30.0
    give_up_s: float = 8 * 3600.0
    draw: Callable[[], float] = random.random

    def settle(self, job: Job, error: Transient) -> Settled:
        """The job queued again with its wait, or failed where its tries or its time are used up."""
        if isinstance(error, PutOff):
            return self._put_off(job, error)
        steps = STEPS[error.cause]
        if job.attempts >= self.max_attempts * steps.attempts:
            return Settled(job.id, JobState.FAILED, reason=error.reason, detail=error.detail)
        wait_s = self.wait_s(error.cause, job.attempts, retry_after_s=error.retry_after_s)
        return Settled(job.id, JobState.QUEUED, reason=error.reason, detail=error.detail, retry_in_s=wait_s)

    def wait_s(self, cause: Cause, attempts: int, *, retry_after_s: float | None = None) -> float:
        """Seconds to the next try after `attempts` of them."""
        steps = STEPS[cause]
        # The exponent is bounded because a float is.
        ceiling_s = min(self.first_s * steps.first * 2.0 ** min(attempts - 1, 60), steps.ceiling_s)
        return min(retry_after_s or 0.0, MOST_RETRY_AFTER_S) + ceiling_s * self.draw()

    def _put_off(self, job: Job, error: PutOff) -> Settled:
        if job.put_off_s >= self.give_up_s:
            hours = f"{job.put_off_s / 3600:.1f}"
            detail = f"{error.detail} It has been waited for for {hours} hours, without a further try."
            return Settled(job.id, JobState.FAILED, reason=error.reason, detail=detail, untried=True)
        about_s = min(max(job.put_off_s, _LEAST_PUT_OFF_S), _MOST_PUT_OFF_S)
        wait_s = max(error.retry_in_s, about_s / 2) + about_s * self.draw()
        return Settled(
            job.id, JobState.QUEUED, reason=error.reason, detail=error.detail, retry_in_s=wait_s, untried=True
        )


def settled_as(job: Job, error: JobError, backoff: Backoff) -> Settled:
    """How a job ends, or goes back into the queue, because of `error`."""
    if isinstance(error, Transient):
        return backoff.settle(job, error)
    state = JobState.DEAD if error.reason is Reason.WORKER_LOST else JobState.FAILED
    return Settled(job.id, state, reason=error.reason, detail=error.detail)
