"""Asks the configured teachers about the photographs of a training run, and sifts what they say."""

from collections.abc import Sequence
from typing import Any

from trainer.curate.distil.asking import Asked, Interrupt, Surroundings, ask, finish
from trainer.curate.distil.lane import Lane
from trainer.curate.distil.store import Distillation, open_distillation, run_lock
from trainer.curate.distil.verifying import verify_distillation
from trainer.curate.manifest import Stored
from trainer.curate.originals import Fetch
from trainer.curate.sources import subjects_of_curation
from trainer.curate.teachers import read_teachers
from trainer.cycle.runs import Run
from trainer.cycle.taught import NAME, OpenEyes, Telling
from worker.errors import SetupError
from worker.intake.limits import Limits
from worker.settings import Settings


def ask_teachers(
    settings: Settings,
    run: Run,
    curated: Stored,
    new: frozenset[str],
    fetch: Fetch,
    open_eyes: OpenEyes,
    patience_s: float,
) -> dict[str, Any]:
    """Asks about the photographs `new` of a curation, and verifies; what came of it, for the run's metrics.

    Stops gently when the run must end; what was answered is kept, and is not asked again when the run goes on.
    Raises `SetupError` where the teachers' file is wrong or no teacher can be reached.
    """
    assert settings.teachers is not None
    engine = run.engine
    subjects = [subject for subject in subjects_of_curation(engine, curated.id).subjects if subject.id in new]
    stored, _ = open_distillation(
        engine,
        f"{NAME} {run.id}",
        source={"kind": "curation", "curation": curated.id, "training_run": run.id},
        subjects=subjects,
        teachers=read_teachers(settings.teachers),
        collection=run.row.collection,
        curation_id=curated.id,
    )
    surroundings = Surroundings(
        fetch,
        limits=Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6)),
        recall_everywhere=settings.recall == "archive",
        near_duplicate_cosine=settings.near_duplicate_cosine,
        patience_s=patience_s,
    )
    came: dict[str, Any] = {"distillation": stored.name, "asked": len(subjects)}
    with run_lock(engine, stored):
        try:
            asked = _ask(run, stored, surroundings)
            counts: dict[str, Any] = {"asked": asked.to_json()}
            if not asked.interrupted:
                run.stage("verifying what teachers say")
                counts["judged"] = _judge(settings, stored, surroundings, run, open_eyes, came)
        except BaseException as error:
            told = str(error) if isinstance(error, SetupError) else f"{type(error).__name__} ended the run."
            finish(engine, stored, "failed", told, stored.counts)
            raise
        detail = "Interrupted with its training run." if asked.interrupted else None
        finish(engine, stored, "interrupted" if asked.interrupted else "done", detail, counts)
    return came | {"away": asked.away, "quarantined": asked.quarantined}


def _judge(
    settings: Settings,
    stored: Distillation,
    surroundings: Surroundings,
    run: Run,
    open_eyes: OpenEyes,
    came: dict[str, Any],
) -> dict[str, Any]:
    """Verifies; adds to `came` what was kept, and what nobody could look at."""
    eyes = open_eyes(settings, surroundings.fetch, limits=surroundings.limits)
    try:
        judged = verify_distillation(
            run.engine, stored.id, similarity=eyes.similarity, visible=eyes.visible, parameters=eyes.described
        )
    finally:
        eyes.close()
    came |= {"kept": judged.counts.kept, "notes": list(eyes.notes)}
    return judged.to_json()


def _ask(run: Run, stored: Distillation, surroundings: Surroundings) -> Asked:
    interrupt, telling = Interrupt(), Telling(run)

    def watch(lanes: Sequence[Lane]) -> None:
        if run.is_cancelled():
            interrupt.gently.set()
        telling(sum(lane.tally.settled for lane in lanes), sum(lane.total for lane in lanes))

    return ask(run.engine, stored, surroundings, interrupt=interrupt, watch=watch)
