"""Raw answers of the Atlas model, drawn once and kept: one file of JSON lines for each split and checkpoint.

Line n is about scene n of the split: `id`, the zero-shot `gate_score`, the gate's `embedding`, and `answers` as
[text, finish reason, mean log-probability, [length and log-probability of each piece]]: the greedy one first,
then those that the worker would draw after it if its doubt never ended, at the same temperature and with the same
seeds. Pictures go the way of an archive's: JPEG files, the worker's decoder, prompt and engine. What a scene or
these texts can tell is not kept.

Files grow in portions, so that a drawing may be ended at any time and gone on with. Below GLOBETAG_HOME they are
named by the weights, the world and the way of asking: other weights have other files.
"""

import fcntl
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas import WEIGHTS
from atlas.exam import BATCH, MAX_TOKENS, set_paper
from atlas.world import World
from trainer.judge.records import Truth
from worker.checkpoints import resolve
from worker.errors import SetupError
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.place.doubt import Doubt
from worker.reason.engines import Completion, Engine, Sampling
from worker.reason.prompt import build_prompt

if TYPE_CHECKING:
    from worker.gate.clip import ClipGate

SPLITS = ("calibration", "test", "shift")
ANSWERS = Doubt().most_answers
"""Of each scene: as many as the worker draws at most."""
PORTION = 100
FORMAT = "knowing/3"
_DIGITS = 4
"""Of an embedding's numbers, whose cosines keep three of them, and of a piece's log-probability."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of one scene; `completions` has `ANSWERS`, the greedy one first."""

    id: str
    gate_score: float
    embedding: tuple[float, ...]
    completions: tuple[Completion, ...]

    def to_json(self) -> dict[str, Any]:
        """A line of the file."""
        answers = [
            [
                one.text,
                one.finish_reason,
                one.mean_logprob,
                [[len(said), round(each, _DIGITS)] for said, each in one.pieces],
            ]
            for one in self.completions
        ]
        return {"id": self.id, "gate_score": self.gate_score, "embedding": self.embedding, "answers": answers}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Row":
        """What `to_json` gave; tokens are not kept and count as 0."""
        completions = (
            Completion(text, reason, 0, logprob, tuple(_cut(text, pieces)))
            for text, reason, logprob, pieces in stored["answers"]
        )
        return cls(stored["id"], stored["gate_score"], tuple(stored["embedding"]), tuple(completions))


@dataclass(frozen=True)
class Models:
    """The Atlas model and the gate's backbone, loaded when they are first needed."""

    vlm: Path = field(default=WEIGHTS / "vlm-best")
    clip: Path = field(default=WEIGHTS / "clip")

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

    @cached_property
    def key(self) -> str:
        """Names the weights and the way of asking: others have other files."""
        prints = [resolve(str(each), variable="--weights").version for each in (self.vlm, self.clip)]
        asked = [FORMAT, str(ANSWERS), str(Doubt().temperature), str(MAX_TOKENS)]
        return hashlib.sha256(" ".join([*asked, *prints]).encode()).hexdigest()[:12]

    def close(self) -> None:
        """Frees what was loaded."""
        for loaded in ("engine", "gate"):
            if loaded in self.__dict__:
                getattr(self, loaded).close()


@dataclass(frozen=True, slots=True)
class Store:
    """The answers of one checkpoint in one folder."""

    folder: Path
    world: World
    models: Models

    def file(self, split: str) -> Path:
        """Where the answers to a split are kept."""
        return self.folder / f"{split}-{self.models.vlm.name}-{self.models.key}-{self.world.version}.jsonl"

    def count(self, split: str) -> int:
        """How many scenes from number 0 on are answered."""
        return len(whole_lines(self.file(split)))

    def read(self, split: str, most: int | None = None) -> list[Row]:
        """The first `most` answered scenes of a split, in order."""
        return [Row.from_json(json.loads(line)) for line in whole_lines(self.file(split))[:most]]

    def draw(self, wanted: dict[str, int], *, portion: int = PORTION, say: Callable[[str], None] = print) -> None:
        """Answers scenes until each split has as many as `wanted`, a portion of each split in turn."""
        while short := [split for split, count in wanted.items() if self.count(split) < count]:
            for split in short:
                start, began_s = self.count(split), time.perf_counter()
                rows = self._answer(split, start, min(portion, wanted[split] - start))
                add(self.file(split), start, rows)
                taken_s = time.perf_counter() - began_s
                there = f"{self.count(split):,} of {wanted[split]:,} scenes"
                say(f"{self.models.vlm.name}, {split}: {there}, {len(rows):,} in {taken_s:,.0f} s")

    def _answer(self, split: str, start: int, count: int) -> list[Row]:
        gate, engine = self.models.gate, self.models.engine  # loaded here, before many threads want them
        prompt = build_prompt()
        greedy = Sampling(max_tokens=MAX_TOKENS)
        further = replace(greedy, temperature=Doubt().temperature, seed=greedy.seed + 1)

        def look(truth: Truth) -> Row:
            assert truth.image is not None
            picture = decode(truth.image.read_bytes(), Limits()).image
            score = gate.score(picture)
            completions = engine.generate(prompt, picture, greedy)
            completions += engine.generate(prompt, picture, further, ANSWERS - 1)
            embedding = tuple(round(float(each), _DIGITS) for each in score.embedding_D)
            return Row(truth.id, score.score, embedding, tuple(completions))

        with tempfile.TemporaryDirectory(prefix="knowing-") as pictures, ThreadPoolExecutor(2 * BATCH) as pool:
            return list(pool.map(look, set_paper(Path(pictures), self.world, split, count, start=start).truths))


def _cut(text: str, pieces: Sequence[tuple[int, float]]) -> Iterator[tuple[str, float]]:
    start = 0
    for length, logprob in pieces:
        yield text[start : start + length], logprob
        start += length


def whole_lines(file: Path) -> list[str]:
    """The lines of a file, without one that was cut off while it was written; none where there is no file."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [line for line in lines if line.endswith("\n")]


def add(file: Path, start: int, rows: Sequence[Row]) -> None:
    """Adds the rows from number `start` on, unless another process has added them in the meantime.

    Raises `SetupError` where rows before `start` are missing.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        kept = whole_lines(file)
        if len(kept) > start:
            return
        if len(kept) < start:
            raise SetupError(f"{file} lost rows while it was read ({len(kept)} of {start} are left): remove it")
        stream.truncate(len("".join(kept).encode()))
        stream.write("".join(json.dumps(row.to_json()) + "\n" for row in rows).encode())
