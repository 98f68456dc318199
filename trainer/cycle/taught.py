"""What teachers have verified about an archive's photographs, as columns of its questions.

A label says where a photograph was taken, not what it shows. Teachers say what they see, verification looks if
it is there, and what is found fills the columns that the visual reward judges by. Photographs that no
distillation has asked about are asked about now, where GLOBETAG_TEACHERS names teachers.

Without teachers, and where none answers, the run goes on with what is known: nothing here fails it.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from trainer.curate.manifest import Stored
from trainer.curate.originals import Fetch
from trainer.curate.output.rows import cues_of, visible
from trainer.curate.see.seeing import Eyes, open_eyes
from trainer.cycle.runs import Run, RunCancelled, RunInterrupted, RunTaken
from trainer.cycle.sources import Questions
from trainer.grpo.questions import Question
from worker.errors import SetupError
from worker.intake.limits import Limits
from worker.settings import Settings

log = logging.getLogger(__name__)

_TELL_EVERY_S = 5.0


class OpenEyes(Protocol):
    """What verification looks and compares with, as `trainer.curate.see.seeing.open_eyes` loads it."""

    def __call__(self, settings: Settings, fetch: Fetch, *, limits: Limits) -> Eyes: ...


class Teach(Protocol):
    """Adds to the questions of a run what is known of their photographs beyond the label."""

    def __call__(self, run: Run, curated: Stored, asked: Questions, fetch: Fetch) -> Questions: ...


@dataclass(frozen=True, slots=True)
class Teachers:
    """As the settings say; see the top of the file. What came of it stands in the run's metrics as `teachers`.
    `patience_s`: so long is a teacher waited for that answers nobody.

    Raises what `Run.check` raises, and what the database raises.
    """

    settings: Settings
    open_eyes: OpenEyes = open_eyes
    patience_s: float = 300.0

    def __call__(self, run: Run, curated: Stored, asked: Questions, fetch: Fetch) -> Questions:
        """The questions, of which those whose photographs were looked at have `true_cues` and `entities`."""
        told: dict[str, Any] = {"without": None}
        try:
            told |= self._ask(run, curated, asked, fetch)
        except (RunCancelled, RunInterrupted, RunTaken, SQLAlchemyError):
            raise
        except SetupError as error:
            log.warning("run %d goes on without teachers: %s", run.id, error)
            told["without"] = str(error)
        except Exception as error:
            log.exception("run %d goes on without teachers: a defect", run.id)
            told["without"] = f"a defect: {type(error).__name__}"
        run.check()
        filled = with_cues(run.engine, asked.questions)
        told["looked_at"] = sum(question.columns.get("true_cues") is not None for question in filled)
        told["questions"] = len(filled)
        run.found(teachers=told)
        return replace(asked, questions=filled)

    def _ask(self, run: Run, curated: Stored, asked: Questions, fetch: Fetch) -> dict[str, Any]:
        if self.settings.teachers is None:
            return {"without": "GLOBETAG_TEACHERS is not set"}
        from trainer.cycle.asking import ask_teachers

        new = not_asked(run.engine, [question.id for question in asked.questions], f"{NAME} {run.id}")
        if not new:
            return {"asked": 0}
        run.stage("asking teachers")
        return ask_teachers(self.settings, run, curated, new, fetch, self.open_eyes, self.patience_s)


NAME = "training run"
"""Begins the name of a run's distillation: one that is gone on with finds its own again."""


def with_cues(engine: Engine, questions: Sequence[Question]) -> list[Question]:
    """The questions with what any distillation has found to be visible; those not looked at stay as they are.

    An empty list says that something was looked for and nothing of it is there.
    """
    with engine.connect() as connection:
        rows = connection.execute(queries.distilled.CUES_SEEN, {"sha256": [each.id for each in questions]}).all()
    seen: dict[str, list[str]] = {}
    for row in rows:
        cues = cues_of(row.cues)
        if any(cue.visible is not None for cue in cues):
            seen[row.sha256] = sorted(visible(cues))
    return [
        replace(each, columns={**each.columns, "true_cues": seen[each.id], "entities": seen[each.id]})
        if each.id in seen
        else each
        for each in questions
    ]


def not_asked(engine: Engine, hashes: Sequence[str], own: str) -> frozenset[str]:
    """Those photographs that no finished distillation other than `own` has had to do with."""
    with engine.connect() as connection:
        given = {"sha256": list(hashes), "own": own}
        known = {row.sha256 for row in connection.execute(queries.distilled.ASKED_BEFORE, given)}
    return frozenset(hashes) - known


@dataclass(slots=True)
class Telling:
    """Says now and then how far the asking is."""

    run: Run
    _due_s: float = field(default=0.0)

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _TELL_EVERY_S
            self.run.progress(step=done, steps=of)
