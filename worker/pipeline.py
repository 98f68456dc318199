"""One photograph's way from an address to a settled job: the straight line of the design, top to bottom.

No queue and no batching shows here: `gate`, `engine` and `answers` batch inside what many threads bring them.
Nothing here imports torch; the pipeline is given its gate and its engine.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from schema.messages import Hints
from schema.reasons import JobState, Outcome, Reason, Status
from worker.backoff import Backoff, settled_as
from worker.errors import JobError
from worker.gate import Gate, GateScore
from worker.intake.in_flight import RGB_BYTES, InFlight
from worker.intake.limits import MIB, Limits
from worker.intake.metadata import Metadata, read_metadata
from worker.intake.picture import Picture, decode
from worker.intake.uri import shown
from worker.outcome import (
    ImageRecord,
    Job,
    LabelRecord,
    PredictionRecord,
    Remembered,
    Rules,
    Settled,
    TraceRecord,
)
from worker.place import verdict
from worker.place.caption import caption_places
from worker.place.doubt import Doubt
from worker.place.gazetteer import Gazetteer
from worker.place.radius import RadiusModel
from worker.place.recalled import Recall, Recalled
from worker.place.region import Constraint, UnknownRegion, read_constraint
from worker.place.votes import caption_opinions, evidence_opinions
from worker.place.weighing import Ground, weigh
from worker.reason.asking import ask
from worker.reason.engines import Engine, Sampling
from worker.reason.prompt import build_prompt
from worker.reason.trace import trace_of

log = logging.getLogger(__name__)


class Answers(Protocol):
    """Finds earlier answers. Thread-safe."""

    def find(self, sha256: str, request_hash: str) -> Remembered | None: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decided. `gate_threshold`: below this score the LVLM is not asked."""

    gate_threshold: float
    sampling: Sampling = field(default_factory=Sampling)
    doubt: Doubt = field(default_factory=Doubt)
    place_limits: verdict.Limits = field(default_factory=verdict.Limits)
    limits: Limits = field(default_factory=Limits)
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def rules(self) -> dict[str, Any]:
        """What decides between answers and about a place: part of the pipeline's version."""
        return {"doubt": asdict(self.doubt), "place_limits": asdict(self.place_limits)}


def _nominal(_collection: str) -> RadiusModel | None:
    """Nothing is calibrated: radii are nominal."""
    return None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Turns a job into a settled job. Thread-safe; `settle` is called by many threads at once.

    `recall` None: no other photographs are looked for. `radius_model_of` gives a collection's calibration.
    """

    fetch: Callable[[str], bytes]
    answers: Answers
    gate: Gate
    engine: Engine
    gazetteer: Gazetteer
    policy: Policy
    recall: Recall | None = None
    radius_model_of: Callable[[str], RadiusModel | None] = _nominal
    decode: Callable[[bytes, Limits], Picture] = decode
    in_flight: InFlight = field(default_factory=lambda: InFlight(1024 * MIB))

    def settle(self, job: Job) -> Settled:
        """Always returns how the job ends; never raises because of the photograph."""
        try:
            return self._locate(job)
        except JobError as error:
            return settled_as(job, error, self.policy.backoff)
        except MemoryError:
            detail = "There was not enough memory to work on this photograph."
            return Settled(job.id, JobState.FAILED, reason=Reason.TOO_LARGE, detail=detail)
        except Exception as error:
            log.exception("a defect, met with %s (job %s)", shown(job.uri), job.id)
            detail = f"{type(error).__name__} in Globetag; the worker's log has the details."
            return Settled(job.id, JobState.FAILED, reason=Reason.INTERNAL_ERROR, detail=detail)

    def _locate(self, job: Job) -> Settled:
        data = self.fetch(job.uri)
        sha256 = hashlib.sha256(data).hexdigest()
        request = request_hash(job.hints, job.rules, collection=job.collection if self.recall else None)
        earlier = self.answers.find(sha256, request)
        if earlier and earlier.is_forgotten:
            raise JobError(Reason.FORGOTTEN, "`globetag forget` has erased this very file, and keeps its hash.")
        if earlier and (reused := _reuse(job, earlier)):
            return reused

        with self.in_flight.room_for(len(data)) as room:
            size_bytes, metadata = len(data), read_metadata(data)
            picture = self.decode(data, self.policy.limits)
            del data
            room.keep_only(picture.image.width * picture.image.height * RGB_BYTES)
            return self._look(job, sha256, request, size_bytes, metadata, picture)

    def _look(
        self, job: Job, sha256: str, request: str, size_bytes: int, metadata: Metadata, picture: Picture
    ) -> Settled:
        """What comes of a picture that has not been seen before."""
        label = self._label(metadata)
        score = self.gate.score(picture.image)
        image = _image_record(sha256, size_bytes, picture, metadata, score)
        if label and not job.verify:
            return Settled(job.id, JobState.DONE, outcome=Outcome.KNOWN, image=image, label=label)

        if score.score < self.policy.gate_threshold:
            refusal = PredictionRecord(
                Status.NOT_LOCATABLE,
                request,
                reason=Reason.GATE_BELOW_THRESHOLD,
                detail=f"Gate score {score.score:.3f} is below the threshold of {self.policy.gate_threshold:.3f}.",
                gate_score=score.score,
            )
            return _settled(job, image, label, refusal)

        constraint = self._constraint(job, request, score)
        if isinstance(constraint, PredictionRecord):
            return _settled(job, image, label, constraint)

        ground = self._ground(job, image, constraint)
        region = job.hints.region or job.rules.region
        prompt = build_prompt(text=job.hints.text, region=region, date=job.hints.date)
        samples, weighed = ask(
            self.engine,
            prompt,
            picture.image,
            sampling=self.policy.sampling,
            doubt=self.policy.doubt,
            gate_score=score.score,
            gazetteer=self.gazetteer,
            weigh=lambda samples: weigh(samples, ground, self.gazetteer),
        )
        prediction = verdict.verdict(
            samples,
            weighed,
            ground,
            request_hash=request,
            gate_score=score.score,
            limits=self._limits(job),
            radius_model=self.radius_model_of(job.collection),
            gazetteer=self.gazetteer,
        )
        return _settled(job, image, label, prediction, trace_of(samples, weighed.shown))

    def _constraint(self, job: Job, request: str, score: GateScore) -> Constraint | PredictionRecord | None:
        """The region that collection and job give, or why there is none that could be kept to."""
        try:
            constraint = read_constraint((job.rules.region, job.hints.region), self.gazetteer)
        except UnknownRegion as error:
            return PredictionRecord(
                Status.FAILED,
                request,
                reason=Reason.UNKNOWN_REGION,
                detail=str(error),
                gate_score=score.score,
            )
        if constraint is not None and not constraint.areas:
            return PredictionRecord(
                Status.NOT_LOCATABLE,
                request,
                reason=Reason.OUTSIDE_REGION,
                detail=f"No place lies in {constraint.stated}.",
                gate_score=score.score,
            )
        return constraint

    def _ground(self, job: Job, image: ImageRecord, constraint: Constraint | None) -> Ground:
        """What is known beside the model's answers."""
        found = Recalled()
        if self.recall is not None and image.embedding_D is not None:
            found = self.recall(
                image.embedding_D,
                sha256=image.sha256,
                collection=job.collection,
                uri=job.uri,
                taken_at=image.taken_at,
            )
        named = caption_places(job.hints.text or image.caption, self.gazetteer)
        return Ground(
            evidence=tuple(evidence_opinions(found.evidence, self.gazetteer)),
            caption=tuple(caption_opinions(named)),
            constraint=constraint,
            nearest_cosine=found.nearest_cosine,
            suggestions=found.suggestions,
        )

    def _limits(self, job: Job) -> verdict.Limits:
        """The operator's, with the narrower of both radii."""
        limits = self.policy.place_limits
        given_km = [km for km in (limits.max_radius_km, job.rules.max_radius_km) if km is not None]
        return replace(limits, max_radius_km=min(given_km, default=None))

    def _label(self, metadata: Metadata) -> LabelRecord | None:
        """The camera's own position, with the names of the place it stands for."""
        if metadata.gps is None:
            return None
        gps = metadata.gps
        near = self.gazetteer.nearest(gps.lat, gps.lon)
        return LabelRecord(
            source=gps.source,
            lat=gps.lat,
            lon=gps.lon,
            accuracy_m=gps.accuracy_m,
            country_code=near.country_code,
            region=near.region,
            city=near.city,
            geoname_id=near.geoname_id,
        )


def request_hash(hints: Hints, rules: Rules | None = None, *, collection: str | None = None) -> str:
    """Equal for two requests that must get the same answer from the same pipeline for the same bytes.

    `collection` counts where the answer rests on the collection's other photographs.
    """
    asked: dict[str, Any] = hints.model_dump(exclude_none=True)
    if rules is not None and rules != Rules():
        asked["rules"] = [rules.region, rules.max_radius_km]
    if collection is not None:
        asked["collection"] = collection
    canonical = json.dumps(asked, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _reuse(job: Job, earlier: Remembered) -> Settled | None:
    """The earlier answer as this job's, if it is all that this job asks for."""
    if earlier.has_label and not job.verify and earlier.is_embedded:
        return Settled(job.id, JobState.DONE, outcome=Outcome.KNOWN, reused=True, image_id=earlier.image_id)
    if earlier.prediction_id is not None and earlier.status is not None:
        outcome = Outcome.KNOWN if earlier.has_label else Outcome(earlier.status)
        return Settled(
            job.id,
            JobState.DONE,
            outcome=outcome,
            reused=True,
            image_id=earlier.image_id,
            prediction_id=earlier.prediction_id,
        )
    return None


def _image_record(
    sha256: str, size_bytes: int, picture: Picture, metadata: Metadata, score: GateScore
) -> ImageRecord:
    return ImageRecord(
        sha256=sha256,
        format=picture.format,
        width_px=picture.width_px,
        height_px=picture.height_px,
        size_bytes=size_bytes,
        taken_at=metadata.taken_at,
        caption=metadata.caption,
        data_mining=metadata.data_mining,
        metadata_notes=metadata.problems,
        embedding_D=score.embedding_D,
    )


def _settled(
    job: Job,
    image: ImageRecord,
    label: LabelRecord | None,
    prediction: PredictionRecord,
    trace: TraceRecord | None = None,
) -> Settled:
    failed = prediction.status is Status.FAILED
    return Settled(
        job.id,
        JobState.FAILED if failed else JobState.DONE,
        outcome=None if failed else Outcome.KNOWN if label else Outcome(prediction.status),
        reason=prediction.reason if failed else None,
        detail=prediction.detail if failed else None,
        image=image,
        label=label,
        prediction=prediction,
        trace=trace,
    )
