"""What comes out of a source. No row is lost silently: what is no subject is left out, with its reason."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from trainer.curate.opinions import Subject


class Why(StrEnum):
    """Why a photograph or a row is left out. `sentence` says it to a person."""

    MALFORMED = "malformed"
    NO_IMAGE = "no_image"
    OUTSIDE_FOLDER = "outside_folder"
    IMAGE_MISSING = "image_missing"
    AMBIGUOUS_IMAGE = "ambiguous_image"
    NO_PLACE = "no_place"
    NO_SUCH_PLACE = "no_such_place"
    COUNTRY_UNKNOWN = "country_unknown"
    COUNTRY_DISAGREES = "country_disagrees"
    UNREADABLE = "unreadable"
    RIGHTS_RESERVED = "rights_reserved"
    NO_CONSENT = "no_consent"
    HELD_OUT = "held_out"
    DUPLICATE = "duplicate"
    ERASED = "erased"
    NOT_DRAWN = "not_drawn"

    @property
    def sentence(self) -> str:
        """The reason, for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    Why.MALFORMED: "the row cannot be read",
    Why.NO_IMAGE: "the row names no picture",
    Why.OUTSIDE_FOLDER: "the row points outside of the folder",
    Why.IMAGE_MISSING: "there is no such picture",
    Why.AMBIGUOUS_IMAGE: "several pictures have that name",
    Why.NO_PLACE: "the row has no coordinates",
    Why.NO_SUCH_PLACE: "the coordinates are no point on Earth, or the empty 0, 0",
    Why.COUNTRY_UNKNOWN: "neither the row nor the point gives a country that is known",
    Why.COUNTRY_DISAGREES: "the country that the row names is not where its coordinates are",
    Why.UNREADABLE: "the file cannot be read as a picture",
    Why.RIGHTS_RESERVED: "plus:DataMining of the file forbids training, or cannot be understood",
    Why.NO_CONSENT: "a collection that holds it has not consented to training",
    Why.HELD_OUT: "it is held out: models are judged by it and never learn from it",
    Why.DUPLICATE: "the same bytes came before",
    Why.ERASED: "it has been erased since",
    Why.NOT_DRAWN: "enough others were drawn",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A photograph or row that is no subject. `where` names it (file and line), `detail` is a sentence for a
    person and may quote what stands in the row."""

    where: str
    reason: Why
    detail: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that a source has. `counts` has all that is no subject, by reason; `left_out` names them, except those
    that were not drawn, erased or held out within a curation, of which there is nothing to say."""

    subjects: tuple[Subject, ...]
    left_out: tuple[LeftOut, ...] = ()
    counts: Counter[Why] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """How many photographs or rows the source has."""
        return len(self.subjects) + self.counts.total()


def gather(
    entries: Iterable[Subject | LeftOut],
    *,
    before: Counter[Why] | None = None,
    held_out: frozenset[str] | set[str] = frozenset(),
    on_row: Callable[[int], None] | None = None,
) -> Found:
    """Collects what a reader yields; the second photograph of the same bytes and those `held_out` (content hashes)
    are left out.

    `before` has counts of what the reader was never asked about. `on_row` is told how many rows were read.
    """
    subjects: dict[str, Subject] = {}
    left_out: list[LeftOut] = []
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, LeftOut):
            left_out.append(entry)
        elif entry.id in held_out:
            left_out.append(LeftOut(entry.uri, Why.HELD_OUT, f"Content {entry.id[:12]}… is held out."))
        elif entry.id in subjects:
            first = subjects[entry.id].uri
            left_out.append(LeftOut(entry.uri, Why.DUPLICATE, f"It has the same bytes as {first}."))
        else:
            subjects[entry.id] = entry
        if on_row is not None:
            on_row(number)
    counts = Counter(entry.reason for entry in left_out)
    counts.update(before or {})
    return Found(tuple(subjects.values()), tuple(left_out), counts)
