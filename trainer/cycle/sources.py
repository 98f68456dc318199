"""Where a training run takes its questions from, and what its models are judged by.

Both are functions that the cycle is given: an archive's are here; a closed test world brings its own, since it
knows more about its pictures than a label says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

from PIL.Image import Image
from sqlalchemy import Engine as SqlEngine

from schema import queries
from schema.reasons import LabelSource
from trainer.curate.cells import Grid
from trainer.curate.labels import Side
from trainer.curate.manifest import Member, Stored
from trainer.curate.originals import Fetch, Original, examples_of
from trainer.curate.rights import refusal
from trainer.grpo.questions import Question, columns_of
from trainer.judge.records import Truth
from worker.errors import SetupError
from worker.intake.limits import Limits
from worker.place.countries import Countries
from worker.reason.prompt import build_prompt

_PLACE_CELL_KM = 50.0
"""Photographs of one such cell are one cluster of the bootstrap: an archive does not say who took them."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What is to be learnt from. `left_out` counts photographs that could not be used, by reason."""

    questions: Sequence[Question]
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What models are judged by. `pictures` opens each truth's picture, by id.

    `read_cues` gives the cues that a raw answer states, in the words of the truths' `true_cues`; None: nobody
    knows what the pictures show.
    """

    truths: tuple[Truth, ...]
    pictures: Mapping[str, Callable[[], Image]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    read_cues: Callable[[str], frozenset[str]] | None = None


class QuestionSource(Protocol):
    """Questions on the training side of a curation."""

    def __call__(self, curated: Stored, fetch: Fetch, limits: Limits) -> Questions: ...


class HeldOutSource(Protocol):
    """The frozen held-out set, as it may be used today."""

    def __call__(self, engine: SqlEngine, curated: Stored, fetch: Fetch, limits: Limits) -> HeldOut: ...


def archive_questions(curated: Stored, fetch: Fetch, limits: Limits) -> Questions:
    """One question for each photograph on the training side whose original is as it was labelled.

    The columns are what a label knows. What it does not know (the cues in the picture, its entities, how far it
    can be placed) is None, so that the rewards that need it say that they cannot judge. Raises `SetupError` where
    not one original is left.
    """
    usable = examples_of(curated, fetch, side=Side.TRAIN, limits=limits)
    prompt = build_prompt()
    questions = [
        Question(
            id=member.sha256,
            image=Original(member.uri, member.sha256, fetch, limits),
            prompt=prompt,
            columns=columns_of(truth_of(member)),
        )
        for member in usable.members
    ]
    return Questions(questions, usable.left_out)


def archive_held_out(engine: SqlEngine, curated: Stored, fetch: Fetch, limits: Limits) -> HeldOut:
    """All that any curation so far has held out, as far as rights and originals allow today.

    Photographs of one place cell count as one cluster. Raises `SetupError` where nothing is left.
    """
    with engine.connect() as connection:
        rows = connection.execute(queries.curation.HELD_OUT_MEMBERS).all()
    members: list[Member] = []
    withdrawn = 0
    for row in rows:
        fields = dict(row._mapping)
        if refusal(fields.pop("data_mining"), consented=fields.pop("consented")) is not None:
            withdrawn += 1
            continue
        members.append(Member(**fields | {"side": Side.HELD_OUT, "source": LabelSource(row.source)}))
    if not members:
        raise SetupError(f"nothing is held out that models may be judged by ({withdrawn:,} without consent)")
    usable = examples_of(replace(curated, members=tuple(members)), fetch, side=Side.HELD_OUT, limits=limits)
    left_out = dict(usable.left_out) | ({"withdrawn": withdrawn} if withdrawn else {})
    pictures = {member.sha256: Original(member.uri, member.sha256, fetch, limits) for member in usable.members}
    return HeldOut(tuple(map(truth_of, usable.members)), pictures, left_out)


def truth_of(member: Member) -> Truth:
    """The known place of a photograph as the judge takes it; its place cell stands for the photographer."""
    cell = Grid(_PLACE_CELL_KM).cell(member.lat, member.lon)
    return Truth(
        id=member.sha256,
        lat=member.lat,
        lon=member.lon,
        country_code=member.country_code,
        country=_country_names()[member.country_code],
        region=member.region,
        city=member.city,
        geoname_id=member.geoname_id,
        photographer=f"cell {cell}",
        where=f"label {member.label_id}",
    )


@lru_cache(maxsize=1)
def _country_names() -> dict[str, str]:
    return {code: country.name for code, country in Countries().by_code.items()}
