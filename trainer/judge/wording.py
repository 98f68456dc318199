"""Figures as a person reads them, for the terminal and the page alike."""

from trainer.judge.compare import Difference
from trainer.judge.cues import Ratio
from trainer.judge.metrics import Evaluation, Figure
from trainer.judge.records import Outcome
from trainer.judge.selective import RadiusGroup

OUTCOME_WORDS = {
    Outcome.LOCATED: "located: a point was given",
    Outcome.REFUSED: "refused: says that the place cannot be told",
    Outcome.UNRESOLVED: "unresolved: named a place that the gazetteer could not place",
    Outcome.UNPARSABLE: "unparsable: no answer could be read, or it was cut",
    Outcome.FAILED: "failed: picture, model or connection broke",
    Outcome.MISSING: "missing: nothing was said of the image",
}


def percent(share: float | None) -> str:
    """ "40.1 %", or a dash."""
    return "–" if share is None else f"{100 * share:.1f} %"


def value(number: float | None, unit: str) -> str:
    """A figure's value with its unit; a dash where there is none."""
    if number is None:
        return "–"
    if unit == "share":
        return percent(number)
    if unit == "points":
        return f"{number:,.0f}"
    return f"{number:,.1f} km" if number < 100 else f"{number:,.0f} km"


def interval(low: float | None, high: float | None, unit: str) -> str:
    """ "36.2 … 44.1 %", or nothing."""
    if low is None or high is None:
        return ""
    return f"{value(low, unit).split(' ')[0]} … {value(high, unit)}"


def counts(figure: Figure) -> str:
    """ "1,203 of 2,997", and how many could not be judged."""
    over = f"{figure.hits:,} of {figure.of:,}" if figure.hits is not None else f"over {figure.of:,}"
    return over + (f", {figure.left_out:,} without" if figure.left_out else "")


def ratio(found: Ratio, *, as_share: bool) -> str:
    """A cue figure: a share, or a number per answer."""
    if found.value is None:
        return "–"
    return percent(found.value) if as_share else f"{found.value:.2f}"


def difference(found: Difference) -> str:
    """ "+2.4 points" of a hundred for shares, with sign."""
    if found.unit == "share":
        return f"{100 * found.value:+.1f} points"
    return f"{found.value:+,.0f}" + (" km" if found.unit == "km" else "")


def difference_interval(found: Difference) -> str:
    """The interval of a difference, in the same unit."""
    if found.low is None or found.high is None:
        return ""
    scale = 100 if found.unit == "share" else 1
    digits = 1 if found.unit == "share" else 0
    return f"{scale * found.low:+,.{digits}f} … {scale * found.high:+,.{digits}f}"


def radius_sentence(group: RadiusGroup) -> str:
    """What one group of radii promises and keeps."""
    promise = (
        "nominal radii promise nothing" if group.stated_coverage is None else f"{group.stated_coverage:.0%} stated"
    )
    return (
        f"{percent(group.inside / group.count)} of {group.count:,} truths inside ({promise});"
        f" radius median {value(group.median_km, 'km')}, mean {value(group.mean_km, 'km')},"
        f" 9 in 10 below {value(group.p90_km, 'km')}"
    )


def reading_sentence(evaluation: Evaluation) -> str:
    """How the raw answers could be read."""
    reading = evaluation.reading
    return (
        f"{reading.strict:,} read as asked for, {reading.tolerated:,} only with tolerance,"
        f" {reading.unparsable:,} not at all, {reading.unknown:,} without a raw text"
    )


def unresolved_sentence(evaluation: Evaluation) -> str:
    """What the gazetteer could not place."""
    by_level = evaluation.unresolved
    return (
        f"{evaluation.unresolved_answers:,} answers with a name that the gazetteer could not place"
        f" ({by_level['country']:,} countries, {by_level['region']:,} regions, {by_level['city']:,} cities);"
        f" {evaluation.outcomes[Outcome.UNRESOLVED]:,} of them have no point at all"
    )


def warnings(evaluation: Evaluation) -> list[str]:
    """What makes the figures doubtful."""
    found = []
    pairing = evaluation.pairing
    if pairing is not None and pairing.suspicious:
        found.append(
            "THE ANSWERS FIT OTHER IMAGES AS WELL AS THEIR OWN: mean GeoScore"
            f" {pairing.own_geoscore:,.0f} with their own, {pairing.shuffled_geoscore:,.0f} shuffled"
            f" (p = {pairing.p_value:.2g}). Did the model receive the pictures? Do the ids belong together?"
        )
    return found
