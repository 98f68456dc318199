"""Does the model see the pictures at all? A few are asked about three times before the long run begins.

As they are; blank, in one grey; and shuffled, cut into tiles that are laid anew, which keeps the colours and takes
the scene away. A model that never receives the picture says the same all three times, fluently.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from trainer.judge.from_model import Asker
from trainer.judge.records import Outcome, Prediction, Truth
from worker.errors import JobError

PICTURES = 8
_TILES = 8
_GREY = (128, 128, 128)
_SUSPICIOUS_SHARE = 0.9
_MIN_PICTURES = 3


@dataclass(frozen=True, slots=True)
class Canary:
    """`places` counts the true places, to the degree, `distinct` the different answers to the pictures themselves.

    `blank_same` and `shuffled_same` count answers that name the same place for the picture and for what was left
    of it; `blank_answered` places that were named where there was nothing to see.
    """

    pictures: int
    places: int
    distinct: int
    blank_same: int
    shuffled_same: int
    blank_answered: int

    @property
    def suspicious(self) -> bool:
        """The answers do not depend on the picture: nine in ten are the same without it, or all are one."""
        if self.pictures < _MIN_PICTURES:
            return False
        same = self.blank_same >= _SUSPICIOUS_SHARE * self.pictures
        return same or (self.distinct == 1 and self.places > 1)

    def sentence(self) -> str:
        """What was found, for a person."""
        found = (
            f"{self.blank_same} of {self.pictures} answers stay the same for a blank picture, {self.shuffled_same}"
            f" for a shuffled one; {self.distinct} different answers to {self.pictures} pictures;"
            f" {self.blank_answered} places named for a blank picture."
        )
        if self.suspicious:
            return f"THE ANSWERS DO NOT DEPEND ON THE PICTURE: {found} Does the model receive it?"
        return found


def ask_canary(asker: Asker, truths: Sequence[Truth], *, seed: int = 0) -> Canary:
    """Asks about up to `PICTURES` pictures, evenly spread; failures are passed over."""
    step = max(1, len(truths) // PICTURES)
    distinct: set[object] = set()
    places: set[tuple[int, int]] = set()
    pictures = blank_same = shuffled_same = blank_answered = 0
    for truth in truths[::step]:
        if pictures == PICTURES:
            break
        try:
            picture = asker.open(truth)
        except JobError:
            continue
        own = asker.ask(truth.id, picture)
        if own.outcome is Outcome.FAILED:
            continue
        blank = asker.ask(truth.id, Image.new("RGB", picture.size, _GREY))
        shuffled = asker.ask(truth.id, shuffle_tiles(picture, seed=seed))
        pictures += 1
        distinct.add(_said(own))
        places.add((round(truth.lat), round(truth.lon)))
        blank_same += _said(own) == _said(blank)
        shuffled_same += _said(own) == _said(shuffled)
        blank_answered += blank.outcome in (Outcome.LOCATED, Outcome.UNRESOLVED)
    return Canary(pictures, len(places), len(distinct), blank_same, shuffled_same, blank_answered)


def shuffle_tiles(picture: Image.Image, *, seed: int) -> Image.Image:
    """The picture cut into 8 x 8 tiles in another order; the same size and nearly the same colours."""
    width, height = picture.width // _TILES, picture.height // _TILES
    if not width or not height:
        return Image.new("RGB", picture.size, _GREY)
    corners = [(column * width, row * height) for row in range(_TILES) for column in range(_TILES)]
    sources = random.Random(seed).sample(corners, len(corners))
    shuffled = picture.copy()
    for (left, top), (from_left, from_top) in zip(corners, sources, strict=True):
        tile = picture.crop((from_left, from_top, from_left + width, from_top + height))
        shuffled.paste(tile, (left, top))
    return shuffled


def _said(prediction: Prediction) -> object:
    """What an answer comes to, without its wording."""
    if prediction.outcome is Outcome.LOCATED:
        return prediction.lat, prediction.lon
    if prediction.outcome is Outcome.UNPARSABLE:
        return prediction.outcome, prediction.raw
    return prediction.outcome, prediction.country, prediction.region, prediction.city
