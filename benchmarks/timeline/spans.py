"""Spans of time that photographs spent in a worker's stages, noted by the worker's own telemetry."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from worker.intake.in_flight import InFlight
from worker.outcome import Job, Settled
from worker.pipeline import Pipeline
from worker.telemetry import Telemetry

P = ParamSpec("P")
R = TypeVar("R")

SHOWN = {"fetch": "fetch", "lookup": "look-up", "decode": "decode", "gate": "gate", "recall": "recall"}
SHOWN |= {"reason": "generation", "save": "commit"}
"""The stages of `worker.telemetry` that are shown, and the words for them."""


@dataclass(frozen=True, slots=True)
class Span:
    """Photograph `number` was in `stage` from `began_s` to `ended_s`, waiting included."""

    number: int
    stage: str
    began_s: float
    ended_s: float


class Noting(Telemetry):
    """A worker's telemetry that keeps each span too, not only its length. Thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []  # append is atomic
        self.in_flight: InFlight | None = None
        self._numbers = itertools.count()
        self._current = threading.local()

    def watched(self, pipeline: Pipeline) -> Pipeline:
        self.in_flight = pipeline.in_flight
        return super().watched(pipeline)

    def timed(self, stage: str, call: Callable[P, R]) -> Callable[P, R]:
        return self._noted(stage, super().timed(stage, call))

    def settling(self, settle: Callable[[Job], Settled]) -> Callable[[Job], Settled]:
        inner = super().settling(settle)

        def run(job: Job) -> Settled:
            self._current.number = next(self._numbers)
            return inner(job)

        return run

    def saving(self, save: Callable[[Settled], None]) -> Callable[[Settled], None]:
        return self._noted("save", super().saving(save))

    def _noted(self, stage: str, call: Callable[P, R]) -> Callable[P, R]:
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            began_s = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.spans.append(Span(self._current.number, stage, began_s, time.perf_counter()))

        return run


def covered_s(spans: Iterable[Span]) -> float:
    """Seconds in which at least one of the spans was open."""
    total_s, until_s = 0.0, float("-inf")
    for span in sorted(spans, key=lambda one: one.began_s):
        total_s += max(0.0, span.ended_s - max(span.began_s, until_s))
        until_s = max(until_s, span.ended_s)
    return total_s


def mean_in(spans: Sequence[Span], stage: str, wall_s: float) -> float:
    """How many photographs were in the stage on average."""
    return sum(span.ended_s - span.began_s for span in spans if span.stage == stage) / wall_s


def overlapped_share(spans: Sequence[Span], stage: str, others: Iterable[str]) -> float:
    """Share of the time spent in `others` in which some other photograph was in `stage`: 1 where all is hidden.

    It is 0 where photographs go through one after another.
    """
    hidden_s = spent_s = 0.0
    wanted = set(others)
    for span in spans:
        if span.stage not in wanted:
            continue
        spent_s += span.ended_s - span.began_s
        hidden_s += covered_s(
            Span(one.number, stage, max(one.began_s, span.began_s), min(one.ended_s, span.ended_s))
            for one in spans
            if one.stage == stage
            and one.number != span.number
            and one.began_s < span.ended_s
            and one.ended_s > span.began_s
        )
    return hidden_s / spent_s if spent_s else 0.0
