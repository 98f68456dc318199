"""What asking would take: questions, tokens, time, money. Nobody is asked.

Where answers of a model are stored already, its figures are theirs. Where there are none they are assumed, and
said to be: a picture has one token for 28 x 28 pixels, as with Qwen2.5-VL (arXiv 2502.13923, 2.1.1), a token of
English is four characters, and an answer takes `ASSUMED_TOKENS_OUT` tokens and `ASSUMED_S` seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sqlalchemy import Engine

from schema import queries
from trainer.curate.distil.ledger import AGAIN
from trainer.curate.distil.prompt import teacher_prompt
from trainer.curate.distil.store import Distillation, same_question
from trainer.curate.opinions import Subject
from trainer.curate.teachers import LanguageTeacher, Teacher

PATCH_PX = 28
CHARS_PER_TOKEN = 4.0
ASSUMED_TOKENS_OUT = 400
ASSUMED_S = 20.0
COORDINATES_S = 0.1
_SIZES_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Known:
    """What answers of a model took so far: means of tokens, the median of seconds."""

    answers: int
    tokens_in: float | None
    tokens_out: float | None
    median_s: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one teacher. `cost` in the currency of its prices; None where a price is not known. `measured`: from
    stored answers of the same model."""

    teacher: str
    questions: int
    tokens_in: int
    tokens_out: int
    time_s: float
    cost: float | None
    measured: bool
    speaks: bool


def estimate(teacher: Teacher, questions: int, *, picture_tokens: float, known: Known | None = None) -> Estimate:
    """`picture_tokens`: the mean of the photographs that it is asked about."""
    if not isinstance(teacher, LanguageTeacher):
        time_s = questions * (known.median_s if known else COORDINATES_S) / teacher.concurrency
        return Estimate(teacher.name, questions, 0, 0, time_s, 0.0, known is not None, False)
    prompt = teacher_prompt()
    text_tokens = len(prompt.system + prompt.user) / CHARS_PER_TOKEN
    each_in = known.tokens_in if known and known.tokens_in else text_tokens + picture_tokens
    each_out = known.tokens_out if known and known.tokens_out else min(ASSUMED_TOKENS_OUT, teacher.max_tokens)
    time_s = questions * (known.median_s if known else ASSUMED_S) / min(teacher.concurrency, max(questions, 1))
    if teacher.requests_per_minute is not None:
        time_s = max(time_s, questions * 60.0 / teacher.requests_per_minute)
    tokens_in, tokens_out = round(questions * each_in), round(questions * each_out)
    cost = None
    if teacher.price_in is not None and teacher.price_out is not None:
        cost = (tokens_in * teacher.price_in + tokens_out * teacher.price_out) / 1e6
    return Estimate(teacher.name, questions, tokens_in, tokens_out, time_s, cost, known is not None, True)


def picture_tokens(width_px: int, height_px: int, max_pixels: int) -> int:
    """Of a picture that is shown at no more than `max_pixels`."""
    scale = min(1.0, math.sqrt(max_pixels / (width_px * height_px)))
    return max(1, round(width_px * scale / PATCH_PX)) * max(1, round(height_px * scale / PATCH_PX))


def estimates(
    engine: Engine,
    teachers: Sequence[Teacher],
    subjects: Sequence[Subject],
    distillation: Distillation | None = None,
) -> list[Estimate]:
    """For each teacher what is left to be asked about these photographs, and about those that the distillation
    has already. What was answered for another distillation is not asked again."""
    left = _left(engine, teachers, subjects, distillation)
    sizes = _sizes(engine, subjects)
    known = _known(engine, teachers)
    quarantined = set() if distillation is None else set(distillation.quarantined())
    found = []
    for teacher in teachers:
        max_pixels = teacher.max_pixels if isinstance(teacher, LanguageTeacher) else 0
        tokens = 0.0
        if max_pixels:
            each = [picture_tokens(width, height, max_pixels) for width, height in sizes]
            tokens = fmean(each) if each else max_pixels / PATCH_PX**2
        questions = 0 if teacher.name in quarantined else left[teacher.name]
        model = teacher.model if isinstance(teacher, LanguageTeacher) else teacher.kind
        found.append(estimate(teacher, questions, picture_tokens=tokens, known=known.get(model)))
    return found


def _left(
    engine: Engine, teachers: Sequence[Teacher], subjects: Sequence[Subject], distillation: Distillation | None
) -> dict[str, int]:
    """How many questions are left, by teacher."""
    hashes = {subject.id for subject in subjects}
    left = dict.fromkeys((teacher.name for teacher in teachers), 0)
    with engine.connect() as connection:
        if distillation is not None:
            stored = connection.execute(queries.distil.READ_DISTILLED, {"id": distillation.id}).all()
            hashes -= {row.sha256 for row in stored}
            given = {"id": distillation.id, "teachers": list(left), "again": AGAIN}
            left |= {row.teacher: row.questions for row in connection.execute(queries.distil.COUNT_TO_ASK, given)}
        for teacher in teachers:
            left[teacher.name] += len(hashes)
            if isinstance(teacher, LanguageTeacher) and hashes:
                given = {"hashes": sorted(hashes), **same_question(teacher)}
                there = connection.execute(queries.distil.COUNT_ANSWERED_ELSEWHERE, given).scalar_one()
                left[teacher.name] -= int(there)
    return left


def _sizes(engine: Engine, subjects: Sequence[Subject]) -> list[tuple[int, int]]:
    """Of those photographs that are in the archive."""
    found: list[tuple[int, int]] = []
    hashes = [subject.id for subject in subjects if subject.image_id is not None]
    with engine.connect() as connection:
        for start in range(0, len(hashes), _SIZES_AT_ONCE):
            given = {"hashes": hashes[start : start + _SIZES_AT_ONCE]}
            rows = connection.execute(queries.distil.PICTURE_SIZES, given).all()
            found += [(row.width_px, row.height_px) for row in rows]
    return found


def _known(engine: Engine, teachers: Sequence[Teacher]) -> dict[str, Known]:
    models = [teacher.model for teacher in teachers if isinstance(teacher, LanguageTeacher)]
    with engine.connect() as connection:
        rows: Sequence[Any] = connection.execute(queries.distil.ANSWERS_BEFORE, {"models": models}).all()
    return {
        row.model: Known(
            row.answers,
            None if row.tokens_in is None else float(row.tokens_in),
            None if row.tokens_out is None else float(row.tokens_out),
            float(row.median_s),
        )
        for row in rows
    }
