"""What further answers are worth: one greedy answer, eight, and as many as there is doubt, on the Atlas.

Answers are drawn once (`--scenes` of the split `calibration` from the start, greedy and then at the rule's
temperature) and every rule is played over them, so that rules differ in nothing but what they ask for. `test` is
never looked at: this chooses a threshold. For each checkpoint: `city25_one`, `city25_most`, `city25_doubt` and the
same for `country` over the scenes that can be placed, and `generations_doubt`, the mean number of answers.

The log-probability of a whole answer differs from model to model, so a threshold fits one model only.
`--budget` finds the one at which the mean number of answers stays below it, and prints it.
"""

import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from rich.console import Console
from rich.table import Table

from atlas import WEIGHTS
from atlas.exam import BATCH, MAX_TOKENS, set_paper
from atlas.world import load_world
from benchmarks import harness
from trainer.judge.records import Truth
from worker.place.doubt import Doubt
from worker.place.gazetteer import Gazetteer
from worker.place.sphere import distance_km
from worker.place.votes import Sample, read_sample
from worker.place.weighing import Ground, Weighed, weigh
from worker.reason.answer import Unparsable
from worker.reason.engines import Completion, Engine, Sampling
from worker.reason.prompt import build_prompt

_CHECKPOINTS = ("vlm-best", "vlm-start")
_QUICK_SCENES, _SCENES = 24, 300
BUDGET = 2.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """One scene with all answers that any rule may ask for, the greedy one first."""

    truth: Truth
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule comes to: shares of 0..1 over placeable scenes; `generations` is the mean over all."""

    country: float
    city25: float
    generations: float


def draw(engine: Engine, truths: Sequence[Truth], doubt: Doubt, *, threads: int = 8) -> list[Drawn]:
    """All answers for each scene, drawn as the worker would: seed 0, 1, 2, …"""
    gazetteer, prompt = Gazetteer.load(), build_prompt()
    greedy = Sampling(max_tokens=MAX_TOKENS)
    further = replace(greedy, temperature=doubt.temperature, seed=1)

    def one(truth: Truth) -> Drawn:
        assert truth.image is not None
        with Image.open(truth.image) as opened:
            image = opened.convert("RGB")
        completions: list[Completion] = engine.generate(prompt, image, greedy)
        completions += engine.generate(prompt, image, further, doubt.most_answers - 1)
        return Drawn(truth, tuple(read_sample(each, gazetteer) for each in completions))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, truths))


def play(drawn: Sequence[Drawn], doubt: Doubt) -> Outcome:
    """What the worker would have answered under this rule, without recall and hints."""
    played = [(each.truth, *_play_one(each.samples, doubt)) for each in drawn]
    placeable = [(truth, weighed) for truth, weighed, _ in played if truth.placeable != "none"]
    return Outcome(
        country=statistics.fmean(_country_right(truth, weighed) for truth, weighed in placeable),
        city25=statistics.fmean(_near(truth, weighed, 25.0) for truth, weighed in placeable),
        generations=statistics.fmean(count for _, _, count in played),
    )


def within_budget(drawn: Sequence[Drawn], doubt: Doubt, budget: float) -> Doubt:
    """The rule with the highest threshold whose mean number of answers is at most `budget`."""
    seen = sorted({each.samples[0].completion.mean_logprob or 0.0 for each in drawn}, reverse=True)
    for threshold in seen:
        rule = replace(doubt, min_logprob=threshold)
        if play(drawn, rule).generations <= budget:
            return rule
    return replace(doubt, most_answers=1)


def main() -> None:
    """Measures and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with the checkpoints")
    parser.add_argument("--scenes", type=int, help=f"scenes  [default: {_SCENES}, quick: {_QUICK_SCENES}]")
    parser.add_argument("--budget", type=float, default=BUDGET, help="mean number of answers  [default: 2]")
    parser.add_argument("--temperature", type=float, default=Doubt().temperature, help="of further answers")
    given = parser.parse_args()
    scenes = given.scenes or (_QUICK_SCENES if given.quick else _SCENES)
    doubt = replace(Doubt(), temperature=given.temperature)
    figures: dict[str, float | None] = {}
    with TemporaryDirectory(prefix="doubt-") as folder:
        paper = set_paper(Path(folder), load_world(), "calibration", scenes)
        for name in _CHECKPOINTS:
            drawn = _drawn(given.weights / name, paper.truths, doubt)
            rule = within_budget(drawn, doubt, given.budget)
            outcomes = {
                "one": play(drawn, replace(doubt, most_answers=1)),
                "most": play(drawn, replace(doubt, min_logprob=float("inf"), enough_agreement=2.0)),
                "doubt": play(drawn, rule),
            }
            _show(name, outcomes, rule, len(drawn))
            short = name.removeprefix("vlm-")
            for which, outcome in outcomes.items():
                figures[f"city25_{which}_{short}"] = outcome.city25
                figures[f"country_{which}_{short}"] = outcome.country
                figures[f"generations_{which}_{short}"] = outcome.generations
            figures[f"min_logprob_{short}"] = rule.min_logprob
    harness.report("doubt", figures, {name: _unit(name) for name in figures})


def _drawn(checkpoint: Path, truths: Sequence[Truth], doubt: Doubt) -> list[Drawn]:
    from worker.reason.engines.transformers import load_engine

    engine = load_engine(str(checkpoint), device="cpu", dtype="float32", max_batch=BATCH)
    try:
        return draw(engine, truths, doubt)
    finally:
        engine.close()


def _play_one(samples: Sequence[Sample], doubt: Doubt) -> tuple[Weighed, int]:
    gazetteer, count = Gazetteer.load(), 1
    while True:
        weighed = weigh(samples[:count], Ground(), gazetteer)
        further = doubt.further(
            drawn=count,
            agreement=weighed.agreement,
            mean_logprob=samples[0].completion.mean_logprob,
            gate_score=1.0,
            readable=not isinstance(samples[0].answer, Unparsable),
        )
        if further == 0:
            return weighed, count
        count += further


def _country_right(truth: Truth, weighed: Weighed) -> bool:
    return weighed.place is not None and weighed.place.chosen.place.country_code == truth.country_code


def _near(truth: Truth, weighed: Weighed, radius_km: float) -> bool:
    if weighed.place is None:
        return False
    place = weighed.place.chosen.place
    return distance_km(place.lat, place.lon, truth.lat, truth.lon) <= radius_km


def _unit(figure: str) -> str:
    return "1" if figure.startswith(("generations", "min_logprob")) else "share"


def _show(name: str, outcomes: dict[str, Outcome], rule: Doubt, scenes: int) -> None:
    table = Table(title=f"{name}, {scenes} scenes; threshold within budget {rule.min_logprob}")
    for column in ("answers", "country", "within 25 km", "generations"):
        table.add_column(column)
    for which, outcome in outcomes.items():
        table.add_row(which, f"{outcome.country:.3f}", f"{outcome.city25:.3f}", f"{outcome.generations:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
