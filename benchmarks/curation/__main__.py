"""Curation on the Atlas: what four steps of verification make of what imperfect teachers say.

Teachers answer scenes of the split `test`: the three of `atlas.teachers`, with the faults of real ones; the
trained tiny model; and the archive's own photographs with known place, which give a point and a confidence. The
full run asks them as an operator would (`globetag curate run`): the three over HTTP, the tiny model on a real
`vllm serve`, all rows in Postgres. What they said is stored below GLOBETAG_HOME, and judged from there.

A sample is *right* when each name of its place is the true one, as far as it goes, when it states a cue, and when
every cue that it states is visible (`benchmarks/curation/judging.py`). Thresholds are chosen on the scenes of one
half of the cities and judged on the other half. The steps never see the truth but for the known place.

`precision_raw`, `precision_kept`: the share of right samples before and after the four steps; `kept_share`: of the
right samples, those that are kept; `cue_precision_...`: of the stated cues, those that are visible.
`--quick` takes what is stored; where nothing is, it has a few scenes answered in this process, without HTTP.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from atlas.visible import CLIP_NAME, SEGMENTER_NAME, AtlasVisible, Seen, load_cuts
from atlas.world import load_world
from benchmarks import harness
from benchmarks.curation import plot
from benchmarks.curation.cases import ClipSentences, cases_of, halves, scenes_of
from benchmarks.curation.checking import Checked, checked
from benchmarks.curation.choosing import Chosen, choose_thresholds
from benchmarks.curation.dimming import RATES, Dimmed
from benchmarks.curation.judging import Tally, samples_of
from benchmarks.curation.store import Row, file_of, keep_asked, read, read_asked, write
from benchmarks.curation.study import RAW, Study, study
from trainer.curate.opinions import Case, Step
from trainer.curate.thresholds import Thresholds
from trainer.curate.verify import remembering
from worker.settings import load

SCENES, STORED, FEW = 1500, 500, 160
"""Of the full run; of a quick one where answers are stored, and where none are."""


def main() -> None:
    """Asks what is missing, judges and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--store", type=Path, help="folder of stored answers  [default: below GLOBETAG_HOME]")
    parser.add_argument("--scenes", type=int, help=f"how many  [default: {SCENES}, quick: {STORED}]")
    parser.add_argument(
        "--here", action="store_true", help="have the scenes answered in this process, without HTTP and vLLM"
    )
    given = parser.parse_args()
    world = load_world()
    file = file_of(given.store or load()[0].home / "benchmarks" / "curation", world)
    rows = read(file, given.scenes or (STORED if given.quick else SCENES))
    if len(rows) < (given.scenes or (1 if given.quick else SCENES)):
        rows = _answered(file, given.scenes or (FEW if given.quick else SCENES), here=given.here or given.quick)
    scenes = scenes_of(world, rows)
    cases = cases_of(rows, scenes)
    samples = samples_of(cases, scenes)
    alike = ClipSentences()
    memory, by_clip = (remembering(alike, _visible(rows, by)) for by in (SEGMENTER_NAME, CLIP_NAME))
    first, second = halves(cases)
    chosen = choose_thresholds(first, samples, memory)
    found = study(second, samples, chosen.thresholds, memory)
    shipped = study(second, samples, Thresholds(), memory)

    def with_eye(memory: remembering) -> Study:
        return study(second, samples, choose_thresholds(first, samples, memory).thresholds, memory)

    matched = with_eye(by_clip)
    rates = () if given.quick else RATES
    dimmed = {rate: with_eye(remembering(alike, Dimmed(_visible(rows, SEGMENTER_NAME), rate))) for rate in rates}
    judged = [row for row in rows if row.id in {case.subject.id for case in second}]
    by_kind = checked(judged, scenes, load_cuts())
    by_kind_clip = checked(judged, scenes, load_cuts(CLIP_NAME), by_clip=True)
    others = {"shipped thresholds": shipped, "CLIP alone looks": matched}
    others |= {f"the eye errs at {rate:.0%}": one for rate, one in dimmed.items()}
    _show(found, chosen, others, by_kind, by_kind_clip)
    if not given.quick:
        (harness.RESULTS / "curation.svg").write_text(plot.svg(found) + "\n", encoding="utf-8")
    figures = _figures(found, shipped, by_kind) | read_asked(file)
    figures |= {
        "precision_kept_clip": list(matched.after.values())[-1].precision,
        "kept_share_clip": list(matched.after.values())[-1].recall,
        "checker_precision_clip": by_kind_clip["all"].precision,
        "checker_recall_clip": by_kind_clip["all"].recall,
        "checker_false_alarm_clip": by_kind_clip["all"].false_alarm,
    }
    for rate in RATES:
        one = dimmed.get(rate)
        name = f"eye_errs_{round(100 * rate):02d}"
        figures[f"precision_kept_{name}"] = list(one.after.values())[-1].precision if one else None
        figures[f"kept_share_{name}"] = list(one.after.values())[-1].recall if one else None
    harness.report("curation", figures, {name: _unit(name) for name in figures})


def _answered(file: Path, count: int, *, here: bool) -> list[Row]:
    """Has the scenes answered, and stores what came of it."""
    if here:
        from benchmarks.curation.drawing import draw

        rows = draw(load_world(), count)
    else:
        from benchmarks.curation.pipeline import ask

        asked = ask(load_world(), count)
        rows = asked.rows
        keep_asked(file, asked.figures)
    write(file, rows)
    return rows


def _visible(rows: Sequence[Row], by: str) -> AtlasVisible:
    evidence = {row.id: Seen(row.seen if by == SEGMENTER_NAME else row.matched) for row in rows}
    return AtlasVisible(_SeenBefore(evidence), load_cuts(by), by)


class _SeenBefore:
    """The evidence that was stored, by the photograph's id."""

    def __init__(self, seen: Mapping[str, Seen]) -> None:
        self._seen = seen

    def __call__(self, cases: Sequence[Case]) -> list[Seen]:
        return [self._seen[case.subject.id] for case in cases]


def _figures(found: Study, shipped: Study, by_kind: Mapping[str, Checked]) -> dict[str, float | None]:
    raw, kept = found.after[RAW], list(found.after.values())[-1]
    figures: dict[str, float | None] = {
        "precision_raw": raw.precision,
        "precision_kept": kept.precision,
        "precision_kept_low": found.precision.low if found.precision else None,
        "kept_share": kept.recall,
        "kept_of_all": kept.n / raw.n,
        "cue_precision_raw": raw.cue_precision,
        "cue_precision_kept": kept.cue_precision,
        "too_fine_raw": raw.too_fine / raw.n,
        "too_fine_kept": kept.too_fine / kept.n if kept.n else None,
        "precision_written": found.best.precision,
        "photographs_written": float(found.best.n),
    }
    for step, one in list(found.after.items())[1:]:
        figures |= {f"precision_after_{step}": one.precision, f"kept_share_after_{step}": one.recall}
        figures |= {f"cue_precision_after_{step}": one.cue_precision, f"cue_recall_after_{step}": _cues(one, raw)}
    for step, one in found.without.items():
        figures |= {f"precision_without_{step}": one.precision, f"kept_share_without_{step}": one.recall}
    figures |= {
        "precision_kept_shipped": list(shipped.after.values())[-1].precision,
        "kept_share_shipped": list(shipped.after.values())[-1].recall,
        "checker_precision": by_kind["all"].precision,
        "checker_recall": by_kind["all"].recall,
        "checker_false_alarm": by_kind["all"].false_alarm,
        "photographs": float(found.photographs),
        "samples": float(raw.n),
    }
    return figures


def _cues(one: Tally, raw: Tally) -> float | None:
    """Of the visible cues that were stated, those in samples that are left."""
    return one.visible_cues / raw.visible_cues if raw.visible_cues else None


def _unit(figure: str) -> str:
    return "1" if figure.startswith(("photographs", "samples", "asked")) else "share"


# ------------------------------------------------------------ for people


def _show(
    found: Study,
    chosen: Chosen,
    others: Mapping[str, Study],
    by_kind: Mapping[str, Checked],
    by_kind_clip: Mapping[str, Checked],
) -> None:
    console = Console(width=110)
    raw = found.after[RAW]
    table = Table(title=f"{found.photographs:,} scenes, {raw.n:,} samples", title_justify="left")
    for heading in ("steps", "samples", "fully right", "right ones kept", "cues visible", "visible cues kept"):
        table.add_column(heading)
    for name, one in found.after.items():
        table.add_row(name if name == RAW else f"... {name}", *_row(one, raw))
    for step, one in found.without.items():
        table.add_row(f"without {step}", *_row(one, raw))
    for step, one in found.alone.items():
        table.add_row(f"{step} alone", *_row(one, raw))
    table.add_row("best of each scene", *_row(found.best, raw))
    for name, other in others.items():
        table.add_row(name, *_row(list(other.after.values())[-1], raw))
        table.add_row("  without agreement", *_row(other.without[Step.AGREEMENT], raw))
    console.print(table)
    table = Table(title="By teacher", title_justify="left")
    for heading in ("teacher", "samples", "right", "cues visible", "kept", "right of kept"):
        table.add_column(heading)
    for teacher, (before, after) in found.by_teacher.items():
        told = (
            f"{before.n:,}",
            _p(before.precision),
            _p(before.cue_precision),
            f"{after.n:,}",
            _p(after.precision),
        )
        table.add_row(teacher, *told)
    console.print(table)
    table = Table(title="The checkers on all stated cues: segmentation model / CLIP", title_justify="left")
    for heading in ("kind", "stated", "visible", "precision", "recall", "finds what is not there"):
        table.add_column(heading)
    for kind, seen in by_kind.items():
        both = (seen, by_kind_clip[kind])
        values = zip(*((each.precision, each.recall, each.false_alarm) for each in both), strict=True)
        pairs = [" / ".join(map(_p, each)) for each in values]
        table.add_row(kind, f"{seen.n:,}", _p(seen.there / seen.n), *pairs)
    console.print(table)
    on_first = chosen.tally
    console.print(f"thresholds: {chosen.thresholds}", highlight=False)
    console.print(
        f"where they were chosen: {_p(on_first.precision)} right, {_p(on_first.recall)} of the right ones kept"
    )
    console.print(f"precision of what is kept, 95 % over photographers: {found.precision}", highlight=False)


def _row(one: Tally, raw: Tally) -> tuple[str, ...]:
    return f"{one.n:,}", _p(one.precision), _p(one.recall), _p(one.cue_precision), _p(_cues(one, raw))


def _p(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()
