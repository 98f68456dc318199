"""Puts a worker together from settings: the one place where all parts meet (the composition root)."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from celery import Celery

from schema import queries
from schema.session import make_preparing_engine
from worker import registry
from worker.backoff import Backoff
from worker.calibrations import versions_in_force
from worker.database import Database
from worker.errors import SetupError
from worker.events.beside import switch_events, ways_out
from worker.gate import Gate
from worker.identity import ModelIdentity
from worker.intake.fetch import Fetcher
from worker.intake.fetch_limits import FetchLimits
from worker.intake.guarded import GuardedFetch, host_breakers
from worker.intake.in_flight import InFlight
from worker.intake.limits import Limits
from worker.intake.probe import Prober
from worker.pipeline import Pipeline, Policy
from worker.place.doubt import Doubt
from worker.place.gallery_index import BackgroundBuild
from worker.place.gazetteer import Gazetteer
from worker.place.recall import Recall
from worker.place.verdict import Limits as PlaceLimits
from worker.queue.app import declare_queues, make_app
from worker.queue.broker import BROKER_ERRORS
from worker.queue.dispatch import Dispatcher
from worker.queue.patience import PatientTransactions
from worker.queue.recorder import Recorder
from worker.queue.runner import Runner
from worker.queue.service import Service
from worker.reason.engines import Engine, Sampling
from worker.reason.prompt import PROMPT_HASH
from worker.registry import Registered, Standing
from worker.serving import Line, Load, Serving, Watcher, check_weights, name_of
from worker.settings import Settings
from worker.telemetry import Telemetry
from worker.unfollowed import Unfollowed
from worker.versions import Versions, record_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Models:
    """The two models, loaded.

    `registered` is what `engine` is in the registry, None for the base itself. `load` loads another in its place;
    without it the worker keeps the model that it has. Engines are closed by whoever serves them.
    """

    gate: Gate
    engine: Engine
    gate_threshold: float
    registered: Registered | None = None
    load: Load | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is ready to start."""

    runner: Runner
    service: Service
    serving: Serving
    gate: Gate
    app: Celery

    @property
    def versions(self) -> Versions:
        """Of what serves now."""
        return self.serving.now.versions

    @property
    def model(self) -> ModelIdentity:
        """What serves now."""
        return self.serving.now.engine.identity

    @property
    def is_untrained(self) -> bool:
        return self.gate.identity.untrained or self.model.untrained

    @property
    def failure(self) -> BaseException | None:
        """Why the worker cannot go on, if it cannot: the consumer ended, or there is no model left."""
        return self.runner.failure or self.serving.failure

    @property
    def unready(self) -> str | None:
        """Why no photographs are worked on at the moment; None: they are, as they come."""
        if self.failure is not None:
            return "the worker cannot go on"
        if self.serving.is_changing:
            return "another model is being loaded"
        return None if self.runner.is_consuming else "no messages are taken from the broker"


@contextmanager
def load_models(settings: Settings, database: Database) -> Iterator[Models]:
    """Loads gate and LVLM: what is promoted for GLOBETAG_MODEL, else that itself; on a model server only that.

    Raises `SetupError` with one line when either cannot be had. A worker that starts does not fall back from a
    promoted model by itself: nothing waits for it yet, and a person decides better (`globetag models rollback`).
    """
    from worker.gate.clip import load_gate
    from worker.reason.engines.choose import engine_loader

    load_engine = engine_loader(settings)

    def load(registered: Registered | None) -> Engine:
        name = settings.model if registered is None else str(registered.folder)
        try:
            return load_engine(name)
        except SetupError as error:
            if registered is None:
                raise
            raise SetupError(
                f"{name_of(registered)}, which is promoted for GLOBETAG_MODEL={settings.model}, cannot be loaded"
                f" ({error}); put its files back, or roll back with `globetag models rollback`"
            ) from error

    is_elsewhere = settings.engine == "openai"
    registered = None if is_elsewhere else registry.serving(database.engine, settings.model)
    with ExitStack() as stack:
        gate = load_gate(settings.clip, head=settings.gate_head, device=settings.device)
        stack.callback(gate.close)
        engine = load(registered)
        stack.callback(engine.close)
        check_weights(engine, registered)
        threshold = gate.threshold if settings.gate_threshold is None else settings.gate_threshold
        yield Models(gate, engine, threshold, registered, load)


@contextmanager
def assemble(
    settings: Settings,
    database: Database,
    models: Models,
    *,
    dispatch: bool,
    telemetry: Telemetry | None = None,
) -> Iterator[Worker]:
    """A worker around loaded models. `dispatch`: it also publishes due jobs. Not started yet.

    `telemetry` measures its work; None: nothing does.
    """
    gazetteer = Gazetteer.load()
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
    policy = Policy(
        gate_threshold=models.gate_threshold,
        sampling=sampling,
        doubt=Doubt(
            most_answers=settings.most_answers,
            temperature=settings.doubt_temperature,
            min_logprob=settings.doubt_logprob,
        ),
        place_limits=PlaceLimits(
            min_agreement=settings.min_agreement,
            max_radius_km=settings.max_radius_km,
            only_text=settings.only_text,
        ),
        limits=Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6)),
        backoff=Backoff(
            max_attempts=settings.max_attempts,
            first_s=settings.retry_backoff_s,
            give_up_s=settings.give_up_after_h * 3600,
        ),
    )
    recalls = {"recall": settings.recall, "near_duplicate_cosine": settings.near_duplicate_cosine}
    transactions = PatientTransactions(database.engine)
    recorders = make_preparing_engine(database.url)
    recorder = Recorder(PatientTransactions(recorders), lease_s=settings.lease_s, threads=settings.threads)

    def record(engine: Engine) -> Versions:
        versions = transactions.run(
            lambda connection: record_versions(
                connection,
                model=engine.identity,
                gate=models.gate.identity,
                gate_threshold=models.gate_threshold,
                prompt_hash=PROMPT_HASH,
                sampling=sampling,
                gazetteer_version=gazetteer.version,
                rules=policy.rules | recalls,
            )
        )
        log.info("calibrations of the radius: %s", versions.calibrations.told)
        return versions

    in_flight = InFlight(int(settings.pictures_mb * 1e6))  # one for both models while they are exchanged
    with ExitStack() as stack:
        stack.callback(recorders.dispose)
        fetcher = Fetcher(fetch_limits(settings))
        stack.callback(fetcher.close)
        fetch = GuardedFetch(fetcher.fetch, host_breakers(settings.threads))

        def build(engine: Engine, versions: Versions, registered: Registered | None) -> Line:
            ledger = recorder.ledger(versions)
            pipeline = Pipeline(
                fetch=fetch,
                answers=ledger,
                gate=models.gate,
                engine=engine,
                gazetteer=gazetteer,
                policy=policy,
                recall=recall,
                radius_model_of=versions.calibrations.of,
                in_flight=in_flight,
            )
            if telemetry is None:
                return Line(engine, versions, registered, pipeline.settle, ledger.save)
            settle = telemetry.settling(telemetry.watched(pipeline).settle)
            return Line(engine, versions, registered, settle, telemetry.saving(ledger.save))

        versions = record(models.engine)
        recall = None
        if settings.recall != "off" and not models.gate.identity.untrained:
            indexing = BackgroundBuild(database.engine, versions.embedding_model_id)
            stack.callback(indexing.close)
            recall = Recall(
                transactions,
                versions.embedding_model_id,
                everywhere=settings.recall == "archive",
                near_duplicate_cosine=settings.near_duplicate_cosine,
                on_unindexed=indexing.start,
            )
        first = build(models.engine, versions, models.registered)
        now = Serving(first, load=models.load or _stay, record=record, build=build)
        stack.callback(now.close)
        watcher = None
        if models.load is not None:
            watcher = _watcher(now, settings, database, recorder.worker)
            stack.callback(watcher.close)
        prober = Prober()
        stack.callback(prober.close)
        service = Service(
            transactions,
            now,
            recorder,
            lease_s=settings.lease_s,
            watcher=watcher,
            condemn=partial(prober.condemn, fetch),
            backoff=policy.backoff,
        )
        app = make_app(settings, database.url, service.handle, engine=database.engine)
        broker_ready(app, settings)
        dispatcher = dispatcher_of(settings, database, app) if dispatch else None
        switch_events(settings, database.engine)
        beside = ways_out(settings, database.engine, app) if dispatch else None
        yield Worker(Runner(app, service, dispatcher, beside), service, now, models.gate, app)


def _watcher(now: Serving, settings: Settings, database: Database, worker: str) -> Watcher:
    """Watches the promotions of this worker's base, and stores with a promotion that it cannot serve here."""

    def store(standing: Standing, problem: str) -> None:
        row = {"promotion_id": standing.promotion_id, "worker": worker, "detail": problem}
        with database.engine.begin() as connection:
            connection.execute(queries.models.ADD_PROMOTION_FAILURE, row)

    def is_current(versions: Versions) -> bool:
        if versions.answers_version is None:
            return True
        with database.engine.connect() as connection:
            return versions_in_force(connection, versions.answers_version) == versions.calibrations.versions

    def look() -> Standing | None:
        return registry.look(database.engine, settings.model)

    return Watcher(
        now,
        database.engine,
        look=Unfollowed(look, store, str(settings.model_server)) if settings.engine == "openai" else look,
        on_problem=store,
        is_current=is_current,
    )


def _stay(_: Registered | None) -> Engine:
    raise SetupError("this worker keeps the model that it was started with")


def dispatcher_of(settings: Settings, database: Database, app: Celery) -> Dispatcher:
    """A dispatcher that also makes the queues again, where the broker has lost them."""
    declare = partial(declare_queues, app, settings)
    return Dispatcher(database.engine, app, depth=settings.queue_depth, declare=declare)


def fetch_limits(settings: Settings) -> FetchLimits:
    """What may be read from where."""
    return FetchLimits(
        max_bytes=int(settings.max_file_mb * 1e6),
        timeout_s=settings.fetch_timeout_s,
        max_redirects=settings.max_redirects,
        allow_private=settings.allow_private_addresses,
        private_hosts=frozenset(settings.private_hosts),
        allow_hosts=frozenset(settings.allow_hosts) or None,
        allow_buckets=frozenset(settings.allow_buckets) or None,
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
