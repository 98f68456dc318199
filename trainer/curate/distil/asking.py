"""Asks all teachers all that they have yet to be asked, at once, and ends when nothing more can be had.

It may be killed at any moment and called again: what was answered is never asked again, and of what was under way
it is counted how much is.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from sqlalchemy import Engine

from schema import queries
from trainer.curate.distil.canary import Canary, Quarantine, control_picture, judge_control
from trainer.curate.distil.geoclip import GeoclipAsker
from trainer.curate.distil.lane import PATIENCE_S, Asker, Lane, Stand
from trainer.curate.distil.language import LanguageAsker
from trainer.curate.distil.ledger import AGAIN, Ledger
from trainer.curate.distil.pictures import Pictures
from trainer.curate.distil.reading import Troubled, read_said
from trainer.curate.distil.recall import RecallAsker
from trainer.curate.distil.store import Distillation, same_question, set_standing
from trainer.curate.opinions import Subject, Trouble
from trainer.curate.originals import Fetch
from trainer.curate.teachers import GeoclipTeacher, LanguageTeacher, RecallTeacher, Teacher
from worker.backoff import Backoff
from worker.batcher import BatcherClosed
from worker.errors import JobError, SetupError
from worker.intake.limits import Limits
from worker.place.recall import NEAR_DUPLICATE_COSINE
from worker.reason.conversation import MAX_PIXELS
from worker.reason.engines.served import Blind

log = logging.getLogger(__name__)

_LOOK_S = 0.25
_HEARTBEAT_S = 10.0
_SPARE_PICTURES = 16
_CANARY_BEFORE = 50
CONTROL_ID = "control"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What asking needs beside the database. `recall_everywhere`: as GLOBETAG_RECALL=archive says."""

    fetch: Fetch
    limits: Limits = field(default_factory=Limits)
    recall_everywhere: bool = False
    near_duplicate_cosine: float = NEAR_DUPLICATE_COSINE
    patience_s: float = PATIENCE_S
    backoff: Backoff | None = None


@dataclass(slots=True)
class Asked:
    """What came of a run. `were_on_their_way`: questions that a process which died had under way, by teacher; they
    went out again. `taken_over`: answers that other distillations have paid for. `quarantined`: {teacher: trouble:
    why}, also from before. `away`: {teacher: what was wrong}."""

    lanes: tuple[Lane, ...] = ()
    were_on_their_way: dict[str, int] = field(default_factory=dict)
    taken_over: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """For `distillation.counts`."""
        return {
            "teachers": {lane.name: {**asdict(lane.tally), "stand": str(lane.stand)} for lane in self.lanes},
            "were_on_their_way": self.were_on_their_way,
            "taken_over": self.taken_over,
            "quarantined": self.quarantined,
            "away": self.away,
            "interrupted": self.interrupted,
        }


class Interrupt:
    """How a run is stopped: `gently` lets what is under way arrive, `at_once` leaves it."""

    def __init__(self) -> None:
        self.gently = threading.Event()
        self.at_once = threading.Event()

    def __call__(self, *_: object) -> None:
        """Gently the first time, at once the second; for signals."""
        if self.gently.is_set():
            self.at_once.set()
        self.gently.set()


def askers_of(engine: Engine, distillation: Distillation, surroundings: Surroundings) -> list[Asker]:
    """The teachers, ready to be met. Raises `SetupError` for what the operator has to mend first."""

    def asker(teacher: Teacher) -> Asker:
        match teacher:
            case LanguageTeacher():
                anew = distillation.standing.get(teacher.name, {}).get("anew", 0)
                salt = f"{distillation.id} {distillation.name} {anew}"
                return LanguageAsker(teacher, salt=salt, key=teacher.key())
            case GeoclipTeacher():
                return GeoclipAsker(teacher)
            case RecallTeacher():
                return RecallAsker(
                    teacher,
                    engine,
                    everywhere=surroundings.recall_everywhere,
                    near_duplicate_cosine=surroundings.near_duplicate_cosine,
                )

    return [asker(teacher) for teacher in distillation.teachers]


def ask(
    engine: Engine,
    distillation: Distillation,
    surroundings: Surroundings,
    *,
    interrupt: Interrupt | None = None,
    watch: Callable[[Sequence[Lane]], None] = lambda _: None,
) -> Asked:
    """Asks until nothing is left, nobody answers any more, or it is interrupted. Who calls holds `run_lock`.

    `watch` is called a few times a second. Raises `SetupError` where no teacher could be reached at all, or the
    set-up of one is wrong; what was answered before is kept in any case.
    """
    interrupt = interrupt or Interrupt()
    asked = Asked(quarantined=_quarantined(distillation))
    asked.taken_over = _take_over(engine, distillation)
    left = _left(engine, distillation)
    askers = [
        each
        for each in askers_of(engine, distillation, surroundings)
        if each.teacher.name not in asked.quarantined and left.get(each.teacher.name)
    ]
    asked.were_on_their_way = {each.teacher.name: left[each.teacher.name][1] for each in askers}
    for name, why in asked.quarantined.items():
        log.error("teacher %s stays quarantined and is not asked: %s", name, why)
    if not askers:
        return asked
    try:
        with Ledger(engine, distillation.id) as ledger:
            ledger.run(lambda connection: connection.execute(queries.distil.BEGIN_RUN, {"id": distillation.id}))
            met = _meet_all(askers)
            _refuse_nobody(met)
            pictures = _pictures(surroundings, askers)
            asked.lanes = tuple(
                _lane(each, engine, distillation, surroundings, ledger, pictures, asked, interrupt, left)
                for each in askers
            )
            _start(asked.lanes, met)
            _wait(engine, distillation, asked, interrupt, watch)
    finally:
        for each in askers:
            each.close()
    _conclude(engine, distillation, asked, interrupt)
    return asked


def _take_over(engine: Engine, distillation: Distillation) -> dict[str, int]:
    """{teacher: answers that it has given elsewhere}; none where it is to be asked anew."""
    found: dict[str, int] = {}
    for teacher in distillation.teachers:
        if not isinstance(teacher, LanguageTeacher) or distillation.standing.get(teacher.name, {}).get("anew"):
            continue
        given = {"id": distillation.id, **same_question(teacher)}
        with engine.begin() as connection:
            count = connection.execute(queries.distil.TAKE_OVER, given).rowcount
        if count:
            found[teacher.name] = int(count)
    return found


def _left(engine: Engine, distillation: Distillation) -> dict[str, tuple[int, int]]:
    """{teacher: questions to ask, of which so many have been on their way before}."""
    names = [teacher.name for teacher in distillation.teachers]
    with engine.begin() as connection:
        connection.execute(queries.distil.TAKE_BACK, {"id": distillation.id})
        given = {"id": distillation.id, "teachers": names, "again": AGAIN}
        rows = connection.execute(queries.distil.COUNT_TO_ASK, given).all()
    return {row.teacher: (row.questions, row.were_on_their_way) for row in rows}


def _quarantined(distillation: Distillation) -> dict[str, str]:
    names = {teacher.name for teacher in distillation.teachers}
    return {
        name: f"{trouble}: {distillation.standing[name].get('detail', '')}"
        for name, trouble in distillation.quarantined().items()
        if name in names
    }


def _meet_all(askers: Sequence[Asker]) -> dict[str, SetupError | None]:
    """{teacher: what is wrong, or None}."""

    def meet(asker: Asker) -> SetupError | None:
        try:
            asker.meet()
        except SetupError as error:
            return error
        return None

    with ThreadPoolExecutor(len(askers), thread_name_prefix="meeting") as pool:
        return dict(zip((each.teacher.name for each in askers), pool.map(meet, askers), strict=True))


def _refuse_nobody(met: Mapping[str, SetupError | None]) -> None:
    if any(error is None for error in met.values()):
        return
    told = "; ".join(str(error) for error in met.values())
    raise SetupError(f"no teacher can be asked, and what was answered before is kept. {told}")


def _pictures(surroundings: Surroundings, askers: Sequence[Asker]) -> Pictures:
    seeing = [each.teacher for each in askers if each.sees]
    return Pictures(
        surroundings.fetch,
        limits=surroundings.limits,
        max_pixels=max([getattr(teacher, "max_pixels", MAX_PIXELS) for teacher in seeing], default=MAX_PIXELS),
        keep=sum(teacher.concurrency for teacher in seeing) + _SPARE_PICTURES,
    )


def _lane(
    asker: Asker,
    engine: Engine,
    distillation: Distillation,
    surroundings: Surroundings,
    ledger: Ledger,
    pictures: Pictures,
    asked: Asked,
    interrupt: Interrupt,
    left: Mapping[str, tuple[int, int]],
) -> Lane:
    name = asker.teacher.name

    def on_quarantine(teacher: str, why: Quarantine) -> None:
        asked.quarantined[teacher] = f"{why.trouble}: {why.detail}"
        set_standing(engine, distillation.id, teacher, quarantined=str(why.trouble), detail=why.detail)

    return Lane(
        asker,
        ledger,
        pictures,
        canary=Canary(_said_before(engine, distillation.id, name) if asker.speaks else ()),
        on_met=lambda met: _control(engine, distillation, met),
        on_quarantine=on_quarantine,
        others_work=lambda: any(lane.is_working for lane in asked.lanes if lane.name != name),
        stop=interrupt.gently,
        patience_s=surroundings.patience_s,
        backoff=surroundings.backoff,
        total=left[name][0],
    )


def _said_before(engine: Engine, distillation_id: int, teacher: str) -> list[tuple[str, str, Trouble | None]]:
    """The newest answers, oldest first, as the canary takes them."""
    with engine.connect() as connection:
        given = {"id": distillation_id, "teacher": teacher, "limit": _CANARY_BEFORE}
        rows = connection.execute(queries.distil.NEWEST_TEXTS, given).all()
    said = [(row.sha256, row.raw, read_said(teacher, row.raw, row.finish_reason)) for row in reversed(rows)]
    return [(sha256, raw, read.trouble if isinstance(read, Troubled) else None) for sha256, raw, read in said]


def _control(engine: Engine, distillation: Distillation, asker: Asker) -> None:
    """Shows a language teacher a picture of nothing, once."""
    name = asker.teacher.name
    if not asker.speaks or distillation.standing.get(name, {}).get("control"):
        return
    try:
        came = asker.ask(Subject(CONTROL_ID, "", 0.0, 0.0), control_picture())
    except BatcherClosed:
        return
    except JobError as error:
        log.warning("teacher %s did not answer about the control picture: %s", name, error.detail)
        return
    if came.raw is None:
        return
    control = judge_control(name, came.raw, came.finish_reason)
    set_standing(engine, distillation.id, name, control={**control, "raw": came.raw.replace("\x00", "")[:4000]})
    if control["names_city"]:
        log.warning("teacher %s names %s for a plain grey picture: it may guess", name, control["says"])


def _start(lanes: Sequence[Lane], met: Mapping[str, SetupError | None]) -> None:
    for lane in lanes:
        match met[lane.name]:
            case None:
                lane.start(is_met=True)
            case Blind() as blind:
                lane.quarantine(Quarantine(Trouble.NO_PICTURE, str(blind)))
            case error:
                log.warning("%s; the others are asked meanwhile", error)
                lane.start(is_met=False, told=str(error))


def _wait(
    engine: Engine,
    distillation: Distillation,
    asked: Asked,
    interrupt: Interrupt,
    watch: Callable[[Sequence[Lane]], None],
) -> None:
    beat_s = time.monotonic()
    while any(lane.is_alive for lane in asked.lanes):
        watch(asked.lanes)
        if interrupt.at_once.wait(_LOOK_S):
            for lane in asked.lanes:
                lane.asker.close()
            # A thread that waits for bytes does not hear of it. It ends with the process, and writes nothing more.
            break
        if time.monotonic() - beat_s > _HEARTBEAT_S:
            beat_s = time.monotonic()
            with engine.begin() as connection:
                connection.execute(queries.distil.HEARTBEAT, {"id": distillation.id})
    for lane in asked.lanes:
        lane.close()
    watch(asked.lanes)


def _conclude(engine: Engine, distillation: Distillation, asked: Asked, interrupt: Interrupt) -> None:
    for lane in asked.lanes:
        if lane.failure is not None:
            raise lane.failure
    asked.interrupted = interrupt.gently.is_set()
    asked.away = {lane.name: lane.told for lane in asked.lanes if lane.stand is Stand.AWAY}
    names = [each.name for each in distillation.teachers if each.name not in asked.quarantined]
    with engine.begin() as connection:
        connection.execute(queries.distil.SETTLE_DISTILLED, {"id": distillation.id, "teachers": names})


def finish(
    engine: Engine, distillation: Distillation, state: str, detail: str | None, counts: Mapping[str, Any]
) -> None:
    """Writes how a run ended: done, failed or interrupted."""
    given = {
        "id": distillation.id,
        "state": state,
        "detail": detail,
        "counts": orjson.dumps(dict(counts)).decode(),
    }
    with engine.begin() as connection:
        connection.execute(queries.distil.END_RUN, given)
