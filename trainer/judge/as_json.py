"""The figures for programs, and predictions as lines that `globetag evaluate --predictions` reads again."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.judge.canary import Canary
from trainer.judge.compare import Comparison
from trainer.judge.cues import CueHonesty
from trainer.judge.metrics import Evaluation
from trainer.judge.records import Prediction

FORMAT = 1
"""Raised when a field changes its meaning or goes away; new fields may come at any time."""


def evaluation_to_json(
    evaluation: Evaluation, comparison: Comparison | None = None, canary: Canary | None = None
) -> dict[str, Any]:
    """Numbers, texts, lists and objects only; no NaN and no infinity. Figures are found by their `name`."""
    found: dict[str, Any] = asdict(evaluation)
    for figures in ("figures",):
        found[figures] = {figure["name"]: figure for figure in found[figures]}
    for groups in ("continents", "placeable"):
        for group in found[groups]:
            group["figures"] = {figure["name"]: figure for figure in group["figures"]}
    found["outcomes"] = {str(outcome): count for outcome, count in evaluation.outcomes.items()}
    found["cues"] = None if evaluation.cues is None else _cues(evaluation.cues)
    if evaluation.pairing is not None:
        found["pairing"]["suspicious"] = evaluation.pairing.suspicious
    found["comparison"] = None if comparison is None else _comparison(comparison)
    found["canary"] = None if canary is None else asdict(canary) | {"suspicious": canary.suspicious}
    return {"format": FORMAT} | found


def prediction_line(prediction: Prediction) -> str:
    """One JSON object without a line end. What is None is left away."""
    fields = {name: value for name, value in asdict(prediction).items() if value not in (None, ())}
    for derived in ("unresolved", "strict", "where"):
        fields.pop(derived, None)  # read again from the raw answer
    if prediction.stated_cues is not None:
        fields["stated_cues"] = sorted(prediction.stated_cues)
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(path)


def _cues(cues: CueHonesty) -> dict[str, Any]:
    ratios = ("precision", "recall", "invented", "honest")
    with_values = {name: asdict(getattr(cues, name)) | {"value": getattr(cues, name).value} for name in ratios}
    return {"images": cues.images, "left_out": cues.left_out, "f1": cues.f1} | with_values


def _comparison(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = asdict(comparison)
    found["differences"] = {
        difference.name: asdict(difference) | {"is_clear": difference.is_clear}
        for difference in comparison.differences
    }
    return found
