"""The errors of the worker. The tree answers one question: settle how?

    GlobetagError
    ├── SetupError      stop the process: settings, database, broker or model are wrong; one line, what to do
    ├── MessageError    dead-letter the message: it will never become a job
    ├── Draining        give the message back to the broker: the worker stops
    └── JobError        the job ends as failed, with a reason from the closed list
        └── Transient   ... unless attempts are left: then it is tried again later (`worker.backoff`)
            └── PutOff  ... not tried at all, because what it needs answers nobody: no attempt is counted

Anything else that escapes while one photograph is worked on is a bug: the job fails as `internal_error`, the
traceback is logged, and the neighbours go on.
"""

from enum import Enum

from schema.reasons import MessageReason, Reason


class GlobetagError(Exception):
    """Base of all errors that this project raises on purpose."""


class SetupError(GlobetagError):
    """The process cannot work as configured. The message is one line that says what to do."""


class MessageError(GlobetagError):
    """A message that can never become a job. It is kept in `dead_message` and goes to the dead-letter queue.

    `reason` is from the closed list; the text may quote the message and is untrusted wherever it is shown.
    """

    def __init__(self, detail: str, reason: MessageReason = MessageReason.BAD_FIELDS) -> None:
        super().__init__(detail, reason)
        self.detail = detail
        self.reason = reason

    def __str__(self) -> str:
        return self.detail


class Draining(GlobetagError):
    """The worker stops, and begins nothing more: the message goes back to the broker untouched."""


class JobError(GlobetagError):
    """This photograph ends as failed.

    `reason` is from the closed list; `detail` is the particulars in words a person understands. The
    detail may quote untrusted input and is treated as such wherever it is shown.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Cause(Enum):
    """What may pass, by how it passes: each has its own waits and its own number of tries."""

    NETWORK = "network"  # no connection, no answer in time, a fault inside the server
    BUSY = "busy"  # a server that says so: 429, 503
    MODEL = "model"  # the model server is busy


class Transient(JobError):
    """The same, but the cause may pass: network, a busy server. Retried while attempts are left.

    `retry_after_s`: the server asked not to be tried again before.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        cause: Cause = Cause.NETWORK,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.cause = cause
        self.retry_after_s = retry_after_s


class PutOff(Transient):
    """This photograph was not tried: its host or server answers nobody, or has as many calls as it may have.

    `retry_in_s`: it makes no sense before. `reason` is `unreachable` where its host is meant.
    """

    def __init__(self, detail: str, *, retry_in_s: float, reason: Reason = Reason.UNREACHABLE) -> None:
        super().__init__(reason, detail)
        self.retry_in_s = retry_in_s
