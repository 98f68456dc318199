"""What is not stored yet, answered in this process: the same teachers without HTTP, Postgres and vLLM.

The full run asks them over HTTP instead (`benchmarks.curation.pipeline`). The tiny model's texts are those of
transformers here, which vLLM gives too but for the last bits of floating-point sums
(`tests/integration/test_vllm`).
"""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas import WEIGHTS
from atlas.archive import camera_position, write_split
from atlas.exam import BATCH, MAX_TOKENS
from atlas.language import Cue
from atlas.scenes import scene
from atlas.seeing import Matcher, Seer
from atlas.teacher_server import taught
from atlas.teachers import TEACHERS
from atlas.world import World
from benchmarks.curation.cases import clip
from benchmarks.curation.store import SPLIT, Row
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.place.sphere import distances_km
from worker.reason.engines import Sampling
from worker.reason.engines.transformers import load_engine
from worker.reason.prompt import build_prompt

TINY = "tiny"
ARCHIVE = "archive"
GALLERY = 1000
"""Scenes of the split `calibration`: the archive's own photographs with known place."""
_NEAREST = 10
_TEMPERATURE = 0.05
_NEAR_KM = 25.0

Floats = NDArray[np.float64]
Evidence = Mapping[Cue, float]


def draw(world: World, count: int, *, gallery: int = GALLERY) -> list[Row]:
    """The rows of the first `count` scenes."""
    scenes = [scene(world, SPLIT, index) for index in range(count)]
    with tempfile.TemporaryDirectory(prefix="curation-") as folder:
        pictures = pictures_of(Path(folder), world, count)
        tiny = _tiny_says(pictures)
        points = _archive_says(world, pictures, gallery)
    looked = evidence_in(pictures)
    return [
        Row(
            shown.id,
            {teacher.name: taught(world, shown, teacher) for teacher in TEACHERS} | {TINY: said},
            {ARCHIVE: point},
            *evidence,
        )
        for shown, said, point, evidence in zip(scenes, tiny, points, looked, strict=True)
    ]


def evidence_in(pictures: Sequence[Image.Image]) -> list[tuple[Evidence, Evidence]]:
    """Of the segmentation model and of CLIP, for each cue, in each picture."""
    seen, matched = Seer().look(pictures), Matcher(clip()).look(pictures)
    return [(one.evidence, other.evidence) for one, other in zip(seen, matched, strict=True)]


def pictures_of(
    folder: Path, world: World, count: int, split: str = SPLIT, *, gps_share: float = 0.0
) -> list[Image.Image]:
    """The first scenes of a split as an archive would hold them, decoded as the worker does."""
    write_split(folder, world, split, count, gps_share=gps_share)
    return [
        decode((folder / f"{scene(world, split, index).id}.jpg").read_bytes(), Limits()).image
        for index in range(count)
    ]


def _tiny_says(pictures: Sequence[Image.Image]) -> list[str]:
    engine = load_engine(str(WEIGHTS / "vlm-best"), device="cpu", dtype="float32", max_batch=BATCH)
    prompt, greedy = build_prompt(), Sampling(max_tokens=MAX_TOKENS, temperature=0.0)
    try:
        with ThreadPoolExecutor(2 * BATCH) as pool:
            return list(pool.map(lambda one: engine.generate(prompt, one, greedy)[0].text, pictures))
    finally:
        engine.close()


def _archive_says(world: World, pictures: Sequence[Image.Image], gallery: int) -> list[tuple[float, float, float]]:
    """Where the most similar photographs of the archive stand, and the share of their weight near there."""
    known = [scene(world, "calibration", index) for index in range(gallery)]
    with tempfile.TemporaryDirectory(prefix="curation-") as folder:
        gallery_G_D = _embedded(pictures_of(Path(folder), world, gallery, "calibration"))
    place_G_2 = np.array([camera_position(shown) for shown in known])
    return [_point(row_D, gallery_G_D, place_G_2) for row_D in _embedded(pictures)]


def _embedded(pictures: Sequence[Image.Image]) -> Floats:
    gate = clip()
    with ThreadPoolExecutor(2 * BATCH) as pool:
        return np.stack(list(pool.map(lambda one: gate.score(one).embedding_D, pictures))).astype(np.float64)


def _point(embedding_D: Floats, gallery_G_D: Floats, place_G_2: Floats) -> tuple[float, float, float]:
    cosine_G = gallery_G_D @ embedding_D
    best = np.argsort(-cosine_G, kind="stable")[:_NEAREST]
    weight_K = np.exp((cosine_G[best] - cosine_G[best[0]]) / _TEMPERATURE)
    lat_K, lon_K = place_G_2[best].T
    near_K_K = distances_km(lat_K[:, None], lon_K[:, None], lat_K[None, :], lon_K[None, :]) <= _NEAR_KM
    share_K = near_K_K @ weight_K / weight_K.sum()
    chosen = int(np.argmax(share_K))
    return float(lat_K[chosen]), float(lon_K[chosen]), round(float(share_K[chosen]), 4)
