"""One photograph's way from an address to a settled job: the straight line of the design, top to bottom.

No queue and no batching shows here: `gate`, `engine` and `answers` batch inside what many threads bring them.
Nothing here imports torch; the pipeline is given its gate and its engine.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from schema.messages import Hints
from schema.reasons import JobState, Outcome, Reason, Status
from worker.errors import JobError, Transient
from worker.gate import Gate, GateScore
from worker.intake.limits import Limits
from worker.intake.metadata import Metadata, read_metadata
from worker.intake.picture import Picture, decode
from worker.intake.probe import probe
from worker.outcome import ImageRecord, Job, LabelRecord, PredictionRecord, Remembered, Settled, TraceRecord
from worker.place.gazetteer import Gazetteer
from worker.place.resolve import resolve
from worker.reason.answer import Answer, Unparsable, parse
from worker.reason.engines import Completion, Engine, Sampling
from worker.reason.prompt import build_prompt

log = logging.getLogger(__name__)


class Answers(Protocol):
    """Finds earlier answers. Thread-safe."""

    def find(self, sha256: str, request_hash: str) -> Remembered | None: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decided. `gate_threshold`: below this score the LVLM is not asked."""

    gate_threshold: float
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    max_attempts: int = 3
    retry_backoff_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Turns a job into a settled job. Thread-safe; `settle` is called by many threads at once."""

    fetch: Callable[[str], bytes]
    answers: Answers
    gate: Gate
    engine: Engine
    gazetteer: Gazetteer
    policy: Policy

    def settle(self, job: Job) -> Settled:
        """Always returns how the job ends; never raises because of the photograph."""
        try:
            return self._locate(job)
        except Transient as error:
            if job.attempts < self.policy.max_attempts:
                wait_s = self.policy.retry_backoff_s * 2 ** (job.attempts - 1)
                return Settled(
                    job.id, JobState.QUEUED, reason=error.reason, detail=error.detail, retry_in_s=wait_s
                )
            return Settled(job.id, JobState.FAILED, reason=error.reason, detail=error.detail)
        except JobError as error:
            state = JobState.DEAD if error.reason is Reason.WORKER_LOST else JobState.FAILED
            return Settled(job.id, state, reason=error.reason, detail=error.detail)
        except MemoryError:
            detail = "There was not enough memory to work on this photograph."
            return Settled(job.id, JobState.FAILED, reason=Reason.TOO_LARGE, detail=detail)
        except Exception as error:
            log.exception("a defect, met with %s", job.uri)
            detail = f"{type(error).__name__} in Globetag; the worker's log has the details."
            return Settled(job.id, JobState.FAILED, reason=Reason.INTERNAL_ERROR, detail=detail)

    def _locate(self, job: Job) -> Settled:
        data = self.fetch(job.uri)
        sha256 = hashlib.sha256(data).hexdigest()
        request = request_hash(job.hints)
        earlier = self.answers.find(sha256, request)
        if earlier and (reused := _reuse(job, earlier)):
            return reused

        if job.losses:
            probe(data)  # a worker died with this photograph: see in a child process whether it is the cause
        metadata = read_metadata(data)
        picture = decode(data, self.policy.limits)
        label = self._label(metadata)
        score = self.gate.score(picture.image)
        image = _image_record(sha256, len(data), picture, metadata, score)
        if label and not job.verify:
            return Settled(job.id, JobState.DONE, outcome=Outcome.KNOWN, image=image, label=label)

        if score.score < self.policy.gate_threshold:
            refusal = PredictionRecord(
                Status.NOT_LOCATABLE,
                request,
                reason=Reason.BELOW_THRESHOLD,
                detail=f"Gate score {score.score:.3f} is below the threshold of {self.policy.gate_threshold:.3f}.",
                gate_score=score.score,
            )
            return _settled(job, image, label, refusal)

        prompt = build_prompt(text=job.hints.text, region=job.hints.region, date=job.hints.date)
        [completion] = self.engine.generate(prompt, picture.image, self.policy.sampling)
        answer = parse(completion.text, finish_reason=completion.finish_reason)
        prediction = self._judge(answer, request, score)
        return _settled(job, image, label, prediction, _trace(completion, answer))

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

    def _judge(self, answer: Answer | Unparsable, request: str, score: GateScore) -> PredictionRecord:
        """What the model's answer comes to: a place with a point, a refusal, or a failure."""
        if isinstance(answer, Unparsable):
            return PredictionRecord(
                Status.FAILED, request, reason=Reason.UNPARSABLE, detail=answer.detail, gate_score=score.score
            )
        if answer.abstains:
            return PredictionRecord(
                Status.NOT_LOCATABLE,
                request,
                reason=Reason.MODEL_ABSTAINED,
                gate_score=score.score,
                notes=answer.notes,
            )
        place = resolve(answer, self.gazetteer)
        if place.lat is None:
            return PredictionRecord(
                Status.NOT_LOCATABLE,
                request,
                reason=Reason.UNKNOWN_PLACE,
                detail=f"The gazetteer does not know “{place.stated_place}”.",
                stated_place=place.stated_place,
                gate_score=score.score,
                notes=answer.notes + place.notes,
            )
        return PredictionRecord(
            Status.LOCATED,
            request,
            lat=place.lat,
            lon=place.lon,
            radius_km=place.radius_km,
            granularity=place.granularity,
            country_code=place.country_code,
            region=place.region,
            city=place.city,
            geoname_id=place.geoname_id,
            stated_place=place.stated_place,
            gate_score=score.score,
            notes=answer.notes + place.notes,
        )


def request_hash(hints: Hints) -> str:
    """Equal for two requests that must get the same answer from the same pipeline for the same bytes."""
    canonical = json.dumps(hints.model_dump(exclude_none=True), sort_keys=True, ensure_ascii=True)
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


def _trace(completion: Completion, answer: Answer | Unparsable) -> TraceRecord:
    cues = answer.cues if isinstance(answer, Answer) else ()
    return TraceRecord(
        reasoning=answer.reasoning,
        answer=completion.text.replace("\x00", ""),
        cues=tuple({"text": cue, "supported": None} for cue in cues),
        tokens=completion.tokens,
        mean_logprob=completion.mean_logprob,
        finish_reason=completion.finish_reason,
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
