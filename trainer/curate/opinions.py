"""What passes between the parts of curation: photographs of known place, what teachers say of them, what is kept.

A *sample* is what one teacher says of one photograph: its reasons and its place. GLOBE (arXiv 2506.14674) calls
asking several teachers distillation, and sifting what they say verification.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from worker.reason.answer import Answer


class Step(StrEnum):
    """The four steps of verification, in the paper's order."""

    LOCATABLE = "locatable"
    PLACE = "place"
    AGREEMENT = "agreement"
    VISIBLE = "visible"


class Trouble(StrEnum):
    """Why what came back from a teacher is no opinion."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    ERROR = "error"
    REFUSED = "refused"
    EMPTY = "empty"
    CUT = "cut"
    UNREADABLE = "unreadable"
    OTHER_LANGUAGE = "other_language"
    SAME_FOR_ALL = "same_for_all"
    NO_PICTURE = "no_picture"


@dataclass(frozen=True, slots=True)
class Subject:
    """A photograph with a known place. `id` is the SHA-256 of its bytes; `lat`, `lon` degrees (WGS 84).

    `grouped_by`: photographer or series, where known. `image_id`, `label_id`: its rows, where it has any.
    """

    id: str
    uri: str
    lat: float
    lon: float
    country_code: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    grouped_by: str | None = None
    licence: str | None = None
    image_id: int | None = None
    label_id: int | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one teacher says of one photograph.

    A language teacher gives an `answer` (reasons and names, in the worker's own grammar), a verdict `locatable`
    with its probability `p_locatable` where it has one, and `named`, the visible things that it lists by itself
    (None: it was not asked, or lists none). A coordinate teacher gives `lat`, `lon` (degrees) and `confidence`
    (0..1) and no answer.
    """

    teacher: str
    answer: Answer | None = None
    locatable: bool | None = None
    p_locatable: float | None = None
    named: tuple[str, ...] | None = None
    lat: float | None = None
    lon: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A photograph with everything that was said of it. `troubled`: by teacher, why there is no opinion."""

    subject: Subject
    opinions: tuple[Opinion, ...]
    troubled: dict[str, Trouble] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CueSeen:
    """A stated visible thing and whether the photograph shows it; None: nothing that looked could tell.

    `by` names what looked, `score` is its own measure (0..1).
    """

    text: str
    visible: bool | None
    by: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of one sample. `dropped_by` and `reason` say at which step and why; None where it was kept.

    `measures` are the figures that the steps went by. `cues` are there where the sample came to the last step.
    """

    subject_id: str
    teacher: str
    kept: bool
    dropped_by: Step | None = None
    reason: str | None = None
    cues: tuple[CueSeen, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
