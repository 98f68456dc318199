"""Looks for the things that reasons name: the `Visible` of `trainer.curate.verify`.

Two that look differently are asked. A segmenter measures how much of the picture belongs to the classes that show
a thing; it knows 150 classes, and no colours. A matcher of texts compares the whole phrase with others; it knows
any word, and overlooks what is small. Where both can tell and differ, nobody can tell: None.

What a sign says, nobody here can read: None. A photograph that cannot be opened: None for all that is named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.curate.opinions import Case, CueSeen, Opinion, Subject
from trainer.curate.originals import OriginalChanged
from trainer.curate.see.entities import GROUPS, Thing, of_phrase, things
from worker.errors import JobError, SetupError

SEGMENTATION = "segmentation"
MATCHING = "matching"
BOTH = f"{SEGMENTATION}+{MATCHING}"

_AT_ONCE = 16
"""Photographs that are held in memory together."""
BACKGROUND = (
    "road", "forest", "apartment building", "sign with letters", "mountain", "beach", "lake", "bridge", "bus",
    "truck", "bicycle", "train", "ship", "airplane", "cow", "dog", "cat", "bird", "horse", "crowd of people",
    "plate of food", "cup of coffee", "bedroom", "kitchen", "office", "bathroom", "sofa", "computer", "book",
    "flower", "desert", "snow field", "waterfall", "church", "castle", "skyscraper", "market stall", "statue",
    "fountain", "flag", "street lamp", "traffic light", "fence", "palm tree", "cactus", "vineyard", "tent",
    "swimming pool", "stadium", "staircase", "tunnel", "factory", "wind turbine", "lighthouse", "mosque",
    "pagoda", "windmill", "tram",
)  # fmt: skip
"""Things that a photograph shows or does not: what a thing that it shows should fit better than most of."""


class Segments(Protocol):
    """`trainer.curate.see.segment.Segmenter`."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def shares(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]: ...


class Matches(Protocol):
    """`trainer.curate.see.match.Matcher`."""

    def picture(self, image: Image.Image) -> NDArray[np.float32]: ...

    def score(self, picture_D: NDArray[np.float32], text: str, against: Sequence[str]) -> float | None: ...

    def standing(self, picture_D: NDArray[np.float32], text: str, against: Sequence[str]) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """From where on something is there, or is not; between two bounds nobody can tell.

    `min_area`: the share of the picture that a thing's classes cover at least. `stands_yes`, `stands_no`: the
    share of other things that it fits better than. `score_yes`, `score_no`: how it fits as described, against
    other descriptions of the same thing, where 0.5 is no better than those.
    """

    min_area: float = 0.002
    stands_yes: float = 0.85
    stands_no: float = 0.5
    score_yes: float = 0.6
    score_no: float = 0.3

    def __post_init__(self) -> None:
        ordered = 0 <= self.stands_no <= self.stands_yes <= 1 and 0 <= self.score_no <= self.score_yes <= 1
        if not (ordered and 0 < self.min_area <= 1):
            raise SetupError(f"bounds of what is visible: {self} are not shares in order")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is known of one photograph; None: nobody looked."""

    areas: dict[str, float] | None = None
    picture_D: NDArray[np.float32] | None = None


class Looker:
    """Called with samples, tells of each thing that its reasons name, or that its teacher lists, if it is there.

    `open_picture` gives the photograph of a subject; it may raise `JobError` or `OriginalChanged`. `on_seen` is
    called with the number of photographs that were looked at since the last call.
    """

    def __init__(
        self,
        open_picture: Callable[[Subject], Image.Image],
        segmenter: Segments | None = None,
        matcher: Matches | None = None,
        bounds: Bounds | None = None,
        *,
        on_seen: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._open = open_picture
        self._segmenter = segmenter
        self._matcher = matcher
        self._bounds = bounds or Bounds()
        self._on_seen = on_seen
        self._labels = frozenset() if segmenter is None else frozenset(segmenter.labels)
        self.unopened: dict[str, str] = {}
        """By subject, why its photograph could not be looked at."""

    def __call__(self, samples: Sequence[tuple[Case, Opinion]]) -> list[list[CueSeen]]:
        subjects = {case.subject.id: case.subject for case, _ in samples}
        shown: dict[str, _Shown] = {}
        ids = list(subjects)
        for start in range(0, len(ids), _AT_ONCE):
            batch = [subjects[id_] for id_ in ids[start : start + _AT_ONCE]]
            shown |= self._look(batch)
            self._on_seen(len(batch))
        return [[self._judge(thing, shown[case.subject.id]) for thing in named(own)] for case, own in samples]

    def _look(self, subjects: Sequence[Subject]) -> dict[str, _Shown]:
        pictures: dict[str, Image.Image] = {}
        for subject in subjects:
            try:
                pictures[subject.id] = self._open(subject)
            except (JobError, OriginalChanged) as error:
                self.unopened[subject.id] = str(error)
        areas: dict[str, dict[str, float]] = {}
        if self._segmenter is not None and pictures:
            areas = dict(zip(pictures, self._segmenter.shares(list(pictures.values())), strict=True))
        embedded: dict[str, NDArray[np.float32]] = {}
        if self._matcher is not None:
            for id_, picture in pictures.items():
                try:
                    embedded[id_] = self._matcher.picture(picture)
                except JobError as error:
                    self.unopened[id_] = str(error)
        return {subject.id: _Shown(areas.get(subject.id), embedded.get(subject.id)) for subject in subjects}

    def _judge(self, thing: Thing, shown: _Shown) -> CueSeen:
        if thing.quoted:
            return CueSeen(thing.text, None)
        area = self._area(thing, shown)
        by_area = None if area is None else area >= self._bounds.min_area
        by_text, fit = self._matched(thing, shown)
        if by_area is None or by_text is None:
            told, by = (by_area, SEGMENTATION) if by_area is not None else (by_text, MATCHING)
            score = area if by_area is not None else fit
            return CueSeen(thing.text, told, by if score is not None else "", score)
        return CueSeen(thing.text, by_area if by_area == by_text else None, BOTH, fit)

    def _area(self, thing: Thing, shown: _Shown) -> float | None:
        known = [name for name in thing.classes if name in self._labels]
        if not known or shown.areas is None:
            return None
        return min(1.0, sum(shown.areas.get(name, 0.0) for name in known))

    def _matched(self, thing: Thing, shown: _Shown) -> tuple[bool | None, float | None]:
        """Whether it is there as described, and the figure that decided."""
        if self._matcher is None or shown.picture_D is None:
            return None, None
        bounds = self._bounds
        stands = self._matcher.standing(shown.picture_D, photo_of(thing.text), background(thing))
        there = _between(stands, bounds.stands_no, bounds.stands_yes)
        others = otherwise(thing)
        if there is False or not others:
            return there, stands
        fits = self._matcher.score(shown.picture_D, photo_of(thing.text), [photo_of(other) for other in others])
        as_described = _between(fits, bounds.score_no, bounds.score_yes)
        if as_described is False:
            return False, fits
        return (True, fits) if there and as_described else (None, fits)


def named(opinion: Opinion) -> tuple[Thing, ...]:
    """The things in an opinion's reasons and in its own list, each text once."""
    reasoning = "" if opinion.answer is None else opinion.answer.reasoning
    listed = (of_phrase(phrase) for phrase in opinion.named or () if phrase.strip())
    found = {thing.text.lower(): thing for thing in [*listed, *things(reasoning)]}
    return tuple(found[key] for key in sorted(found))


def photo_of(text: str) -> str:
    """The caption that a text is looked for by."""
    return f"a photo of a {text}"


def background(thing: Thing) -> list[str]:
    """Captions of other things: those that do not name its noun."""
    return [photo_of(other) for other in BACKGROUND if not (thing.noun and thing.noun in other)]


def otherwise(thing: Thing) -> list[str]:
    """The same thing described otherwise: "yellow taxi" gives "red taxi" and so on, one word changed at a time."""
    found: dict[str, None] = {}
    words = thing.text.split()
    for group in GROUPS:
        said = [word for word in thing.described if word in group]
        if len(said) != 1:  # "red and white" is no choice of one
            continue
        for other in group:
            found.setdefault(" ".join(other if word == said[0] else word for word in words))
    found.pop(thing.text, None)
    return list(found)


def _between(value: float | None, no: float, yes: float) -> bool | None:
    if value is None:
        return None
    if value >= yes:
        return True
    return False if value <= no else None
