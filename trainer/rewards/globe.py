"""The rewards of GLOBE as its released code computes them (arXiv 2506.14674; lingli1996/GLOBE, commit cfc439b,
`plugin.py`), so that ours can be compared with them.

The paper's formulas differ from the code: it has exact names in R_geo and the share of *stated* entities in R_vis.
What is computed here is the code. Where we depart from it, and why:

- Its locatability turns any exception, and a judge that says neither yes nor no, into 0.0. Here the first raises
  `RewardFailed`, the second is None. The wording that its judge is told is not repeated here: a reward model that
  was trained on a wording is given it in `system`.
- It reads the truth out of one string and crashes where that has no city. Here a row without a country or without
  a list of entities is None, and one without a city can reach 0.2.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from trainer.judge.places import globe_match
from trainer.rewards.base import Reward, Sample, Scores
from trainer.rewards.endpoint import Endpoint, Question, Token, data_urls
from trainer.rewards.visual import cue_list

SYSTEM = """\
You are shown a photograph and a reasoning about where it was taken. Say whether the place can be told from what \
is visible. Answer with "yes" or "no" only."""

_JOINT = re.compile(r"</think>\s*<answer>")
_COUNTRY = re.compile(r"country:\s*([^\n]+)")
_CITY = re.compile(r"city:\s*([^\n]+)")
_YES = frozenset({"yes", "Yes", "YES"})
_NO = frozenset({"no", "No", "NO"})

BOTH_RIGHT, COUNTRY_RIGHT = 1.0, 0.2


@dataclass(frozen=True, kw_only=True)
class GlobeAccuracy(Reward):
    """`globe_accuracy`: 1 where country and city match, 0.2 where only the country does, else 0.

    Read are the first `country:` and `city:` (in lower case) of the first answer block, each to the end of its
    line. Names match where one contains the other and is at least 0.7 times as long, without regard to case:
    Niger passes for Nigeria, and "USA" does not for "United States". Columns: `country`, `city`.
    """

    name: ClassVar[str] = "globe_accuracy"
    needs: ClassVar[tuple[str, ...]] = ("country", "city")

    def score(self, sample: Sample) -> float | None:
        country, city = sample.string("country"), sample.string("city")
        if country is None:
            return None
        body = _answer_body(sample.text)
        if not globe_match(_field(_COUNTRY, body), country):
            return 0.0
        return BOTH_RIGHT if globe_match(_field(_CITY, body), city or "") else COUNTRY_RIGHT


@dataclass(frozen=True, kw_only=True)
class GlobeVisual(Reward):
    """`globe_visual_match`: of the listed entities, the share that is a substring of the reasoning, case aside.

    The reasoning is all before the first `</think>`, the whole text where there is none. An empty list gives 0.
    Column: `column`, as for `trainer.rewards.visual`.
    """

    name: ClassVar[str] = "globe_visual"

    column: str = "entities"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("id", self.column)

    def score(self, sample: Sample) -> float | None:
        listed = cue_list(sample, self.column)
        if listed is None:
            return None
        entities = {entity.lower() for entity in listed}
        reasoning = sample.text.split("</think>", 1)[0].replace("<think>", "").lower()
        return sum(entity in reasoning for entity in entities) / len(entities) if entities else 0.0


@dataclass(frozen=True, kw_only=True)
class GlobeLocatability(Reward):
    """`globe_locatablity`: P(yes) / (P(yes) + P(no)) of a judge that sees the picture and the whole completion.

    The published sampling is that of `published_endpoint`. Pooled are "yes", "Yes", "YES", and likewise "no".
    """

    name: ClassVar[str] = "globe_locatability"

    endpoint: Endpoint
    image_column: str = "image"
    system: str = SYSTEM

    @property
    def columns(self) -> tuple[str, ...]:
        return ("id", self.image_column)

    def score_all(self, samples: Sequence[Sample]) -> Scores:
        """One question for each completion, many at once."""
        images = data_urls(samples, self.image_column)
        questions = [
            Question(sample, self.system, image, sample.text)
            for sample, image in zip(samples, images, strict=True)
        ]
        return [_p_yes(tokens) for tokens in self.endpoint.first_tokens(questions)]

    def score(self, sample: Sample) -> float | None:
        return self.score_all([sample])[0]


@dataclass(frozen=True, kw_only=True)
class GlobeFormat(Reward):
    """`external_math_format`: 1 where the whole completion is one `<think>…</think>`, space, `<answer>…</answer>`
    with nothing before or after, else 0. What stands inside is not looked at, and may hold further tags."""

    name: ClassVar[str] = "globe_format"

    def score(self, sample: Sample) -> float:
        text, opening, closing = sample.text, "<think>", "</answer>"
        if not (text.startswith(opening) and text.endswith(closing)):
            return 0.0
        return float(_JOINT.search(text, len(opening), len(text) - len(closing)) is not None)


def published_endpoint(url: str, model: str) -> Endpoint:
    """The published sampling: temperature 0.6, five tokens, five alternatives, 300 s."""
    return Endpoint(url=url, model=model, temperature=0.6, max_tokens=5, top_logprobs=5, timeout_s=300.0)


def _answer_body(text: str) -> str:
    _, _, rest = text.partition("<answer>")
    body, closed, _ = rest.partition("</answer>")
    return body.strip() if closed else ""


def _field(label: re.Pattern[str], body: str) -> str:
    found = label.search(body)
    return found[1].strip() if found else ""


def _p_yes(tokens: Sequence[Token]) -> float | None:
    yes = sum(math.exp(logprob) for token, logprob in tokens if token in _YES)
    no = sum(math.exp(logprob) for token, logprob in tokens if token in _NO)
    return yes / (yes + no) if yes + no > 0 else None
