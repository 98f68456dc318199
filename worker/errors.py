"""The errors of the worker. The tree answers one question: settle how?

    GlobetagError
    ├── SetupError      stop the process: settings, database, broker or model are wrong; one line, what to do
    ├── MessageError    dead-letter the message: it will never become a job
    └── JobError        the job ends as failed, with a reason from the closed list
        └── Transient   ... unless attempts are left: then it is tried again later

Anything else that escapes while one photograph is worked on is a bug: the job fails as `internal_error`, the
traceback is logged, and the neighbours go on.
"""

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


class Transient(JobError):
    """The same, but the cause may pass: network, a busy server. Retried while attempts are left."""
