"""What one photograph's way through the pipeline ends in: a value that keeps its place and can be stored.

A job always ends in exactly one `Settled`, whatever happened on the way.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.messages import DEFAULT_COLLECTION, Hints
from schema.reasons import Granularity, JobState, LabelSource, Outcome, Reason, Status
from worker.place.difficulty import Difficulty


@dataclass(frozen=True, slots=True)
class Rules:
    """What a collection asks of its places: that they lie in `region`, that the radius is no wider."""

    region: str | None = None
    max_radius_km: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed job. `attempts` counts this try; `losses` how often a worker died with it in work.

    `put_off_s`: for so long it has been put off without a try; 0: it was not.
    """

    id: str
    uri: str
    hints: Hints = field(default_factory=Hints)
    verify: bool = False
    attempts: int = 1
    losses: int = 0
    collection: str = DEFAULT_COLLECTION
    rules: Rules = field(default_factory=Rules)
    put_off_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A job that workers died with, `losses` of them. It is not claimed yet, since it is to be kept apart."""

    id: str
    uri: str
    losses: int = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    """What Postgres knows of this file content already.

    `prediction_id` is this very pipeline's answer to this very request; `has_label`: its place is known;
    `is_embedded`: an embedding of this gate's backbone is stored. `is_forgotten`: it was erased, and there is no
    image.
    """

    image_id: int | None
    prediction_id: int | None
    status: Status | None
    has_label: bool
    is_embedded: bool
    is_forgotten: bool = False


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Row of `image`. `embedding_D` is None where the gate was never reached."""

    sha256: str
    format: str
    width_px: int
    height_px: int
    size_bytes: int
    taken_at: datetime | None = None
    caption: str | None = None
    data_mining: str | None = None
    metadata_notes: tuple[str, ...] = ()
    embedding_D: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """Row of `label`: a known place."""

    source: LabelSource
    lat: float
    lon: float
    accuracy_m: float | None = None
    country_code: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """Row of `prediction`: what was inferred, or why nothing was.

    `difficulty` is given wherever a place was chosen, also where it was then refused for its radius; that place is
    the first of `alternatives` then, so that later calibrations know how far off it was.
    """

    status: Status
    request_hash: str
    reason: Reason | None = None
    detail: str | None = None
    lat: float | None = None
    lon: float | None = None
    radius_km: float | None = None
    coverage: float | None = None
    granularity: Granularity | None = None
    country_code: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    stated_place: str | None = None
    confidence: float | None = None
    gate_score: float | None = None
    alternatives: tuple[dict[str, Any], ...] = ()
    suggestions: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    calibration_id: int | None = None
    difficulty: Difficulty | None = None


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """Row of `trace`: what the model printed. `samples` are its other answers to the same question;
    `injected_text` what in all of them reads like an instruction."""

    reasoning: str
    answer: str
    cues: tuple[dict[str, Any], ...] = ()
    tokens: int | None = None
    mean_logprob: float | None = None
    finish_reason: str | None = None
    samples: tuple[dict[str, Any], ...] = ()
    injected_text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """How a job ends. `state` QUEUED means: try again in `retry_in_s`; `untried`: it was no try, uncounted.

    Ids are given instead of records where the rows exist already (`reused`).
    """

    job_id: str
    state: JobState
    outcome: Outcome | None = None
    reason: Reason | None = None
    detail: str | None = None
    reused: bool = False
    retry_in_s: float = 0.0
    untried: bool = False
    image_id: int | None = None
    prediction_id: int | None = None
    image: ImageRecord | None = None
    label: LabelRecord | None = None
    prediction: PredictionRecord | None = None
    trace: TraceRecord | None = None
