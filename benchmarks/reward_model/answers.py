"""What reward models and gates said of each judged scene, kept so that figures can be worked out again: JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.rewards.calibration import Calibration


@dataclass(frozen=True, slots=True)
class Row:
    """One judged scene and its greedy answer.

    `named`: the answer names a place; `right`: within 25 km. `p`: the reward model's P(yes), before calibration;
    `p_swapped` with another scene's picture before the same reasons; `p_untrained` of the weights that it was
    trained from; None where neither yes nor no was said. `gate`: the head's chance of being within 25 km.
    `own`: the mean log-probability of the answer's words.
    """

    id: str
    photographer: int
    named: bool
    right: bool
    p: float | None
    p_swapped: float | None
    p_untrained: float | None
    gate: float
    own: float


@dataclass(frozen=True, slots=True)
class Study:
    """One seed. `slope` and `intercept` calibrate `p`; `trained` and `held_out` say on what."""

    seed: int
    slope: float
    intercept: float
    trained: str
    held_out: str
    seconds: float
    rows: dict[str, list[Row]]
    """By split."""

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.slope, self.intercept)


def write(file: Path, key: str, studies: Sequence[Study]) -> None:
    """One scene a line. `key` names weights, world and recipe."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    said = json.dumps({"key": key, "studies": [_packed(each) for each in studies]})
    beside.write_text(said.replace("[[", "[\n[").replace("], [", "],\n[") + "\n", encoding="utf-8")
    beside.replace(file)


def read(file: Path, key: str) -> list[Study]:
    """Empty where there is no file, or one about other weights, another world or another recipe."""
    if not file.is_file():
        return []
    kept = json.loads(file.read_bytes())
    return [_unpacked(each) for each in kept["studies"]] if kept["key"] == key else []


def _packed(study: Study) -> dict[str, Any]:
    rows = {
        split: [[_short(each) for each in asdict(row).values()] for row in all_rows]
        for split, all_rows in study.rows.items()
    }
    return asdict(study) | {"rows": rows}


def _unpacked(packed: dict[str, Any]) -> Study:
    rows = {split: [Row(*row) for row in all_rows] for split, all_rows in packed["rows"].items()}
    return Study(**packed | {"rows": rows})


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
