"""Puts a training run together from settings: the one place where its parts meet. No torch until it is needed."""

from pathlib import Path
from typing import Any

from trainer.curate.manifest import Parameters
from trainer.cycle.cycle import Parts, Plan, Trained
from trainer.cycle.taught import Teachers
from trainer.cycle.verdict import Rule
from trainer.grpo.recipe import load_grpo_recipe
from worker import registry
from worker.assemble import fetch_limits
from worker.checkpoints import resolve
from worker.intake.limits import Limits
from worker.reason.engines import Engine, Sampling
from worker.settings import Settings


def plan_of(settings: Settings, *, min_labels: int | None = None) -> Plan:
    """What the settings say of a run. `min_labels`: fewer that may be learnt from are refused; by default those of
    a curation, or fewer where the schedule is content with fewer."""
    least = min(Parameters().min_labels, settings.train_after_labels) if min_labels is None else min_labels
    return Plan(
        base=settings.model,
        folder=settings.models_folder / "trained",
        parameters=Parameters(min_labels=least),
        after_labels=settings.train_after_labels,
        rule=Rule(radius_km=settings.train_radius_km),
        sampling=Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature),
        threads=2 * settings.model_batch,
        limits=Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6)),
        fetch_limits=fetch_limits(settings),
        device=settings.device,
    )


def parts_of(settings: Settings) -> Parts:
    """The real trainer, engine and registry, the teachers, and the archive's own questions and held-out set."""

    def locate(base: str) -> Path:
        return resolve(base, variable="GLOBETAG_MODEL").folder

    def reinforce(*args: Any, **given: Any) -> Trained:
        from trainer.grpo.reinforce import reinforce as really

        return really(*args, **given)

    def load_engine(name: str) -> Engine:
        from worker.reason.engines.transformers import load_engine as really

        return really(name, device=settings.device, max_batch=settings.model_batch)

    return Parts(
        load_recipe=load_grpo_recipe,
        locate=locate,
        reinforce=reinforce,
        load_engine=load_engine,
        serving=registry.serving,
        register=registry.register,
        promote=registry.promote,
        teach=Teachers(settings),
    )
