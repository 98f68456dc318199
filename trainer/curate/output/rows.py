"""A kept sample with its photograph's known place, and all that is known of how it came about.

Rights are those of today: a consent that was withdrawn after the teachers were asked is withdrawn here too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row

from schema import queries
from trainer.curate.opinions import CueSeen
from trainer.curate.rights import refusal
from trainer.rewards.cues import phrase_key
from worker.place.sphere import distance_km

NEAR_KM = 50.0
"""A coordinate teacher whose point lies so near to the known place agrees with it."""
HELD_OUT = "held_out"
_ROWS_PER_FETCH = 200


@dataclass(frozen=True, slots=True)
class Fate:
    """What came of one teacher's word. `outcome`: kept, dropped (by `step`, for `reason`), troubled (for
    `reason`), point (of a coordinate teacher) or open."""

    teacher: str
    outcome: str
    step: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept sample. `lat`, `lon` degrees (WGS 84); the place is the known one, `answer` the teacher's.

    `entities`: what was looked for on behalf of any teacher and is visible, each once. `agreeing`: the other
    teachers that name the known place too. `barred`: why it may not be used today; None where it may.
    """

    sha256: str
    uri: str
    lat: float
    lon: float
    country_code: str | None
    country: str | None
    region: str | None
    city: str | None
    geoname_id: int | None
    grouped_by: str | None
    licence: str | None
    label_id: int | None
    teacher: str
    model: str | None
    prompt_hash: str | None
    chosen: bool
    reasoning: str
    answer: str
    cues: tuple[CueSeen, ...]
    entities: tuple[str, ...]
    agreeing: tuple[str, ...]
    fates: tuple[Fate, ...]
    measures: Mapping[str, float]
    barred: str | None = None


def read_kept(
    engine: Engine, distillation_id: int, *, every: bool = False, held_out: frozenset[str] = frozenset()
) -> Iterator[Kept]:
    """The kept samples by content hash, of each photograph the chosen one or `every` one.

    `held_out`: content hashes that models are judged by. Those and what rights bar come too, with the reason, so
    that they can be counted.
    """
    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(
            queries.distilled.KEPT_SAMPLES, {"id": distillation_id, "all": every}
        )
        for row in rows:
            yield _kept(row, held_out)


def visible(cues: Iterable[CueSeen]) -> tuple[str, ...]:
    """The texts of what is visible, each once however it is written."""
    by_key = {phrase_key(cue.text): cue.text for cue in reversed(list(cues)) if cue.visible is True}
    return tuple(text for key, text in reversed(by_key.items()) if key)


def cues_of(stored: Iterable[Mapping[str, Any]] | None) -> tuple[CueSeen, ...]:
    """Cues as `distilled_sample.cues` holds them."""
    return tuple(
        CueSeen(str(cue["text"]), cue.get("visible"), str(cue.get("by") or ""), cue.get("score"))
        for cue in stored or ()
    )


def _kept(row: Row[Any], held_out: frozenset[str]) -> Kept:
    said: list[dict[str, Any]] = row.said or []
    cues: list[CueSeen] = []
    others: list[CueSeen] = []
    for each in said:
        (cues if each["teacher"] == row.teacher else others).extend(cues_of(each["cues"]))
    barred = refusal(row.data_mining, consented=row.consented)
    return Kept(
        sha256=row.sha256,
        uri=row.uri,
        lat=row.lat,
        lon=row.lon,
        country_code=row.country_code,
        country=row.country,
        region=row.region,
        city=row.city,
        geoname_id=row.geoname_id,
        grouped_by=row.grouped_by,
        licence=row.licence,
        label_id=row.label_id,
        teacher=row.teacher,
        model=row.model,
        prompt_hash=row.prompt_hash,
        chosen=row.chosen,
        reasoning=row.reasoning,
        answer=row.answer,
        cues=tuple(cues),
        entities=visible((*cues, *others)),
        agreeing=tuple(each["teacher"] for each in said if each["teacher"] != row.teacher and _agrees(each, row)),
        fates=tuple(map(_fate, said)),
        measures={name: float(value) for name, value in row.measures.items()},
        barred=HELD_OUT if row.sha256 in held_out else None if barred is None else str(barred),
    )


def _agrees(said: Mapping[str, Any], row: Row[Any]) -> bool:
    """Language teachers by verification: who got past the steps of verdict and place named the known place."""
    if said["kept"] is not None:
        return said["dropped_by"] not in ("locatable", "place")
    if said["state"] != "answered" or said["lat"] is None or said["lon"] is None:
        return False
    return distance_km(said["lat"], said["lon"], row.lat, row.lon) <= NEAR_KM


def _fate(said: Mapping[str, Any]) -> Fate:
    teacher = str(said["teacher"])
    if said["kept"] is not None:
        return Fate(teacher, "kept" if said["kept"] else "dropped", said["dropped_by"], said["reason"])
    if said["state"] == "troubled":
        return Fate(teacher, "troubled", reason=said["trouble"])
    return Fate(teacher, "point" if said["lat"] is not None else "open")
