"""Is the completion in the canonical form that `worker.reason.answer.render` writes?

R = 1 where it is; tolerated ** k where the parser can read it in spite of k deviations; 0 where it cannot. The
parser's notes count as deviations, and so does what it forgives without a note: text outside of the two blocks
(the prompt asks for nothing after the answer), and answer lines that are not written as `render` writes them.

GLOBE's `external_math_format` is 1 or 0, asks for the tags alone and says nothing about what stands in them (see
`trainer.rewards.globe`). Nothing here grows with length: padding the reasons changes nothing.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from trainer.rewards.base import Reward, Sample
from worker.errors import SetupError
from worker.reason.answer import Answer, Unparsable, render

_OPEN, _CLOSE = "<answer>", "</answer>"
_COORDINATES = frozenset({"lat", "lon"})
_COORDINATE_SLACK_DEG = 1e-6


@dataclass(frozen=True, kw_only=True)
class FormatReward(Reward):
    """`tolerated` is what remains of 1 for each deviation, in 0..1 without its ends."""

    name: ClassVar[str] = "format"

    tolerated: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.tolerated < 1:
            raise SetupError(f"reward format: tolerated must lie between 0 and 1, not {self.tolerated}")

    def score(self, sample: Sample) -> float:
        answer = sample.answer
        if isinstance(answer, Unparsable):
            return 0.0
        return float(self.tolerated ** len(deviations(sample.text, answer)))


def deviations(text: str, answer: Answer) -> tuple[str, ...]:
    """How `text`, in which `answer` was read, is not canonical. Space around blocks and lines is free."""
    found = list(answer.notes)
    body = _answer_body(text)
    if body is None:
        found.append("text outside of <think> and <answer>, or tags not as asked for")
    elif not _as_rendered(body, answer):
        found.append("answer lines not as asked for")
    return tuple(found)


def _answer_body(text: str) -> str | None:
    """What stands in the answer block, if the whole text is one reasoning and one answer block."""
    text = text.strip()
    head, closed, rest = text.partition("</think>")
    rest = rest.lstrip()
    whole = closed and head.startswith("<think>") and rest.startswith(_OPEN) and rest.endswith(_CLOSE)
    return rest[len(_OPEN) : -len(_CLOSE)] if whole else None


def _as_rendered(body: str, answer: Answer) -> bool:
    rendered = render(replace(answer, reasoning=""))
    expected = rendered[rendered.index(_OPEN) + len(_OPEN) : -len(_CLOSE)].split("\n")
    lines = [line.strip() for line in body.split("\n") if line.strip()]
    return len(lines) == len(expected) and all(map(_same_line, lines, expected))


def _same_line(line: str, expected: str) -> bool:
    if line == expected:
        return True
    label, _, value = line.partition(": ")
    expected_label, _, expected_value = expected.partition(": ")
    if label != expected_label or label not in _COORDINATES:
        return False
    try:
        return abs(float(value) - float(expected_value)) <= _COORDINATE_SLACK_DEG
    except ValueError:
        return False
