"""Knowing when not: how well the pipeline knows what it does not know, on scenes of the Atlas.

The Atlas model has answered scenes of the splits `calibration`, `test` and `shift` (weather that no training
showed); all that is chosen or fitted is chosen and fitted on `calibration`. The parts:

- gate: does the trained head order scenes better than older scores (`benchmarks/knowing/gate.py`)?
- asking: one answer, eight, and as many as there is doubt, for both checkpoints.
- recall: model and similar photographs together, against each alone.
- radius: does the 90 % radius hold, and how wide is it against one radius for all of the same coverage?
- refusals: what is refused and why, at a target risk.

Answers are drawn once and stored below GLOBETAG_HOME; the full run answers what is missing (5,800 scenes, 8
answers each: some twenty minutes). `--quick` takes what is stored, and where little is, answers few scenes:
then its intervals are wide and what needs more is not measured.

Figures without a split in their name are of `test`. Those of the design: `auroc_head`, `auroc_best_baseline`,
`coverage_test`, `coverage_shift`, `radius_ratio`, `generations_per_image`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from atlas import WEIGHTS
from atlas.world import load_world
from benchmarks import harness
from benchmarks.knowing import asking, gate, radius, recall, refusals
from benchmarks.knowing.asking import within_budget
from benchmarks.knowing.scenes import ALL, Scenes, stored_scenes
from benchmarks.knowing.store import SPLITS, Models, Store
from trainer.calibrate.fit import Parameters, fit
from trainer.calibrate.sample import make_sample
from trainer.gate.fit import NoSignal
from worker.errors import SetupError
from worker.place.doubt import Doubt
from worker.place.recall import NEAR_DUPLICATE_COSINE
from worker.settings import load

SEEDS = (0, 1, 2)
RISKS = (0.1, 0.2, 0.3)
CHECKPOINTS = ("vlm-best", "vlm-start")
"""The first is studied whole; the second, which often errs, for what several answers are worth."""

Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Size:
    """How many scenes of each split, by checkpoint, and how many replicates of the gate's bootstrap."""

    scenes: Mapping[str, Mapping[str, int]]
    replicates: int


def _counts(calibration: int, judged: int) -> dict[str, int]:
    return dict(zip(SPLITS, (calibration, judged, judged), strict=True))


FULL = Size({"vlm-best": _counts(2000, 1000), "vlm-start": _counts(600, 600)}, 1000)
QUICK = Size({"vlm-best": _counts(1000, 300), "vlm-start": _counts(200, 200)}, 200)
FEW = {"vlm-best": _counts(96, 32), "vlm-start": _counts(0, 0)}
"""Answered by `--quick` where nothing is stored."""


def main() -> None:
    """Measures and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--store", type=Path, help="folder of stored answers  [default: below GLOBETAG_HOME]")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with the checkpoints")
    given = parser.parse_args()
    folder = given.store or load()[0].home / "benchmarks" / "knowing"
    size = QUICK if given.quick else FULL
    figures: Figures = {}
    for name in CHECKPOINTS:
        models = Models(vlm=given.weights / name, clip=given.weights / "clip")
        try:
            store = Store(folder, load_world(), models)
            store.draw(FEW[name] if given.quick else dict(size.scenes[name]))
            if not all(store.count(split) for split in SPLITS):
                print(f"{name}: no stored answers, so it is left out; the full run draws them", flush=True)
                continue
            scenes = {split: stored_scenes(store, split, size.scenes[name][split]) for split in SPLITS}
            print(
                f"{name}: " + ", ".join(f"{len(each):,} of {split}" for split, each in scenes.items()), flush=True
            )
            short = name.removeprefix("vlm-")
            figures |= several_answers(scenes, short)
            if name == CHECKPOINTS[0]:
                figures |= {"generations_per_image": figures[f"generations_doubt_{short}_test"]}
                figures |= the_gate(scenes, models, store, size.replicates)
                figures |= place_and_radius(scenes, quick=given.quick)
        finally:
            models.close()
    harness.report("knowing", figures, {figure: unit(figure) for figure in figures})


def several_answers(scenes: Mapping[str, Scenes], name: str) -> Figures:
    """One answer, all, and as many as the rule that was chosen on `calibration` asks for."""
    rule = within_budget(scenes["calibration"].cases, Doubt())
    figures: Figures = {f"min_logprob_{name}": rule.min_logprob}
    for split, each in scenes.items():
        found = asking.worth(each, rule)
        asking.show(f"{split}, vlm-{name}, {len(each):,} scenes", found, rule)
        for which, generations in found.generations.items():
            figures[f"city25_{which}_{name}_{split}"] = found.city25[which].value
            figures[f"country_{which}_{name}_{split}"] = found.country[which].value
            figures[f"generations_{which}_{name}_{split}"] = generations
    return figures


def the_gate(scenes: Mapping[str, Scenes], models: Models, store: Store, replicates: int) -> Figures:
    """The trained head against every baseline."""
    learnt = gate.outcomes_of(scenes["calibration"])
    baselines = gate.baselines_of(store.world, models, learnt)
    figures: Figures = {}
    for split in ("test", "shift"):
        judged = gate.outcomes_of(scenes[split], store.world)
        try:
            scores = gate.compare(learnt, judged, baselines, SEEDS, replicates)
        except NoSignal as error:
            print(f"gate: {len(learnt):,} scenes of calibration are too few for a head ({error})", flush=True)
            return {"auroc_head": None, "auroc_best_baseline": None}
        gate.show(split, judged, scores)
        figures |= gate.figures_of(split, scores)
    return figures | {name: figures[f"{name}_test"] for name in ("auroc_head", "auroc_best_baseline")}


def place_and_radius(scenes: Mapping[str, Scenes], *, quick: bool) -> Figures:
    """Recall, radius and refusals: the worker with similar photographs of `calibration`."""
    gallery = scenes["calibration"]
    safe = recall.safe_cosine(gallery)
    figures: Figures = {"near_duplicate_cosine": None if safe == recall.NEVER else safe}
    rules, grounded = {}, {}
    for name, cosine in (("shipped", NEAR_DUPLICATE_COSINE), ("safe", safe)):
        grounded = {
            split: recall.on_gallery(each, gallery, near_duplicate_cosine=cosine) for split, each in scenes.items()
        }
        alike = f"near-duplicates from a cosine of {cosine} on" if cosine < recall.NEVER else "no near-duplicates"
        rules[name] = within_budget(grounded["calibration"].cases, Doubt())
        for split in SPLITS:
            gained = recall.gained(grounded[split], rules[name])
            recall.show(f"{split}, {alike}", gained)
            for source, share in gained.within.items():
                figures[f"city25_{source}_{name}_{split}"] = share.value
            invented = gained.invented[recall.TOGETHER]
            figures[f"invented_together_{name}_{split}"] = invented.value if invented else None
    figures["min_logprob_with_recall"] = rules["safe"].min_logprob
    if not quick:
        radius.by_answers(grounded["calibration"], (1, 2, 3, 5, 8), Parameters(), range(6))
    return figures | the_radius(grounded, rules["safe"])


def the_radius(scenes: Mapping[str, Scenes], rule: Doubt) -> Figures:
    """The radius and what is refused: for the worker's rule, and with all answers drawn for every scene."""
    figures: Figures = {}
    for name, doubt in (("rule", rule), ("most", ALL)):
        answered = {split: radius.located(each, doubt) for split, each in scenes.items()}
        judged = {split: answered[split] for split in ("test", "shift")}
        try:
            found = radius.studies(answered["calibration"], judged, Parameters(), SEEDS)
        except SetupError as error:
            print(f"radius and refusals: {error}", flush=True)
            return figures | {"coverage_test": None, "coverage_shift": None, "radius_ratio": None}
        for split in judged:
            radius.show(
                f"{split}, answers by the {name}" if name == "rule" else f"{split}, all answers", found, split
            )
        of_rule = radius.mean_figures(found)
        figures |= of_rule if name == "rule" else {f"{figure}_most": value for figure, value in of_rule.items()}
        if name == "rule":
            figures |= abstention(scenes, answered["calibration"], rule)
    return figures


def abstention(scenes: Mapping[str, Scenes], calibrated: radius.Answered, rule: Doubt) -> Figures:
    """What is refused at each target risk, by gate and hardness that are chosen on `calibration`."""
    learnt = gate.outcomes_of(scenes["calibration"])
    sample = make_sample(calibrated.difficulties, calibrated.error_km_N, calibrated.cluster_N)
    choices = {risk: gate.threshold_for(learnt, risk) for risk in RISKS}
    models = {risk: fit(sample, replace(Parameters(), max_risk=risk)) for risk in RISKS}
    figures: Figures = {}
    for split in ("test", "shift"):
        chance_N = gate.chances_of(learnt, gate.outcomes_of(scenes[split]))
        ways = {"agreement alone": refusals.refused(scenes[split], rule)}
        for risk in RISKS:
            choice, model = choices[risk], models[risk]
            threshold = choice.threshold if choice else 0.0
            name = f"risk {risk}"
            name += "" if choice else ", no gate proven"
            name += "" if model.hardest is not None else ", no hardness proven"
            ways[name] = one = refusals.refused(
                scenes[split], rule, radius_model=model, chance_N=chance_N, threshold=threshold
            )
            figures[f"located_at_risk_{risk:.0%}_{split}".replace("%", "")] = one.located.value
            figures[f"wrong_at_risk_{risk:.0%}_{split}".replace("%", "")] = one.wrong.value if one.wrong else None
        refusals.show(split, ways)
    return figures


def unit(figure: str) -> str:
    """Of a figure, by its name."""
    return "1" if figure.startswith(("generations", "min_logprob", "near_duplicate", "radius_ratio")) else "share"


if __name__ == "__main__":
    main()
