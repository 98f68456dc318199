"""What a message is before and after it was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schema.messages import DEFAULT_COLLECTION, LocateRequest
from schema.reasons import MessageReason
from worker.errors import MessageError


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came in. Nothing in it can be trusted, neither its size nor its headers."""

    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)
    content_type: str | None = None
    content_encoding: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A photograph that a message asks for.

    `source_tag` is a sign of the source's state, None where unknown. `sequence` orders the messages about one
    source: of two of the same length the greater one is the later one. `keeps_options`: the message cannot say
    hints, verify and priority, so those that the job has stay.
    """

    request: LocateRequest
    source_tag: str | None = None
    sequence: str | None = None
    keeps_options: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message becomes no job, or not only jobs. `detail` may quote the message."""

    reason: MessageReason
    detail: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message says. `source` names its kind: ingress (plain JSON), celery, cloudevents, s3 or sql.

    A notification of several events may have some that can be read and some that cannot: then there is both.
    `ignored` counts events that ask for nothing: removals, sidecars, tests.
    """

    source: str
    wanted: tuple[Wanted, ...] = ()
    refusal: Refusal | None = None
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class Collections:
    """Where photographs go whose message names no collection."""

    otherwise: str = DEFAULT_COLLECTION
    of_bucket: Mapping[str, str] = field(default_factory=dict)


class Refused(MessageError):
    """Ends the reading of a message or of one of its events."""

    def __init__(self, reason: MessageReason, detail: str) -> None:
        super().__init__(detail, reason)

    @property
    def refusal(self) -> Refusal:
        return Refusal(self.reason, self.detail)
