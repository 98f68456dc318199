"""One teacher and the threads that ask it: one photograph after the other, each at its own pace.

A question whose server is busy, breaks or says nothing in time is tried again a few times, then put down as
trouble and asked again in the next run. A server that answers nobody is waited for: as long as other teachers have
work, and `patience_s` at least.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from PIL import Image

from schema.reasons import Reason
from trainer.curate.distil.canary import Canary, Quarantine
from trainer.curate.distil.ledger import Came, Ledger, Question
from trainer.curate.distil.pictures import Gone, Pictures
from trainer.curate.distil.reading import Troubled, read_said
from trainer.curate.opinions import Subject, Trouble
from trainer.curate.teachers import Teacher
from worker.backoff import Backoff
from worker.batcher import BatcherClosed
from worker.errors import Cause, PutOff, SetupError, Transient
from worker.reason.engines.served import Blind

log = logging.getLogger(__name__)

TRIES = 3
PATIENCE_S = 300.0
_LOOK_S = 5.0


class Asker(Protocol):
    """How a teacher is asked. Thread-safe. `sees`: it is shown the picture; `speaks`: in words."""

    sees: bool
    speaks: bool

    @property
    def teacher(self) -> Teacher: ...

    def meet(self) -> None:
        """Gets ready. Raises `SetupError`; `Blind` where it will never see a picture."""
        ...

    def ask(self, subject: Subject, picture: Image.Image | None) -> Came:
        """Blocks for the answer. Raises `Transient` where there is none; `PutOff` where it was not even heard."""
        ...

    def close(self) -> None: ...


class Stand(StrEnum):
    """How a teacher's lane stands."""

    WAITING = "waiting"
    ASKING = "asking"
    AWAY = "away"
    DONE = "done"
    QUARANTINED = "quarantined"
    STOPPED = "stopped"


@dataclass(slots=True)
class Tally:
    """Of this run. `asked`: questions that went out, tries counted singly. `postponed`: not shown this time."""

    asked: int = 0
    answered: int = 0
    troubled: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    postponed: int = 0
    erased: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def settled(self) -> int:
        """Questions that something came of."""
        return (
            self.answered
            + sum(self.troubled.values())
            + sum(self.left_out.values())
            + self.postponed
            + self.erased
        )


class Pace:
    """At most so many questions a minute, evenly. Thread-safe; None: as fast as they come."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap_s = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._next_s = clock()

    def turn_in_s(self) -> float:
        """Takes the next turn; how long until it comes."""
        with self._lock:
            now_s = self._clock()
            turn_s = max(now_s, self._next_s)
            self._next_s = turn_s + self._gap_s
            return turn_s - now_s


class Lane:
    """Asks one teacher all that it has yet to be asked."""

    def __init__(
        self,
        asker: Asker,
        ledger: Ledger,
        pictures: Pictures,
        *,
        canary: Canary,
        on_met: Callable[[Asker], None],
        on_quarantine: Callable[[str, Quarantine], None],
        others_work: Callable[[], bool],
        stop: threading.Event,
        patience_s: float = PATIENCE_S,
        backoff: Backoff | None = None,
        total: int = 0,
    ) -> None:
        """`on_met` is called once, before the first question. `others_work`: has another lane work that goes on?
        `total`: questions that are to be asked."""
        self.name = asker.teacher.name
        self.asker = asker
        self.total = total
        self.tally = Tally()
        self.stand = Stand.WAITING
        self.told = ""
        self._ledger = ledger
        self._pictures = pictures
        self._canary = canary
        self._on_met = on_met
        self._on_quarantine = on_quarantine
        self._others_work = others_work
        self._stop = stop
        self._patience_s = patience_s
        self._backoff = backoff or Backoff(first_s=12.0)
        self._pace = Pace(getattr(asker.teacher, "requests_per_minute", None))
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._feeding = threading.Lock()
        self._subjects: Iterator[Subject] = iter(())
        self._heard_s = time.monotonic()
        self._threads: list[threading.Thread] = []
        self.failure: BaseException | None = None

    def start(self, *, is_met: bool, told: str = "") -> None:
        """Begins to ask, on threads of its own; first meets the teacher where that has not succeeded."""
        self.told = told
        self.stand = Stand.ASKING if is_met else Stand.AWAY
        self._heard_s = time.monotonic()
        self._subjects = self._ledger.to_ask(self.name)
        first = threading.Thread(target=self._begin, args=(is_met,), name=f"teacher-{self.name}", daemon=True)
        self._threads.append(first)
        first.start()

    @property
    def is_alive(self) -> bool:
        with self._lock:
            return any(thread.is_alive() for thread in self._threads)

    @property
    def is_working(self) -> bool:
        """Is it asking a teacher that answers?"""
        return self.stand is Stand.ASKING and self.is_alive

    def quarantine(self, why: Quarantine) -> None:
        """Nothing more is asked; what is under way still comes in."""
        with self._lock:
            if self.stand is Stand.QUARANTINED:
                return
            self.stand, self.told = Stand.QUARANTINED, f"{why.trouble}: {why.detail}"
        self._ended.set()
        log.error("teacher %s is quarantined: %s", self.name, why.detail)
        self._on_quarantine(self.name, why)

    def _begin(self, is_met: bool) -> None:
        try:
            if not is_met and not self._meet():
                return
            self._on_met(self.asker)
            more = min(self.asker.teacher.concurrency, max(1, self.total)) - 1
            others = [
                threading.Thread(target=self._work, name=f"teacher-{self.name}-{number}", daemon=True)
                for number in range(2, more + 2)
            ]
            with self._lock:
                self._threads += others
            for thread in others:
                thread.start()
        except BaseException as error:
            self._fail(error)
            return
        self._work()

    def _meet(self) -> bool:
        """Waits for a teacher that was away when the run began."""
        while not self._over():
            try:
                self.asker.meet()
            except Blind as blind:
                self.quarantine(Quarantine(Trouble.NO_PICTURE, str(blind)))
                return False
            except SetupError as error:
                self.told = str(error)
                if self._gives_up():
                    return False
                self._stop.wait(min(_LOOK_S, self._patience_s))
            else:
                self._heard()
                return True
        return False

    def _work(self) -> None:
        try:
            while not self._over():
                with self._feeding:
                    subject = next(self._subjects, None)
                if subject is None:
                    break
                self._one(subject)
        except BatcherClosed:
            self._ended.set()  # broken off: what is under way stays asked
        except BaseException as error:
            self._fail(error)

    def _one(self, subject: Subject) -> None:
        try:
            picture = self._pictures(subject) if self.asker.sees else None
        except Gone as gone:
            self._not_shown(subject, gone)
            return
        came = self._asked(subject, picture)
        if came is not None:
            self._take(came)

    def _asked(self, subject: Subject, picture: Image.Image | None) -> Came | None:
        """What came of the question; None where it never went out, or must not."""
        question = Question(subject.id, self.name)
        tries, is_out, failed = 0, False, None
        while True:
            if self._stop.wait(self._pace.turn_in_s()) or self._over():
                break
            if not is_out:
                if not self._ledger.ask(question):
                    self._count("erased")
                    return None
                self._count("asked")
                is_out = True
            try:
                came = self.asker.ask(subject, picture)
            except PutOff as error:
                if not self._put_off(error):
                    break
            except Transient as error:
                tries, is_out = tries + 1, False
                failed = Came(question, trouble=_trouble_of(error), detail=error.detail)
                wait_s = self._backoff.wait_s(Cause.MODEL, tries, retry_after_s=error.retry_after_s)
                if tries == TRIES or self._stop.wait(wait_s):
                    break
            else:
                self._heard()
                return came
        if is_out:
            self._ledger.unask([question])  # it was not heard this time
        return failed if not is_out else None

    def _take(self, came: Came) -> None:
        """Stores what came, then looks whether the teacher is still to be believed."""
        if self.asker.speaks and came.raw is not None:
            read = read_said(self.name, came.raw, came.finish_reason)
            if isinstance(read, Troubled):
                came = replace(came, trouble=read.trouble, detail=read.detail)
        if not self._ledger.answer(came):
            self._count("erased")
            return
        with self._lock:
            if came.trouble is None:
                self.tally.answered += 1
            else:
                trouble = str(came.trouble)
                self.tally.troubled[trouble] = self.tally.troubled.get(trouble, 0) + 1
            self.tally.tokens_in += came.tokens_in or 0
            self.tally.tokens_out += came.tokens_out or 0
            why = None
            if self.asker.speaks and (came.raw is not None or came.trouble is Trouble.REFUSED):
                why = self._canary.see(came.question.sha256, came.raw or "", came.trouble)
        if why is not None:
            self.quarantine(why)

    def _not_shown(self, subject: Subject, gone: Gone) -> None:
        log.warning("%s is not shown to %s: %s", subject.uri, self.name, gone.detail)
        if gone.may_return:
            self._count("postponed")
            return
        self._ledger.leave_out(subject.id, gone.reason)
        with self._lock:
            self.tally.left_out[gone.reason] = self.tally.left_out.get(gone.reason, 0) + 1

    def _put_off(self, error: PutOff) -> bool:
        """Waits for a teacher that answers nobody; False: it is waited for no longer."""
        with self._lock:
            if self.stand is Stand.ASKING:
                self.stand = Stand.AWAY
            self.told = error.detail
        if self._gives_up() or self._stop.wait(min(error.retry_in_s, _LOOK_S)):
            return False
        return not self._over()

    def _heard(self) -> None:
        with self._lock:
            self._heard_s = time.monotonic()
            if self.stand is Stand.AWAY:
                self.stand, self.told = Stand.ASKING, ""

    def _gives_up(self) -> bool:
        if time.monotonic() - self._heard_s < self._patience_s or self._others_work():
            return False
        self._ended.set()
        return True

    def _over(self) -> bool:
        return self._stop.is_set() or self._ended.is_set()

    def close(self) -> None:
        """Says how it stands now that its threads have ended."""
        with self._lock:
            if self.stand is Stand.ASKING:
                self.stand = Stand.STOPPED if self._stop.is_set() else Stand.DONE

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self.tally, what, getattr(self.tally, what) + 1)

    def _fail(self, error: BaseException) -> None:
        """A defect, or the database is gone for good: the whole run ends."""
        log.error("teacher %s: the run ends", self.name, exc_info=error)
        self.failure = self.failure or error
        self._ended.set()
        self._stop.set()


def _trouble_of(error: Transient) -> Trouble:
    if error.reason is Reason.TIMEOUT:
        return Trouble.TIMEOUT
    return Trouble.UNREACHABLE if isinstance(error, PutOff) else Trouble.ERROR
