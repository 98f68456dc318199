"""The closed lists: what state a job can be in, and why a photograph has no place.

Other programs select on these words, and CHECK constraints in the tables hold them: adding one is a
migration, renaming one is a breaking change.
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. `done`, `failed` and `dead` are final until someone retries them."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    DEAD = "dead"


class Status(StrEnum):
    """What a prediction says."""

    LOCATED = "located"
    NOT_LOCATABLE = "not_locatable"
    FAILED = "failed"


class Outcome(StrEnum):
    """How a done job ended. `known`: the place was known already, so any prediction is only a check."""

    KNOWN = "known"
    LOCATED = "located"
    NOT_LOCATABLE = "not_locatable"


class Granularity(StrEnum):
    """How fine a place is meant, from a doorstep to a country."""

    STREET = "street"
    CITY = "city"
    REGION = "region"
    COUNTRY = "country"


class LabelSource(StrEnum):
    """Who says so. Known places rank manual > exif = xmp > import; predictions are never labels."""

    MANUAL = "manual"
    EXIF = "exif"
    XMP = "xmp"
    IMPORT = "import"


class Reason(StrEnum):
    """Why a job failed, or why a photograph was not placed.

    `sentence` says it to the person who reads the report; `detail` columns add the particulars.
    """

    UNREACHABLE = "unreachable"
    NOT_FOUND = "not_found"
    REFUSED_ADDRESS = "refused_address"
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"
    MODEL_ERROR = "model_error"
    UNPARSABLE = "unparsable"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker_lost"
    INTERNAL_ERROR = "internal_error"
    UNKNOWN_REGION = "unknown_region"
    CANCELLED = "cancelled"
    FORGOTTEN = "forgotten"
    GATE_BELOW_THRESHOLD = "gate_below_threshold"
    NO_PLACE_STATED = "no_place_stated"
    PLACE_UNKNOWN = "place_unknown"
    SAMPLES_DISAGREE = "samples_disagree"
    TOO_UNCERTAIN = "too_uncertain"
    OUTSIDE_REGION = "outside_region"
    ONLY_TEXT_EVIDENCE = "only_text_evidence"

    @property
    def sentence(self) -> str:
        """One sentence for a person, without particulars."""
        return _SENTENCES[self]


class MessageReason(StrEnum):
    """Why a message never became a job, or never reached its receiver. `sentence` says it to a person."""

    UNDECODABLE = "undecodable"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_TYPE = "unknown_type"
    BAD_FIELDS = "bad_fields"
    UNSUPPORTED_OPTION = "unsupported_option"
    TOO_LARGE = "too_large"
    EXPIRED = "expired"
    DELIVERY_LIMIT = "delivery_limit"
    UNDELIVERABLE = "undeliverable"
    DEAD_LETTERED = "dead_lettered"
    INTERNAL_ERROR = "internal_error"

    @property
    def sentence(self) -> str:
        """One sentence for a person, without particulars."""
        return _MESSAGE_SENTENCES[self]


class SubmissionState(StrEnum):
    """Where a row of `submission` stands. `accepted`: there is a job; `refused`: there will be none."""

    NEW = "new"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class ForgetReason(StrEnum):
    """Why a photograph was erased. A code and no words: what is kept must not tell of the photograph."""

    ERASURE_REQUEST = "erasure_request"
    RIGHTS = "rights"
    RETENTION = "retention"
    MISTAKE = "mistake"
    OTHER = "other"


class RunState(StrEnum):
    """Where a training run stands. `queued`: interrupted, and to be gone on with; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunOutcome(StrEnum):
    """How a done training run ended. `skipped`: there was too little to learn from, and nothing was trained."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    SKIPPED = "skipped"


class RunReason(StrEnum):
    """Why a training run failed. `sentence` says it to a person; `detail` columns add the particulars."""

    WRONG_SETUP = "wrong_setup"
    TOO_LITTLE = "too_little"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    WORKER_LOST = "worker_lost"
    ENTROPY_COLLAPSE = "entropy_collapse"
    REWARD_HACKING = "reward_hacking"
    NO_VARIANCE = "no_variance"
    REWARD_FAILED = "reward_failed"
    MODEL_UNUSABLE = "model_unusable"
    INTERNAL_ERROR = "internal_error"

    @property
    def sentence(self) -> str:
        """One sentence for a person, without particulars."""
        return _RUN_SENTENCES[self]


_MESSAGE_SENTENCES = {
    MessageReason.UNDECODABLE: "The body could not be decoded as its content type and encoding say.",
    MessageReason.WRONG_CONTENT_TYPE: "The content type is not JSON.",
    MessageReason.UNKNOWN_TASK: "It asks for a task that is not known here.",
    MessageReason.UNKNOWN_TYPE: "It is of a type or a shape that is not known here.",
    MessageReason.BAD_FIELDS: "Its fields are missing, unknown or wrong.",
    MessageReason.UNSUPPORTED_OPTION: "It asks for more than the work, such as a later time or other tasks.",
    MessageReason.TOO_LARGE: "It is larger than messages may be.",
    MessageReason.EXPIRED: "It came later than its sender allowed.",
    MessageReason.DELIVERY_LIMIT: "Workers gave it back to the broker too often.",
    MessageReason.UNDELIVERABLE: "Its receiver did not take it.",
    MessageReason.DEAD_LETTERED: "The broker put it aside without saying why.",
    MessageReason.INTERNAL_ERROR: "A defect in Globetag stopped the work on this message; the log says more.",
}

_RUN_SENTENCES = {
    RunReason.WRONG_SETUP: "The recipe, the model or a setting is wrong.",
    RunReason.TOO_LITTLE: "There is too little that may be learnt from or judged by.",
    RunReason.OUT_OF_MEMORY: "The memory of the GPU or of the machine was not enough.",
    RunReason.DISK_FULL: "The disk is full.",
    RunReason.WORKER_LOST: "The training process died each time.",
    RunReason.ENTROPY_COLLAPSE: "The model nearly stopped to vary its answers, so that nothing was left to learn.",
    RunReason.REWARD_HACKING: "The reward rose while the held-out photographs were answered worse.",
    RunReason.NO_VARIANCE: "All answers to a question earned the same, so that nothing could be learnt.",
    RunReason.REWARD_FAILED: "A reward could not be worked out.",
    RunReason.MODEL_UNUSABLE: "The trained model could not be loaded, or failed on most photographs.",
    RunReason.INTERNAL_ERROR: "A defect in Globetag stopped the training; the log has the details.",
}

_SENTENCES = {
    Reason.UNREACHABLE: "The photograph could not be fetched.",
    Reason.NOT_FOUND: "There is nothing at this path or address.",
    Reason.REFUSED_ADDRESS: "The address leads into a private network or uses a scheme that is not allowed.",
    Reason.FORBIDDEN: "Reading the photograph was not permitted.",
    Reason.TOO_LARGE: "The file or the picture in it is larger than the limits allow.",
    Reason.EMPTY: "The file is empty.",
    Reason.NOT_AN_IMAGE: "The file is not an image.",
    Reason.UNSUPPORTED: "The image format is known but not supported.",
    Reason.UNREADABLE: "The image is damaged and could not be decoded.",
    Reason.MODEL_ERROR: "The model failed on this photograph.",
    Reason.UNPARSABLE: "The model's answer could not be read as a place.",
    Reason.TIMEOUT: "The work on this photograph took too long and was stopped.",
    Reason.WORKER_LOST: "The worker process died each time it worked on this photograph.",
    Reason.INTERNAL_ERROR: "A defect in Globetag stopped the work on this photograph; the log has the details.",
    Reason.UNKNOWN_REGION: "The region that was given with the photograph is not one that the gazetteer knows.",
    Reason.CANCELLED: "Somebody took it back before it was begun.",
    Reason.FORGOTTEN: "This photograph was erased from the database on request, and is not taken in again.",
    Reason.GATE_BELOW_THRESHOLD: "The gate finds too little in the picture to tell where it was taken.",
    Reason.NO_PLACE_STATED: "The model says that the place cannot be told from this picture.",
    Reason.PLACE_UNKNOWN: "The model named a place that the gazetteer does not know.",
    Reason.SAMPLES_DISAGREE: "Asked several times, the model named places that do not agree with each other.",
    Reason.TOO_UNCERTAIN: "The place is not certain enough for the radius that was asked for.",
    Reason.OUTSIDE_REGION: "The place that was found lies outside the region that was given.",
    Reason.ONLY_TEXT_EVIDENCE: "All that speaks for the place is text in the picture, which may be from anywhere.",
}

REFUSALS = frozenset(
    {
        Reason.GATE_BELOW_THRESHOLD,
        Reason.NO_PLACE_STATED,
        Reason.PLACE_UNKNOWN,
        Reason.SAMPLES_DISAGREE,
        Reason.TOO_UNCERTAIN,
        Reason.OUTSIDE_REGION,
        Reason.ONLY_TEXT_EVIDENCE,
    }
)
"""Reasons that explain a prediction without a place; its job is done."""

FAILURE_REASONS = frozenset(Reason) - REFUSALS
"""Reasons that end a job as failed or dead."""
