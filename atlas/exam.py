"""Examines a model on scenes of the Atlas, through the same files, decoder, prompt, grammar and gazetteer as in
serving, with the project's own judge.

What only this world knows is added to the judgement: which cues are visible in each scene (so whether a stated
one is invented), and how well the best possible observer could place it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from atlas.archive import write_split
from atlas.language import stated_cues
from atlas.world import World
from trainer.judge.benchmarks import find_images, with_images
from trainer.judge.columns import Columns, make_columns
from trainer.judge.distance import Distance
from trainer.judge.from_model import Asker, ask_all
from trainer.judge.matching import match
from trainer.judge.metrics import evaluate
from trainer.judge.read import read_truth
from trainer.judge.records import Prediction, Truth
from worker.place.gazetteer import Gazetteer
from worker.reason.engines import Engine, Sampling

MAX_TOKENS = 128
"""Four times the longest text of this world."""
BATCH = 64


@dataclass(frozen=True, slots=True)
class Paper:
    """The questions of an examination: pictures in a folder, and what is known of them."""

    split: str
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """What an examination comes to, in shares of 0..1.

    `country` and `city25` are over *placeable* scenes, always answered or not; `bayes_country` and `bayes_city25`
    are what the best possible observer reaches on the same scenes. `city25_of_cities` and its limit are over those
    that can be placed down to a city. `refused_rightly` is over scenes in which nothing tells the place. For the
    split `unseen` the limits are a yardstick, not a bound (see `atlas.scenes.split_prior_C`).
    """

    split: str
    n: int
    country: float
    bayes_country: float
    city25: float
    bayes_city25: float
    city25_of_cities: float
    bayes_city25_of_cities: float
    refused_rightly: float
    cue_precision: float
    cue_recall: float
    invented_per_answer: float
    unparsable: int


def set_paper(folder: Path, world: World, split: str, count: int, *, start: int = 0) -> Paper:
    """Writes the pictures of `count` scenes into `folder`, as an archive would hold them: JPEGs of 336 px."""
    truth_file = write_split(folder, world, split, count, start=start, gps_share=0.0)
    known = read_truth(truth_file, Gazetteer.load())
    truths, _ = with_images(known, find_images(folder), folder, allow_missing=False)
    return Paper(split, tuple(truths))


def examine(engine: Engine, paper: Paper, *, on_done: Callable[[Prediction], None] = lambda _: None) -> Columns:
    """The greedy answers, judged scene by scene: what `mark`, `evaluate` and `compare` are made of."""
    gazetteer = Gazetteer.load()
    asker = Asker(engine, gazetteer, Sampling(max_tokens=MAX_TOKENS, temperature=0.0))
    answers = [_with_cues(answer) for answer in ask_all(asker, paper.truths, threads=2 * BATCH, on_done=on_done)]
    run = match(f"{engine.identity.name} on {paper.split}", paper.truths, answers, source=engine.identity.name)
    return make_columns(run, Distance(), gazetteer)


def mark(paper: Paper, columns: Columns) -> Mark:
    """The few figures that count, beside the limits of the world."""
    evaluation = evaluate(columns, replicates=0)
    groups = {group.name: group for group in evaluation.placeable}
    something, city = groups["something"], groups["city"]
    placeable = [truth for truth in paper.truths if truth.placeable != "none"]
    cities = [truth for truth in placeable if truth.placeable == "city"]
    cues = evaluation.cues
    return Mark(
        split=paper.split,
        n=evaluation.n,
        country=_value(something.figure("country_id").value),
        bayes_country=_mean([truth.bayes_country for truth in placeable]),
        city25=_value(something.figure("within_25_km").value),
        bayes_city25=_mean([truth.bayes_city25 for truth in placeable]),
        city25_of_cities=_value(city.figure("within_25_km").value),
        bayes_city25_of_cities=_mean([truth.bayes_city25 for truth in cities]),
        refused_rightly=_value(evaluation.figure("none_refused").value),
        cue_precision=_value(cues.precision.value if cues else None),
        cue_recall=_value(cues.recall.value if cues else None),
        invented_per_answer=_value(cues.invented.value if cues else None),
        unparsable=evaluation.reading.unparsable,
    )


def of_placeable(columns: Columns) -> Columns:
    """The same answers, judged over the scenes alone in which something tells the place."""
    rows = tuple(row for row in columns.run.rows if row.truth.placeable != "none")
    return make_columns(replace(columns.run, rows=rows), columns.distance, Gazetteer.load())


def examine_once(engine: Engine, world: World, split: str, count: int, *, start: int = 0) -> Mark:
    """Sets a paper in a folder of its own, examines, and removes it."""
    with TemporaryDirectory(prefix="atlas-exam-") as folder:
        paper = set_paper(Path(folder), world, split, count, start=start)
        return mark(paper, examine(engine, paper))


def _with_cues(answer: Prediction) -> Prediction:
    """The cues as this world's language reads them, in the form of the truth's: "kind=value"."""
    if answer.raw is None:
        return answer
    return replace(answer, stated_cues=frozenset(f"{kind}={value}" for kind, value in stated_cues(answer.raw)))


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def _value(value: float | None) -> float:
    return 0.0 if value is None else value
