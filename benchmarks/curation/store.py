"""What teachers said of scenes, and what the segmentation model saw in them: kept once, judged many times.

One line of JSON for each scene of the split `test` from number 0 on: `id`, by teacher what it `said`, by
coordinate teacher its `points` (degrees, confidence), and of the cues that anybody states the evidence of the
segmentation model (`seen`) and of CLIP (`matched`). Below GLOBETAG_HOME the file is named by the weights and
the world: other weights have another file.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas import WEIGHTS
from atlas.language import stated_cues
from atlas.world import World
from worker.checkpoints import resolve

SPLIT = "test"
FORMAT = "curation/1"
_DIGITS = 4

Cue = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One scene. `seen`: the segmentation model's evidence for a cue, 0..1; `matched`: CLIP's, a cosine."""

    id: str
    said: Mapping[str, str]
    points: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    seen: Mapping[Cue, float] = field(default_factory=dict)
    matched: Mapping[Cue, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A line of the file; of what was seen only what somebody states."""
        stated = {cue for text in self.said.values() for cue in stated_cues(text)}
        evidence = {
            f"{kind}={value}": [round(of[kind, value], _DIGITS) for of in (self.seen, self.matched)]
            for kind, value in sorted(stated)
        }
        return {"id": self.id, "said": dict(self.said), "points": dict(self.points), "evidence": evidence}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Row":
        """What `to_json` gave."""
        evidence = {
            (cue.partition("=")[0], cue.partition("=")[2]): both for cue, both in stored["evidence"].items()
        }
        points = {teacher: (point[0], point[1], point[2]) for teacher, point in stored["points"].items()}
        seen, matched = ({cue: both[which] for cue, both in evidence.items()} for which in (0, 1))
        return cls(stored["id"], stored["said"], points, seen, matched)


def file_of(folder: Path, world: World) -> Path:
    """Where the rows of these weights and this world are kept."""
    weights = [
        resolve(str(WEIGHTS / name), variable="weights").version for name in ("vlm-best", "clip", "segmenter")
    ]
    key = hashlib.sha256(" ".join([FORMAT, *weights]).encode()).hexdigest()[:12]
    return folder / f"{SPLIT}-{key}-{world.version}.jsonl"


def read(file: Path, most: int | None = None) -> list[Row]:
    """The first rows; none where there is no file."""
    if not file.exists():
        return []
    return [Row.from_json(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()[:most]]


def write(file: Path, rows: Iterable[Row]) -> None:
    """All rows anew; the file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows), encoding="utf-8")
    beside.replace(file)


ASKED = ("asked_questions", "asked_answered_at_kill", "asked_twice", "asked_under_way", "asked_kept_in_postgres")
"""What is known of the run that asked over HTTP (`benchmarks.curation.pipeline`)."""


def keep_asked(file: Path, figures: Mapping[str, float]) -> None:
    """Beside the rows, what came of asking for them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".asked.json").write_text(json.dumps(dict(figures)) + "\n", encoding="utf-8")


def read_asked(file: Path) -> dict[str, float | None]:
    """The same again; None for all where the rows were not asked for over HTTP."""
    beside = file.with_suffix(".asked.json")
    stored = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    return {name: stored.get(name) for name in ASKED}
