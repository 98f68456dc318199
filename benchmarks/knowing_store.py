"""What the study of knowing rests upon: answers of the Atlas model, the gate's embeddings and true class areas.

Answering a thousand scenes takes minutes, so each split is answered once and kept in one file below GLOBETAG_HOME,
named by the weights that answered. More scenes than are there are answered and added; fewer are read off.

Axes: N scenes, D embedding dimensions, C classes of `atlas.areas`, S sampled answers.
"""

import hashlib
import math
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atlas import WEIGHTS
from atlas.areas import area_shares
from atlas.exam import BATCH, MAX_TOKENS, set_paper
from atlas.scenes import scene
from atlas.world import World
from trainer.judge.answers import from_completion
from trainer.judge.records import Outcome, Truth
from worker.checkpoints import resolve
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.place.gazetteer import Gazetteer
from worker.place.sphere import distance_km
from worker.reason.engines import Engine, Sampling
from worker.reason.prompt import build_prompt

if TYPE_CHECKING:
    from worker.gate.clip import ClipGate

FORMAT = "knowing/1"
TEMPERATURE = 0.7
_CHUNK = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answered:
    """Scenes of a split from number 0 on, in order.

    `km_N` is how far off the greedy answer is, infinite where it names no place that is known. `named_N` is the
    share of the sampled answers that name one, NaN where none was drawn. `photographer_N` numbers the clusters.
    """

    lat_N: Floats
    lon_N: Floats
    km_N: Floats
    named_N: Floats
    logprob_N: Floats
    photographer_N: NDArray[np.int64]
    embedding_N_D: NDArray[np.float32]
    area_N_C: Floats

    def __len__(self) -> int:
        return len(self.km_N)

    def part(self, rows: slice | NDArray[np.int64]) -> "Answered":
        """These scenes alone."""
        return Answered(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def with_more(self, more: "Answered") -> "Answered":
        """These scenes, then those."""
        names = [each.name for each in fields(self)]
        return Answered(**{name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in names})


class Models:
    """The Atlas model and the gate's backbone, loaded when they are first needed."""

    vlm = WEIGHTS / "vlm-best"
    clip = WEIGHTS / "clip"

    @cached_property
    def engine(self) -> Engine:
        """The model that answers."""
        from worker.reason.engines.transformers import load_engine

        return load_engine(str(self.vlm), device="cpu", dtype="float32", max_batch=BATCH)

    @cached_property
    def gate(self) -> "ClipGate":
        """The backbone, with the zero-shot head."""
        from worker.gate.clip import load_gate

        return load_gate(str(self.clip), device="cpu")

    @property
    def key(self) -> str:
        """Names the weights: other weights have other files."""
        prints = [resolve(str(each), variable="--").version for each in (self.vlm, self.clip)]
        return hashlib.sha256(" ".join([FORMAT, *prints]).encode()).hexdigest()[:12]

    def close(self) -> None:
        """Frees what was loaded."""
        for loaded in ("engine", "gate"):
            if loaded in self.__dict__:
                getattr(self, loaded).close()


def answered(
    folder: Path,
    world: World,
    split: str,
    count: int,
    models: Models,
    *,
    samples: int = 0,
    say: Callable[[str], None] = print,
) -> Answered:
    """The first `count` scenes of a split, read where they are stored, answered and stored where not."""
    file = _file(folder, world, split, models, samples)
    stored = _read(file) if file.exists() else None
    while (there := 0 if stored is None else len(stored)) < count:
        chunk = _answer(world, split, there, min(_CHUNK, count - there), models, samples)
        stored = chunk if stored is None else stored.with_more(chunk)
        _write(file, stored)
        say(f"{split}: {len(stored):,} of {count:,} scenes answered")
    assert stored is not None
    return stored.part(slice(0, count))


def stored_count(folder: Path, world: World, split: str, models: Models, *, samples: int = 0) -> int:
    """How many scenes `answered` would read without asking a model."""
    file = _file(folder, world, split, models, samples)
    return len(_read(file)) if file.exists() else 0


def _file(folder: Path, world: World, split: str, models: Models, samples: int) -> Path:
    return folder / f"{split}-{samples}-{models.key}-{world.version}.npz"


def _answer(world: World, split: str, start: int, count: int, models: Models, samples: int) -> Answered:
    gazetteer = Gazetteer.load()
    gate, engine = models.gate, models.engine  # loaded here, before many threads want them
    greedy = Sampling(max_tokens=MAX_TOKENS, temperature=0.0)
    drawn = Sampling(max_tokens=MAX_TOKENS, temperature=TEMPERATURE)
    prompt = build_prompt()

    def look(truth: Truth) -> tuple[float, float, float, NDArray[np.float32]]:
        """Kilometres off, share of sampled answers that name a place, mean log-probability, embedding."""
        assert truth.image is not None
        picture = decode(truth.image.read_bytes(), Limits()).image
        embedding_D = gate.score(picture).embedding_D
        [first] = engine.generate(prompt, picture, greedy)
        others = engine.generate(prompt, picture, drawn, samples) if samples else []
        said = from_completion(truth.id, first.text, gazetteer, finish_reason=first.finish_reason)
        named = [
            from_completion(truth.id, one.text, gazetteer, finish_reason=one.finish_reason).outcome
            is Outcome.LOCATED
            for one in others
        ]
        km = math.inf
        if said.lat is not None and said.lon is not None:
            km = distance_km(truth.lat, truth.lon, said.lat, said.lon)
        logprob = math.nan if first.mean_logprob is None else first.mean_logprob
        return km, float(np.mean(named)) if named else math.nan, logprob, embedding_D

    with tempfile.TemporaryDirectory(prefix="knowing-") as pictures, ThreadPoolExecutor(2 * BATCH) as pool:
        truths = set_paper(Path(pictures), world, split, count, start=start).truths
        km, named, logprob, embeddings = zip(*pool.map(look, truths), strict=True)
    shown = [scene(world, split, index) for index in range(start, start + count)]
    return Answered(
        lat_N=np.array([truth.lat for truth in truths]),
        lon_N=np.array([truth.lon for truth in truths]),
        km_N=np.array(km),
        named_N=np.array(named),
        logprob_N=np.array(logprob),
        photographer_N=np.array([int(one.photographer.rpartition("p")[2]) for one in shown]),
        embedding_N_D=np.stack(embeddings),
        area_N_C=np.stack([area_shares(one) for one in shown]),
    )


def _read(file: Path) -> Answered:
    with np.load(file, allow_pickle=False) as arrays:
        return Answered(**{each.name: arrays[each.name] for each in fields(Answered)})


def _write(file: Path, answers: Answered) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz", delete=False) as draft:
        np.savez_compressed(draft, **{each.name: getattr(answers, each.name) for each in fields(answers)})
    Path(draft.name).replace(file)
