"""Asks models about the held-out photographs: one at a time, as it would be served, and both the same ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock

from PIL.Image import Image

from schema.reasons import Reason
from trainer.curate.balance import chance
from trainer.curate.originals import OriginalChanged
from trainer.cycle.sources import HeldOut
from trainer.judge.columns import Columns, make_columns
from trainer.judge.distance import Distance
from trainer.judge.from_model import Asker, ask_all
from trainer.judge.matching import match
from trainer.judge.records import Outcome, Prediction, Truth
from worker.errors import GlobetagError, JobError, SetupError
from worker.place.gazetteer import Gazetteer
from worker.reason.engines import Engine, Sampling

LoadEngine = Callable[[str], Engine]
"""Turns a hub id or folder into an engine, as `worker.reason.engines.transformers.load_engine` does."""


class ModelUnusable(GlobetagError):
    """A model that cannot be loaded, or that fails on most photographs."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model said. `unread`: photographs that could not be opened this time, whatever the model."""

    model: str
    predictions: tuple[Prediction, ...]
    unread: frozenset[str]


@dataclass(frozen=True)
class _HeldOutAsker(Asker):
    """Opens the pictures of a held-out set, and remembers which could not be opened."""

    held_out: HeldOut = field(default_factory=lambda: HeldOut((), {}))
    unread: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def ask(self, id_: str, picture: Image) -> Prediction:
        said = super().ask(id_, picture)
        if self.held_out.read_cues is None or said.raw is None:
            return said
        return replace(said, stated_cues=self.held_out.read_cues(said.raw))

    def open(self, truth: Truth) -> Image:
        try:
            return self.held_out.pictures[truth.id]()
        except (JobError, OriginalChanged) as error:
            with self.lock:
                self.unread.add(truth.id)
            raise JobError(Reason.UNREACHABLE, str(error)) from error


def examine(
    name: str,
    held_out: HeldOut,
    load: LoadEngine,
    sampling: Sampling,
    *,
    threads: int,
    on_done: Callable[[Prediction], None] = lambda _: None,
) -> Answers:
    """Loads the model (hub id or folder), asks it about every photograph, and closes it.

    What `on_done` raises ends the examination. Raises `ModelUnusable` where the model cannot be loaded or fails
    on more than half of the photographs that could be opened.
    """
    try:
        engine = load(name)
    except SetupError as error:
        raise ModelUnusable(str(error)) from error
    try:
        asker = _HeldOutAsker(engine, Gazetteer.load(), sampling, held_out=held_out)
        found = ask_all(asker, held_out.truths, threads=threads, on_done=on_done)
    finally:
        engine.close()
    failed = [said for said in found if said.outcome is Outcome.FAILED and said.id not in asker.unread]
    if 2 * len(failed) > len(found) - len(asker.unread):
        raise ModelUnusable(f"{name} failed on {len(failed):,} of {len(found):,} photographs: {failed[0].detail}")
    return Answers(name, tuple(found), frozenset(asker.unread))


def judge_both(held_out: HeldOut, new: Answers, serving: Answers) -> tuple[Columns, Columns]:
    """The answers of both models against the truth, on the photographs that both were shown.

    Raises `SetupError` where none is left.
    """
    unread = new.unread | serving.unread
    truths = [truth for truth in held_out.truths if truth.id not in unread]
    if not truths:
        raise SetupError(
            f"not one of {len(held_out.truths):,} held-out photographs could be opened for both models"
        )
    made = [_columns(name, truths, answers, unread) for name, answers in (("new", new), ("serving", serving))]
    return made[0], made[1]


def quick_figures(held_out: HeldOut, answers: Answers, radius_km: int) -> Mapping[str, float]:
    """`accuracy` (share within `radius_km`) and `answer_rate`, for a look at a checkpoint in mid-training."""
    truths = [truth for truth in held_out.truths if truth.id not in answers.unread]
    if not truths:
        return {}
    columns = _columns("checkpoint", truths, answers, answers.unread)
    return {
        "accuracy": float(columns.by_name[f"within_{radius_km}_km"].value_N.mean()),
        "answer_rate": float(columns.by_name["answer_rate"].value_N.mean()),
    }


def part_of(held_out: HeldOut, count: int, *, seed: int) -> HeldOut:
    """At most `count` of the photographs, drawn by chance."""
    drawn = sorted(held_out.truths, key=lambda truth: chance(seed, truth.id))[:count]
    return replace(held_out, truths=tuple(sorted(drawn, key=lambda truth: truth.id)))


def _columns(name: str, truths: list[Truth], answers: Answers, unread: frozenset[str]) -> Columns:
    shown = [said for said in answers.predictions if said.id not in unread]
    return make_columns(match(name, truths, shown, source=answers.model), Distance(), Gazetteer.load())
