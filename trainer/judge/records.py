"""What is judged: the truth about an image, and what a system said of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

Placeable = Literal["city", "region", "country", "none"]
PLACEABLE: tuple[Placeable, ...] = ("city", "region", "country", "none")


class Outcome(StrEnum):
    """How a system dealt with one image. Every image has exactly one, so the counts sum to n.

    Not `schema.reasons.Outcome`, which says how a job ended: here a refusal, an answer that nobody can read, a
    name that nobody knows and a silence are four things, since they have four remedies.
    """

    LOCATED = "located"
    """There is a point."""
    REFUSED = "refused"
    """The system says that the place cannot be told."""
    UNRESOLVED = "unresolved"
    """It names a place that the gazetteer does not know, or not for certain: no point."""
    UNPARSABLE = "unparsable"
    """It printed something in which no answer can be read, or was cut off."""
    FAILED = "failed"
    """It broke: the image could not be decoded, the model or the connection failed."""
    MISSING = "missing"
    """It says nothing of this image."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The known place of one image. `lat`, `lon` are degrees.

    `photographer` is the cluster of the bootstrap. `placeable` is the finest level that the picture gives away,
    `bayes_country` and `bayes_city25` the chance of the best possible guess at the country and within 25 km:
    only a closed test world knows these. `true_cues` are what the picture really shows. `where` names file and
    row for messages. Names and codes are as the source has them; None where it has none.
    """

    id: str
    lat: float
    lon: float
    country_code: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    photographer: str | None = None
    placeable: Placeable | None = None
    bayes_country: float | None = None
    bayes_city25: float | None = None
    true_cues: frozenset[str] | None = None
    image: Path | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a system said of one image. `lat`, `lon` are degrees and given exactly when `outcome` is LOCATED.

    `country`, `region` and `city` are the names as stated, `country_code` and `geoname_id` what they were found
    to be. `unresolved` lists the levels whose stated name the gazetteer could not place with certainty.
    `strict` is False where the answer could be read only by tolerating deviations from its form, None where the
    raw answer is not known. `confidence` orders answers (higher is surer) and need not be a probability.
    """

    id: str
    outcome: Outcome
    lat: float | None = None
    lon: float | None = None
    radius_km: float | None = None
    coverage: float | None = None
    confidence: float | None = None
    granularity: str | None = None
    country_code: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    unresolved: tuple[str, ...] = ()
    strict: bool | None = None
    stated_cues: frozenset[str] | None = None
    detail: str | None = None
    raw: str | None = None
    where: str = ""

    def __post_init__(self) -> None:
        """Raises `ValueError` where point and outcome contradict each other."""
        if (self.lat is None) != (self.lon is None) or (self.lat is not None) != (self.outcome is Outcome.LOCATED):
            raise ValueError(f"{self.id}: outcome {self.outcome} with the point {self.lat}, {self.lon}")


@dataclass(frozen=True, slots=True)
class Judged:
    """One image: its truth and what was said of it."""

    truth: Truth
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Run:
    """All images of one test with the answers of one system, sorted by id.

    `notes` are sentences about the input that a reader of the figures should know.
    """

    name: str
    rows: tuple[Judged, ...]
    notes: tuple[str, ...] = field(default=())
