"""Answers for the study of the radius: what a model says of Atlas scenes, once greedily and a few times by chance.

`draw` writes one file of JSON lines for each split, in portions of each split in turn, so that it may be ended
at any time and gone on with; `read` makes of them what `benchmarks.radius_study` looks at. Pictures go the way
of an archive's: JPEG files, the worker's decoder, prompt, grammar and gazetteer.
"""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from atlas import WEIGHTS
from atlas.exam import BATCH, MAX_TOKENS, set_paper
from atlas.world import load_world
from benchmarks.radius_study import Answered
from trainer.judge.places import true_place
from trainer.judge.records import Truth
from worker.errors import SetupError
from worker.gate import Gate
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.place.difficulty import Difficulty
from worker.place.gazetteer import Gazetteer
from worker.place.resolve import Resolved, resolve
from worker.place.sphere import distance_km, distances_km
from worker.reason.answer import Answer, parse
from worker.reason.engines import Engine, Sampling
from worker.reason.prompt import build_prompt

SPLITS = ("calibration", "test", "shift")
TEMPERATURE = 0.7
_NEAR_KM = 25.0
_NEAREST = 5


def draw(
    folder: Path,
    *,
    scenes: int,
    samples: int,
    portion: int = 100,
    splits: Sequence[str] = SPLITS,
    weights: Path = WEIGHTS / "vlm-best",
) -> None:
    """Answers what is not answered yet: `<split>.jsonl` in `folder`."""
    from worker.gate.clip import load_gate
    from worker.reason.engines.transformers import load_engine

    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        gate = load_gate(str(WEIGHTS / "clip"), device="cpu")
        stack.callback(gate.close)
        engine = load_engine(str(weights), device="cpu", dtype="float32", max_batch=BATCH)
        stack.callback(engine.close)
        asker = _Asker(engine, gate, samples)
        for start in range(0, scenes, portion):
            for split in splits:
                _answer(folder / f"{split}.jsonl", split, start, min(portion, scenes - start), asker)


def read(path: Path, gazetteer: Gazetteer, gallery: Path | None = None) -> Answered:
    """The located answers of a file, with the signs of their difficulty.

    The first answer decides the place; the others say how far they agree. (The worker's own consensus does more;
    the signs are the same.) `gallery`: a file whose photographs stand for those of known place; a photographer's
    own are never among them.
    """
    rows = _rows(path)
    places = [[_place(text, reason, gazetteer) for text, reason, _ in row["answers"]] for row in rows]
    located = [n for n, found in enumerate(places) if found[0].lat is not None]
    near = None if gallery is None else _Gallery(_rows(gallery))
    difficulties, errors, continents = [], [], []
    for n in located:
        row, first = rows[n], places[n][0]
        assert first.lat is not None and first.lon is not None and first.granularity is not None
        errors.append(distance_km(first.lat, first.lon, row["lat"], row["lon"]))
        truth = Truth(row["id"], row["lat"], row["lon"], country_code=row["country_code"])
        continents.append(true_place(truth, gazetteer).continent)
        cosine, agreed = (None, None) if near is None else near.look(row, first.lat, first.lon)
        agreement, spread_km = _agreement(places[n])
        difficulties.append(
            Difficulty(
                gate_score=row["gate_score"],
                agreement=agreement,
                spread_km=spread_km,
                samples=len(places[n]),
                mean_logprob=row["answers"][0][2],
                nearest_cosine=cosine,
                candidate_agreement=agreed,
                stated=first.granularity,
            )
        )
    _, cluster_N = np.unique([rows[n]["photographer"] for n in located], return_inverse=True)
    return Answered(
        difficulties=tuple(difficulties),
        error_km_N=np.array(errors),
        cluster_N=cluster_N.astype(np.int64),
        continents=tuple(continents),
        asked=len(rows),
    )


class _Gallery:
    """Photographs with known place, by their embeddings."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._embedding_G_D = np.array([row["embedding"] for row in rows])
        self._lat_G = np.array([row["lat"] for row in rows])
        self._lon_G = np.array([row["lon"] for row in rows])
        self._by_G = np.array([row["photographer"] for row in rows])

    def look(self, row: dict[str, Any], lat: float, lon: float) -> tuple[float, float]:
        """The cosine of the most similar one, and the share of the five most similar within 25 km of a point."""
        cosine_G = self._embedding_G_D @ np.array(row["embedding"])
        cosine_G[self._by_G == row["photographer"]] = -1.0
        best = np.argsort(-cosine_G)[:_NEAREST]
        km = distances_km(self._lat_G[best], self._lon_G[best], lat, lon)
        return float(min(1.0, cosine_G[best[0]])), float((km <= _NEAR_KM).mean())


def _place(text: str, finish_reason: str, gazetteer: Gazetteer) -> Resolved:
    answer = parse(text, finish_reason="length" if finish_reason == "length" else "stop")
    return resolve(answer, gazetteer) if isinstance(answer, Answer) else Resolved()


def _agreement(places: Sequence[Resolved]) -> tuple[float, float]:
    """The share of answers within 25 km of the first, and their mean distance; without a point they disagree."""
    first = places[0]
    assert first.lat is not None and first.lon is not None
    km = [
        distance_km(first.lat, first.lon, each.lat, each.lon)
        for each in places
        if each.lat is not None and each.lon is not None
    ]
    return sum(each <= _NEAR_KM for each in km) / len(places), sum(km) / len(km)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _answer(target: Path, split: str, start: int, count: int, asker: "_Asker") -> None:
    """Appends the answers to `count` scenes from number `start` on, unless they are there."""
    there = len(target.read_text().splitlines()) if target.exists() else 0
    if there >= start + count:
        return
    if there != start:
        raise SetupError(f"{target} holds {there} rows, which is no multiple of the portion: remove it")
    began_s = time.perf_counter()
    with TemporaryDirectory(prefix="atlas-radius-") as pictures, ThreadPoolExecutor(2 * BATCH) as pool:
        paper = set_paper(Path(pictures), load_world(), split, count, start=start)
        rows = list(pool.map(asker.look, paper.truths))
    with target.open("a") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{split} {start}: {count} scenes in {time.perf_counter() - began_s:,.0f} s", flush=True)


class _Asker:
    """Looks at one picture after the other; thread-safe."""

    def __init__(self, engine: Engine, gate: Gate, samples: int) -> None:
        self._engine = engine
        self._gate = gate
        self._samples = samples
        self._prompt = build_prompt()

    def look(self, truth: Truth) -> dict[str, Any]:
        """The row of one picture."""
        assert truth.image is not None
        picture = decode(truth.image.read_bytes(), Limits()).image
        score = self._gate.score(picture)
        greedy = Sampling(max_tokens=MAX_TOKENS, temperature=0.0)
        completions = self._engine.generate(self._prompt, picture, greedy)
        if self._samples:
            drawn = Sampling(max_tokens=MAX_TOKENS, temperature=TEMPERATURE)
            completions += self._engine.generate(self._prompt, picture, drawn, self._samples)
        return {
            "id": truth.id,
            "lat": truth.lat,
            "lon": truth.lon,
            "country_code": truth.country_code,
            "photographer": truth.photographer,
            "placeable": truth.placeable,
            "gate_score": score.score,
            "answers": [[one.text, one.finish_reason, one.mean_logprob] for one in completions],
            "embedding": [round(float(each), 4) for each in score.embedding_D],
        }
