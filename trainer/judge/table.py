"""The figures in the terminal."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trainer.judge import wording
from trainer.judge.canary import Canary
from trainer.judge.compare import Comparison
from trainer.judge.metrics import Evaluation
from trainer.judge.metrics import Group as Part
from worker.report.wording import plain

_PART_FIGURES = ("within_1_km", "within_25_km", "within_200_km", "within_750_km", "within_2500_km", "answer_rate",
                 "country_id", "city_id", "geoscore")  # fmt: skip
_PART_HEADS = ("1 km", "25 km", "200 km", "750 km", "2500 km", "answered", "country", "city", "GeoScore")


def print_evaluation(
    console: Console, evaluation: Evaluation, comparison: Comparison | None = None, canary: Canary | None = None
) -> None:
    """Prints everything, warnings first."""
    console.print(render_evaluation(evaluation, comparison, canary))


def render_evaluation(
    evaluation: Evaluation, comparison: Comparison | None = None, canary: Canary | None = None
) -> Group:
    """The same as a value that rich can show. Names from files are shown as text, never as markup."""
    parts: list[RenderableType] = []
    warnings = wording.warnings(evaluation)
    if canary is not None and canary.suspicious:
        warnings.insert(0, canary.sentence())
    parts += [Panel.fit(Text(warning), style="bold black on yellow") for warning in warnings]
    parts += [
        Text(plain(evaluation.name), style="bold"),
        Text(_head(evaluation), style="dim"),
        _outcomes(evaluation),
    ]
    parts += [Text(wording.reading_sentence(evaluation)), Text(wording.unresolved_sentence(evaluation))]
    parts.append(_figures(evaluation))
    parts += _parts("By continent", evaluation.continents)
    parts += _parts("By what the picture gives away", evaluation.placeable)
    parts += _risk(evaluation)
    parts += _radius(evaluation)
    parts += _cues(evaluation)
    if canary is not None and not canary.suspicious:
        parts.append(Text(f"Canary: {canary.sentence()}", style="dim"))
    parts += [Text(f"Note: {plain(note, 2000)}", style="yellow") for note in evaluation.notes]
    if comparison is not None:
        parts.append(_comparison(comparison))
    return Group(*parts)


def _head(evaluation: Evaluation) -> str:
    how = "no intervals"
    if evaluation.replicates:
        how = (
            f"95 % intervals from {evaluation.replicates:,} resamplings of {evaluation.clusters:,} photographers,"
            f" seed {evaluation.seed}"
        )
    return f"{evaluation.n:,} images; {evaluation.distance}; {how}"


def _outcomes(evaluation: Evaluation) -> Table:
    table = _plain_table("Every image, once")
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{evaluation.n:,}", "images", style="bold")
    for outcome, count in evaluation.outcomes.items():
        table.add_row(f"{count:,}", Text(wording.OUTCOME_WORDS[outcome]), style="" if count else "dim")
    return table


def _figures(evaluation: Evaluation) -> Table:
    table = Table(title="Figures", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right", style="dim")
    table.add_column("images", style="dim")
    for figure in evaluation.figures:
        table.add_row(
            Text(figure.title),
            wording.value(figure.value, figure.unit),
            wording.interval(figure.low, figure.high, figure.unit),
            wording.counts(figure),
            style="italic" if figure.name.startswith("bayes") else "",
        )
    return table


def _parts(title: str, parts: Iterable[Part]) -> Iterable[RenderableType]:
    parts = list(parts)
    if not parts:
        return
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in ("", "images", *_PART_HEADS):
        table.add_column(head, justify="left" if not head else "right")
    for part in parts:
        by_name = {figure.name: figure for figure in part.figures}
        values = [
            wording.value(by_name[name].value, by_name[name].unit) if name in by_name else "–"
            for name in _PART_FIGURES
        ]
        table.add_row(Text(part.name), f"{part.n:,}", *values)
    yield table


def _risk(evaluation: Evaluation) -> Iterable[RenderableType]:
    if not evaluation.risk:
        return
    title = f"Risk and coverage, surest first by {evaluation.risk[0].ordered_by}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    shares = list(evaluation.risk[0].accuracy_at)
    heads = [f"surest {share:.0%}" for share in shares]
    for head in ("wrong beyond", "AURC", "best possible", "of answered", "AUGRC", "AUROC", *heads):
        table.add_column(head, justify="right")
    for curve in evaluation.risk:
        table.add_row(
            f"{curve.threshold_km} km",
            f"{curve.aurc:.3f}",
            f"{curve.aurc_best:.3f}",
            "–" if curve.aurc_answered is None else f"{curve.aurc_answered:.3f}",
            f"{curve.augrc:.3f}",
            "–" if curve.auroc is None else f"{curve.auroc:.3f}",
            *(wording.percent(curve.accuracy_at[share]) for share in shares),
        )
    yield table


def _radius(evaluation: Evaluation) -> Iterable[RenderableType]:
    for group in evaluation.radius:
        yield Text(f"Radius: {wording.radius_sentence(group)}")


def _cues(evaluation: Evaluation) -> Iterable[RenderableType]:
    cues = evaluation.cues
    if cues is None:
        return
    table = _plain_table(f"Stated against true cues, {cues.images:,} answers, {cues.left_out:,} images without")
    for _ in range(4):
        table.add_column()
    rows = (
        ("precision", cues.precision, True, "stated cues that are there"),
        ("recall", cues.recall, True, "true cues that are stated"),
        ("invented per answer", cues.invented, False, "stated, but not there"),
        ("honest answers", cues.honest, True, "without any invented cue"),
    )
    for name, found, as_share, meaning in rows:
        low_high = ""
        if found.low is not None and found.high is not None:
            low_high = (
                f"{wording.percent(found.low)} … {wording.percent(found.high)}"
                if as_share
                else f"{found.low:.2f} … {found.high:.2f}"
            )
        value = wording.ratio(found, as_share=as_share)
        table.add_row(name, value, low_high, f"{found.over:,} of {found.under:,}: {meaning}")
    yield table


def _comparison(comparison: Comparison) -> Table:
    table = Table(
        title=Text(f"A = {plain(comparison.a)} against B = {plain(comparison.b)}, on the same images"),
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("")
    for head in ("A", "B", "A - B", "95 % interval", "only A right", "only B right", "McNemar p"):
        table.add_column(head, justify="right")
    for found in comparison.differences:
        table.add_row(
            Text(found.title),
            wording.value(found.a, found.unit),
            wording.value(found.b, found.unit),
            wording.difference(found),
            wording.difference_interval(found),
            "" if found.only_a is None else f"{found.only_a:,}",
            "" if found.only_b is None else f"{found.only_b:,}",
            "" if found.p_value is None else f"{found.p_value:.2g}",
            style="bold" if found.is_clear else "",
        )
    return table


def _plain_table(title: str) -> Table:
    return Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
