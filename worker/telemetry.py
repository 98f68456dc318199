"""What a worker measures of its own work, for Prometheus: seconds for each stage, and how photographs end.

Nothing in the pipeline knows of it: the parts that a pipeline is given are wrapped where a worker is put together,
and what became of a photograph stands in its `Settled`. A worker that nobody asks for figures wraps nothing.

Labels are words of closed lists, so that their number is bounded: never an address, a name or a text.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from PIL.Image import Image
from prometheus_client import Counter, Histogram

from schema.reasons import FAILURE_REASONS, REFUSALS, JobState, Outcome, Reason
from worker.gate import Gate, GateScore
from worker.identity import ModelIdentity
from worker.metrics_port import new_registry
from worker.outcome import Job, Remembered, Settled
from worker.pipeline import Answers, Pipeline
from worker.reason.engines import Completion, Engine, Prompt, Sampling

P = ParamSpec("P")
R = TypeVar("R")

STAGES = ("fetch", "lookup", "decode", "gate", "recall", "reason", "settle", "save")
"""In the order of the pipeline. `settle` is all of it that is none of the others: metadata, weighing, verdict."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_METRES = (100, 1e3, 5e3, 10e3, 25e3, 50e3, 100e3, 200e3, 400e3, 750e3, 1500e3, 2500e3)
_ANSWERS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 32)


class _Laps(threading.local):
    """Seconds by stage of the photograph that this thread works on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}


class Telemetry:
    """The figures of one process. Thread-safe: one thread works on one photograph at a time."""

    def __init__(self) -> None:
        self.registry = new_registry()
        ended = Counter(
            "globetag_photographs", "Photographs that were settled here", ["outcome"], registry=self.registry
        )
        gated = Counter(
            "globetag_gate",
            "Photographs that the gate let through to the model, or refused",
            ["result"],
            registry=self.registry,
        )
        refused = Counter(
            "globetag_refusals", "Photographs that were given no place", ["reason"], registry=self.registry
        )
        failed = Counter("globetag_failures", "Photographs that failed", ["reason"], registry=self.registry)
        retried = Counter(
            "globetag_retries", "Tries that failed and will be repeated", ["reason"], registry=self.registry
        )
        stages = Histogram(
            "globetag_stage_seconds",
            "Time that a photograph spent in a stage, waiting included",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        # Each child once: a look-up for each photograph would cost more than the counting.
        self._ended = {word: ended.labels(word) for word in (*Outcome, JobState.FAILED, JobState.DEAD)}
        self._passed, self._stopped = gated.labels("passed"), gated.labels("refused")
        self._refused = {reason: refused.labels(reason) for reason in sorted(REFUSALS)}
        self._failed = {reason: failed.labels(reason) for reason in sorted(FAILURE_REASONS)}
        self._retried = {reason: retried.labels(reason) for reason in sorted(FAILURE_REASONS)}
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._whole = Histogram(
            "globetag_photograph_seconds",
            "Time from a photograph's claim to its stored outcome",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._radius = Histogram(
            "globetag_radius_meters", "Radius of inferred places", buckets=_METRES, registry=self.registry
        )
        self._answers = Histogram(
            "globetag_model_answers",
            "Answers that the model was asked for, by photograph",
            buckets=_ANSWERS,
            registry=self.registry,
        )
        self._reused = Counter(
            "globetag_reused_answers", "Photographs whose answer was known already", registry=self.registry
        )
        self._laps = _Laps()

    def watched(self, pipeline: Pipeline) -> Pipeline:
        """The same pipeline, with its stages timed."""
        recall = pipeline.recall
        return replace(
            pipeline,
            fetch=self.timed("fetch", pipeline.fetch),
            answers=_TimedAnswers(pipeline.answers, self),
            decode=self.timed("decode", pipeline.decode),
            gate=_TimedGate(pipeline.gate, self),
            recall=recall if recall is None else self.timed("recall", recall),
            engine=_TimedEngine(pipeline.engine, self),
        )

    def timed(self, stage: str, call: Callable[P, R]) -> Callable[P, R]:
        """`call`, its time counted to a stage, also where it raises."""
        laps = self._laps

        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            began_s = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                seconds = laps.seconds
                seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began_s

        return run

    def settling(self, settle: Callable[[Job], Settled]) -> Callable[[Job], Settled]:
        """`settle`, the first thing that a thread does with a photograph."""

        def run(job: Job) -> Settled:
            seconds = self._laps.seconds = {}
            began_s = time.perf_counter()
            settled = settle(job)
            seconds["settle"] = max(0.0, time.perf_counter() - began_s - sum(seconds.values()))
            return settled

        return run

    def saving(self, save: Callable[[Settled], None]) -> Callable[[Settled], None]:
        """`save`, the last thing. What could not be stored is not counted: it comes again."""

        def run(settled: Settled) -> None:
            seconds = self._laps.seconds
            began_s = time.perf_counter()
            save(settled)
            seconds["save"] = time.perf_counter() - began_s
            self._count(settled, seconds)

        return run

    def _count(self, settled: Settled, seconds: dict[str, float]) -> None:
        for stage, spent_s in seconds.items():
            self._stages[stage].observe(spent_s)
        self._whole.observe(sum(seconds.values()))
        if settled.reused:
            self._reused.inc()
        prediction = settled.prediction
        if prediction is not None and prediction.reason is Reason.GATE_BELOW_THRESHOLD:
            self._stopped.inc()
        elif prediction is not None or "reason" in seconds:
            self._passed.inc()
        if settled.state is JobState.QUEUED:
            if settled.reason is not None:
                self._retried[settled.reason].inc()
        else:
            self._ended[settled.outcome or settled.state].inc()
            if settled.reason is not None:
                self._failed[settled.reason].inc()
        if prediction is not None and prediction.reason in REFUSALS:
            self._refused[prediction.reason].inc()
        if prediction is not None and prediction.radius_km is not None:
            self._radius.observe(prediction.radius_km * 1000)
        if settled.trace is not None:
            self._answers.observe(1 + len(settled.trace.samples))


class _TimedGate:
    """A gate whose time is counted."""

    def __init__(self, gate: Gate, telemetry: Telemetry) -> None:
        self._gate = gate
        self._score = telemetry.timed("gate", gate.score)

    @property
    def identity(self) -> ModelIdentity:
        return self._gate.identity

    def score(self, image: Image) -> GateScore:
        return self._score(image)

    def close(self) -> None:
        self._gate.close()


class _TimedEngine:
    """An engine whose time is counted."""

    def __init__(self, engine: Engine, telemetry: Telemetry) -> None:
        self._engine = engine
        self._generate = telemetry.timed("reason", engine.generate)

    @property
    def identity(self) -> ModelIdentity:
        return self._engine.identity

    def generate(self, prompt: Prompt, image: Image, sampling: Sampling, n: int = 1) -> list[Completion]:
        return self._generate(prompt, image, sampling, n)

    def close(self) -> None:
        self._engine.close()


class _TimedAnswers:
    """Earlier answers, whose look-up is counted."""

    def __init__(self, answers: Answers, telemetry: Telemetry) -> None:
        self._find = telemetry.timed("lookup", answers.find)

    def find(self, sha256: str, request_hash: str) -> Remembered | None:
        return self._find(sha256, request_hash)
