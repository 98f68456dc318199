"""When a teacher is no longer believed: rules over its newest answers, and what it says of a plain grey picture.

A single bad answer is counted and not used. A teacher whose answers are mostly bad, or are the same whatever it is
shown, is quarantined: none of its answers is used, and it is asked nothing more. These are the rules, each over
the newest `WINDOW` answers about different photographs, once there are `LEAST`:

- at least `BAD_SHARE` are no opinions: refusals, other languages, forms that nobody can read. The commonest
  trouble names it.
- `same_for_all`: at least `SAME_SHARE` are word for word the same (case, digits, marks and spaces aside).

Servers that are away or slow are not quarantined for it: they are asked again.

The control is a picture of nothing, asked first. A teacher that names a city for it says cities without seeing
them; that is noted and shown, and left to the person and to the steps of verification.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

from trainer.curate.distil.reading import Troubled, place_said, read_said, same_words
from trainer.curate.opinions import Trouble

WINDOW = 50
LEAST = 20
SAME_SHARE = 0.8
BAD_SHARE = 0.8

CONTROL_PX = (448, 448)
CONTROL_GREY = (128, 128, 128)

AWAY = frozenset({Trouble.UNREACHABLE, Trouble.TIMEOUT, Trouble.ERROR})
"""Troubles of the server and not of what it says; asked about again in the next run."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a teacher is not believed; `detail` is a sentence for a person."""

    trouble: Trouble
    detail: str


class Canary:
    """Watches one teacher's answers. Not thread-safe."""

    def __init__(self, before: Iterable[tuple[str, str, Trouble | None]] = ()) -> None:
        """`before`: earlier answers, oldest first, as `see` takes them."""
        self._newest: OrderedDict[str, tuple[str, Trouble | None]] = OrderedDict()
        for sha256, raw, trouble in before:
            self.see(sha256, raw, trouble)

    def see(self, sha256: str, raw: str, trouble: Trouble | None) -> Quarantine | None:
        """Takes in one answer (`raw`: its words); says whether the teacher is to be quarantined now."""
        self._newest.pop(sha256, None)
        self._newest[sha256] = (same_words(raw), trouble)
        if len(self._newest) > WINDOW:
            self._newest.popitem(last=False)
        return self.judge()

    def judge(self) -> Quarantine | None:
        """What the rules say of the newest answers."""
        count = len(self._newest)
        if count < LEAST:
            return None
        troubles = Counter(trouble for _, trouble in self._newest.values() if trouble is not None)
        if (bad := troubles.total()) >= BAD_SHARE * count:
            ((trouble, most),) = troubles.most_common(1)
            detail = f"{bad} of its newest {count} answers are no opinions, {most} of them {trouble}."
            return Quarantine(trouble, detail)
        ((_, same),) = Counter(words for words, _ in self._newest.values()).most_common(1)
        if same >= SAME_SHARE * count:
            detail = f"{same} of its newest {count} answers, about different photographs, are the same words."
            return Quarantine(Trouble.SAME_FOR_ALL, detail)
        return None


def control_picture() -> Image.Image:
    """A plain grey picture: nothing in it tells any place."""
    return Image.new("RGB", CONTROL_PX, CONTROL_GREY)


def judge_control(teacher: str, raw: str, finish_reason: str | None) -> dict[str, object]:
    """What a teacher said of the control: {says, names_city, locatable}; `says`: place, trouble or "no place"."""
    read = read_said(teacher, raw, finish_reason)
    if isinstance(read, Troubled):
        return {"says": str(read.trouble), "names_city": False, "locatable": None}
    assert read.answer is not None
    place = place_said(read.answer)
    return {"says": place or "no place", "names_city": read.answer.city is not None, "locatable": read.locatable}
