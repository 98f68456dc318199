"""Messages that other programs send, and the names they are sent to.

The field names are public API (`geotag.locate.v1`): adding an optional field is allowed, anything else is v2.
"""

import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

LOCATE_TASK = "geotag.locate.v1"
TRAIN_TASK = "geotag.train.v1"
LOCATE_QUEUE = "geotag.locate"
INTERACTIVE_QUEUE = "geotag.locate.interactive"
INGRESS_QUEUE = "geotag.ingress"
TRAIN_QUEUE = "geotag.train"
DEAD_SUFFIX = ".dead"
SUBMITTED_TYPE = "geotag.image.submitted.v1"
"""Type of the CloudEvents that ask for a photograph."""
JOB_CHANNEL = "globetag_job"
"""LISTEN/NOTIFY channel that wakes dispatchers. A wake-up only: losing a notification costs a second."""
SUBMISSION_CHANNEL = "globetag_submission"
"""The same for rows of the table `submission`, which wake `globetag ingress`."""
MODEL_CHANNEL = "globetag_model"
"""The same for promotions, which wake workers."""

LANES = {1: INTERACTIVE_QUEUE, 0: LOCATE_QUEUE}
"""The queue of each priority, the most urgent first. Both hold the same messages and share a dead-letter queue.

Two queues, because not every broker knows priorities: quorum queues have two since RabbitMQ 4.0, pgmq has none.
"""

DEFAULT_COLLECTION = "default"
MAX_URI_CHARACTERS = 8192
MAX_TEXT_CHARACTERS = 2000

JOB_NAMESPACE = uuid.UUID("5b8ad0c6-3f5e-5a1e-9d39-6d1c7f1d8a55")


def _storable(value: str) -> str:
    """Postgres stores neither NUL nor lone surrogates; a producer that sends them is told so."""
    try:
        value.encode()  # refuses lone surrogates, and is quicker than a look at each character
    except UnicodeEncodeError:
        raise ValueError("contains NUL or a lone surrogate") from None
    if "\x00" in value:
        raise ValueError("contains NUL or a lone surrogate")
    return value


_Storable = AfterValidator(_storable)
ShortText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT_CHARACTERS), _Storable]
Uri = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_URI_CHARACTERS), _Storable
]
CollectionName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), _Storable]


class Hints(BaseModel):
    """What the archive's records say about a photograph. Claims: they may be wrong or hostile.

    `region` is kept to: a place outside it is none. It names countries or first-level divisions, with `;` between
    several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: ShortText | None = None
    region: ShortText | None = None
    date: ShortText | None = None


class LocateRequest(BaseModel):
    """Keyword arguments of the task `geotag.locate.v1`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: Uri
    collection: CollectionName = DEFAULT_COLLECTION
    job_id: uuid.UUID | None = None
    hints: Hints = Field(default_factory=Hints)
    verify: bool = False
    priority: Annotated[int, Field(ge=0, le=1)] = 0

    @property
    def effective_job_id(self) -> str:
        """The caller's `job_id`, or the id that this uri has in this collection."""
        return str(self.job_id or job_id_for(self.collection, self.uri))

    @classmethod
    def read(cls, fields: dict[str, Any]) -> "LocateRequest":
        """Raises `ValueError` with one line that names every bad field."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ValueError(faults_of(error)) from None


class TrainRequest(BaseModel):
    """Keyword arguments of the task `geotag.train.v1`: look whether enough was learnt to train, and do so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: ShortText | None = None
    collection: CollectionName | None = None

    @classmethod
    def read(cls, fields: dict[str, Any]) -> "TrainRequest":
        """Raises `ValueError` with one line that names every bad field."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ValueError(faults_of(error)) from None


def faults_of(error: ValidationError) -> str:
    """One line that names every bad field. It quotes names that the sender chose."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'message'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    )


def job_id_for(collection: str, uri: str) -> uuid.UUID:
    """The id of the one default job for `uri` in `collection`: the same photograph enqueued twice is one job."""
    return uuid.uuid5(JOB_NAMESPACE, f"{collection}\n{uri}")
