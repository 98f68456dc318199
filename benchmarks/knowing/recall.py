"""What similar photographs add: model and archive together against each alone.

The gallery are scenes of `calibration` with known place, searched exactly as the worker does: the ten most alike,
none by the same photographer, since a new photograph's neighbours on its roll would give its place away.

No two photographers of the Atlas took the same scene, so a near-duplicate here is a mistake of the threshold,
which is a guess for any gate that it was not measured for. `safe_cosine` chooses one on the gallery's own pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.knowing.scenes import NEAR_KM, Case, Scenes
from benchmarks.knowing.shares import Bools, Share, difference, share
from schema.reasons import LabelSource
from trainer.judge.records import Truth
from worker.place.candidates import NEAR_DUPLICATE, Candidate
from worker.place.consensus import consensus
from worker.place.doubt import Doubt
from worker.place.gazetteer import Gazetteer
from worker.place.recall import NEAR_DUPLICATE_COSINE, NEARBY_KM
from worker.place.recalled import recalled
from worker.place.sphere import distances_km
from worker.place.votes import evidence_opinions
from worker.place.weighing import Ground

K = 10
SAFE_SHARE, _FEWEST_PAIRS = 0.9, 20
_COSINES = (0.97, 0.975, 0.98, 0.985, 0.99, 0.995)
NEVER = 2.0
"""No cosine reaches it."""
TOGETHER, MODEL, ARCHIVE = "together", "model", "archive"


@dataclass(frozen=True, slots=True)
class Gained:
    """Shares within 25 km of the placeable scenes, and what both together have more than each alone, paired.

    `invented` is the share that gets a place of the scenes in which nothing tells it; None without such scenes.
    `duplicates` is the share of all scenes with a near-duplicate in the gallery, `duplicates_right` the share of
    these whose most similar one stands within 25 km.
    """

    within: Mapping[str, Share]
    invented: Mapping[str, Share | None]
    over_model: Share
    over_archive: Share
    duplicates: float
    duplicates_right: float | None


def on_gallery(scenes: Scenes, gallery: Scenes, *, near_duplicate_cosine: float = NEAR_DUPLICATE_COSINE) -> Scenes:
    """The scenes with what the gallery's photographs say of each."""
    gazetteer = Gazetteer.load()
    grounds = []
    for candidates in candidates_of(scenes, gallery, near_duplicate_cosine=near_duplicate_cosine):
        found = recalled(candidates)
        opinions = evidence_opinions(found.evidence, gazetteer)
        grounds.append(Ground(evidence=tuple(opinions), nearest_cosine=found.nearest_cosine))
    return scenes.on(grounds)


def safe_cosine(gallery: Scenes) -> float:
    """The lowest cosine at which nine of ten pairs by two photographers stand within 25 km, else `NEVER`."""
    cosine_G_G = gallery.embedding_N_D @ gallery.embedding_N_D.T
    by_G = gallery.photographer_N
    others_G_G = by_G[:, None] < by_G[None, :]
    near_G_G = _near(gallery)
    for cosine in _COSINES:
        alike_G_G = others_G_G & (cosine_G_G >= cosine)
        if alike_G_G.sum() >= _FEWEST_PAIRS and near_G_G[alike_G_G].mean() >= SAFE_SHARE:
            return cosine
    return NEVER


def candidates_of(
    scenes: Scenes, gallery: Scenes, *, near_duplicate_cosine: float = NEAR_DUPLICATE_COSINE, k: int = K
) -> list[list[Candidate]]:
    """The `k` most similar photographs of the gallery for each scene, without those of its own photographer."""
    near_G_G = _near(gallery)
    by_G = np.array([case.truth.photographer for case in gallery.cases])
    found = []
    for case, embedding_D in zip(scenes.cases, scenes.embedding_N_D, strict=True):
        others_G = by_G != case.truth.photographer
        cosine_G = np.where(others_G, gallery.embedding_N_D @ embedding_D, -np.inf)
        best = np.argsort(-cosine_G, kind="stable")[: min(k, int(others_G.sum()))]
        candidates = []
        for g in best.tolist():
            cosine, share_nearby = float(min(1.0, cosine_G[g])), float(near_G_G[g][others_G].mean())
            is_duplicate = cosine >= near_duplicate_cosine
            candidates.append(_candidate(gallery.cases[g].truth, g, cosine, share_nearby, is_duplicate))
        found.append(candidates)
    return found


def _near(gallery: Scenes) -> Bools:
    """Which two photographs stand within 25 km, shape (G, G)."""
    lat_G = np.array([case.truth.lat for case in gallery.cases])
    lon_G = np.array([case.truth.lon for case in gallery.cases])
    km_G_G = distances_km(lat_G[:, None], lon_G[:, None], lat_G[None, :], lon_G[None, :])
    return np.asarray(km_G_G <= NEARBY_KM, dtype=np.bool_)


def _candidate(truth: Truth, g: int, cosine: float, share_nearby: float, is_duplicate: bool) -> Candidate:
    return Candidate(
        image_id=g,
        sha256=truth.id,
        cosine=cosine,
        lat=truth.lat,
        lon=truth.lon,
        country_code=truth.country_code,
        region=truth.region,
        city=truth.city,
        geoname_id=truth.geoname_id,
        source=LabelSource.EXIF,
        near_duplicate=is_duplicate,
        same_series=False,
        share_nearby=share_nearby,
    )


def gained(scenes: Scenes, doubt: Doubt) -> Gained:
    """What recall is worth on scenes with their grounds (`on_gallery`), asked by this rule."""
    rows = np.array([n for n, case in enumerate(scenes.cases) if case.is_placeable], dtype=np.int64)
    placeable = scenes.part(rows)
    off_km = {
        TOGETHER: [case.weighed_off_km(case.ask(doubt)[1]) for case in placeable.cases],
        MODEL: [case.weighed_off_km(case.on(Ground()).ask(doubt)[1]) for case in placeable.cases],
        ARCHIVE: [archive_off_km(case) for case in placeable.cases],
    }
    right = {name: np.array(km) <= NEAR_KM for name, km in off_km.items()}
    clusters_N = placeable.clusters_N
    alike = [km for case in scenes.cases if (km := _duplicate_off_km(case)) is not None]
    none = scenes.part(
        np.array([n for n, case in enumerate(scenes.cases) if not case.is_placeable], dtype=np.int64)
    )
    placed = {
        TOGETHER: [case.ask(doubt)[1].place is not None for case in none.cases],
        MODEL: [case.on(Ground()).ask(doubt)[1].place is not None for case in none.cases],
    }
    return Gained(
        invented={name: share(np.array(each), none.clusters_N) if each else None for name, each in placed.items()},
        within={name: share(right_N, clusters_N) for name, right_N in right.items()},
        over_model=difference(right[TOGETHER], right[MODEL], clusters_N),
        over_archive=difference(right[TOGETHER], right[ARCHIVE], clusters_N),
        duplicates=len(alike) / len(scenes),
        duplicates_right=float(np.mean([km <= NEAR_KM for km in alike])) if alike else None,
    )


def archive_off_km(case: Case) -> float:
    """How far off the place is for which the similar photographs speak by themselves; infinite without any."""
    agreed = consensus(case.ground.evidence)
    return case.off_km(agreed.chosen.place.lat, agreed.chosen.place.lon) if agreed else float("inf")


def _duplicate_off_km(case: Case) -> float | None:
    """How far off the heaviest near-duplicate is; None without one."""
    alike = [each for each in case.ground.evidence if each.source == NEAR_DUPLICATE]
    return case.off_km(alike[0].lat, alike[0].lon) if alike else None


def show(split: str, found: Gained) -> None:
    """A table for people."""
    table = Table(title=f"{split}: similar photographs, placeable scenes", title_justify="left")
    for heading in ("from", "within 25 km", "together is better by", "places what nothing tells"):
        table.add_column(heading)
    table.add_row("model and archive together", str(found.within[TOGETHER]), "", str(found.invented[TOGETHER]))
    table.add_row("model alone", str(found.within[MODEL]), found.over_model.signed, str(found.invented[MODEL]))
    table.add_row("archive alone", str(found.within[ARCHIVE]), found.over_archive.signed, "")
    Console(width=140).print(table)
    right = "" if found.duplicates_right is None else f", of which {found.duplicates_right:.3f} stand within 25 km"
    print(f"{split}: {found.duplicates:.3f} of all scenes have a near-duplicate in the gallery{right}", flush=True)
