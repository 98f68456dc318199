"""Puts a worker together from settings: the one place where all parts meet (the composition root)."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from celery import Celery

from worker.database import Database
from worker.errors import SetupError
from worker.gate import Gate
from worker.intake.fetch import Fetcher
from worker.intake.fetch_limits import FetchLimits
from worker.intake.limits import Limits
from worker.pipeline import Pipeline, Policy
from worker.place.gazetteer import Gazetteer
from worker.queue.app import declare_queues, make_app
from worker.queue.broker import BROKER_ERRORS
from worker.queue.dispatch import Dispatcher
from worker.queue.patience import PatientTransactions
from worker.queue.recorder import Recorder
from worker.queue.runner import Runner
from worker.queue.service import Service
from worker.reason.engines import Engine, Sampling
from worker.reason.prompt import PROMPT_HASH
from worker.settings import Settings
from worker.versions import Versions, record_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Models:
    """The two models, loaded."""

    gate: Gate
    engine: Engine
    gate_threshold: float

    @property
    def is_untrained(self) -> bool:
        return self.gate.identity.untrained or self.engine.identity.untrained


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is ready to start."""

    runner: Runner
    service: Service
    versions: Versions
    app: Celery


@contextmanager
def load_models(settings: Settings) -> Iterator[Models]:
    """Loads gate and LVLM. Raises `SetupError` with one line when either cannot be had."""
    from worker.gate.clip import load_gate
    from worker.gate.zeroshot import DEFAULT_THRESHOLD
    from worker.reason.engines.transformers import load_engine

    with ExitStack() as stack:
        gate = load_gate(settings.clip, device=settings.device)
        stack.callback(gate.close)
        engine = load_engine(settings.model, device=settings.device, max_batch=settings.model_batch)
        stack.callback(engine.close)
        threshold = DEFAULT_THRESHOLD if settings.gate_threshold is None else settings.gate_threshold
        yield Models(gate, engine, threshold)


@contextmanager
def assemble(settings: Settings, database: Database, models: Models, *, dispatch: bool) -> Iterator[Worker]:
    """A worker around loaded models. `dispatch`: it also publishes due jobs. Not started yet."""
    gazetteer = Gazetteer.load()
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
    versions = record_versions(
        database.engine,
        model=models.engine.identity,
        gate=models.gate.identity,
        gate_threshold=models.gate_threshold,
        prompt_hash=PROMPT_HASH,
        sampling=sampling,
        gazetteer_version=gazetteer.version,
    )
    transactions = PatientTransactions(database.engine)
    recorder = Recorder(transactions, versions, lease_s=settings.lease_s, threads=settings.threads)
    with ExitStack() as stack:
        fetcher = Fetcher(fetch_limits(settings))
        stack.callback(fetcher.close)
        pipeline = Pipeline(
            fetch=fetcher.fetch,
            answers=recorder,
            gate=models.gate,
            engine=models.engine,
            gazetteer=gazetteer,
            policy=Policy(
                gate_threshold=models.gate_threshold,
                sampling=sampling,
                limits=Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6)),
                max_attempts=settings.max_attempts,
                retry_backoff_s=settings.retry_backoff_s,
            ),
        )
        service = Service(transactions, pipeline.settle, recorder, lease_s=settings.lease_s)
        app = make_app(settings, database.url, service.handle)
        broker_ready(app, settings)
        dispatcher = Dispatcher(database.engine, app, depth=settings.queue_depth) if dispatch else None
        yield Worker(Runner(app, service, dispatcher), service, versions, app)


def fetch_limits(settings: Settings) -> FetchLimits:
    """What may be read from where."""
    return FetchLimits(
        max_bytes=int(settings.max_file_mb * 1e6),
        timeout_s=settings.fetch_timeout_s,
        allow_private=settings.allow_private_addresses,
        file_roots=settings.file_roots or None,
    )


def broker_ready(app: Celery, settings: Settings) -> None:
    """Connects to the broker and makes the queues. Raises `SetupError` with one line when that fails."""
    try:
        declare_queues(app, settings)
    except BROKER_ERRORS as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        where = "the broker of GLOBETAG_BROKER_URL" if settings.broker_url else "the database as broker (pgmq)"
        raise SetupError(
            f"{where} cannot be used ({said}): check that it runs and that the address, user and rights are right"
        ) from error
