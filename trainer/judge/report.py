"""The figures as one HTML page that works from a disk: no script, no request, every text escaped."""

import base64
import hashlib
import os
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.judge import plots, wording
from trainer.judge.canary import Canary
from trainer.judge.columns import Columns
from trainer.judge.compare import Comparison
from trainer.judge.metrics import Evaluation
from worker.report import projection
from worker.report.outline import world_outline
from worker.report.wording import plain

if TYPE_CHECKING:
    from jinja2 import Template


def write_report(
    path: Path,
    columns: Columns,
    evaluation: Evaluation,
    *,
    made_at: datetime,
    other: Columns | None = None,
    comparison: Comparison | None = None,
    canary: Canary | None = None,
) -> None:
    """Writes the page, whole or not at all. `other` is the run that is compared. Raises `OSError`."""
    errors, images = plots.error_map(columns)
    diagrams = [plots.accuracy_plot([columns, *([other] if other else [])]), plots.risk_plot(evaluation)]
    diagrams += [plots.radius_plot(group) for group in evaluation.radius]
    warnings = wording.warnings(evaluation)
    if canary is not None and canary.suspicious:
        warnings.insert(0, canary.sentence())
    style = _text("report.css")
    page = _template().render(
        evaluation=evaluation,
        comparison=comparison,
        canary=canary,
        warnings=warnings,
        style=style,
        policy=_policy(style),
        made_at=made_at,
        plots=[diagram for diagram in diagrams if diagram is not None],
        bars=plots.continent_bars(evaluation),
        errors=errors,
        images=images,
        outline=world_outline(),
        map=projection,
        box=plots,
        words=wording,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@cache
def _template() -> "Template":
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    environment.filters["plain"] = plain
    return environment.from_string(_text("report.html.j2"))


def _text(name: str) -> str:
    return (files("trainer.judge") / name).read_text(encoding="utf-8")


def _policy(style: str) -> str:
    """Content Security Policy Level 3: nothing but this style sheet."""
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
