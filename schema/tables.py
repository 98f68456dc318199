"""Every table. The models here and the migrations describe the same database; a test compares them.

Narrow rows, wide traces: what people filter on is a typed column, the long text sits one-to-one beside its
prediction. Predictions are append-only. Known places (`label`) and inferred ones (`prediction`) never share a
table. Times are `timestamptz`, distances kilometres, angles degrees (WGS 84).

The file is long on purpose: whoever asks what is stored reads one file.
"""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR, UUID

from schema.reasons import (
    ForgetReason,
    Granularity,
    JobState,
    LabelSource,
    MessageReason,
    Reason,
    RunOutcome,
    RunReason,
    RunState,
    Status,
    SubmissionState,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


_Words = type[
    JobState
    | Status
    | Granularity
    | LabelSource
    | Reason
    | MessageReason
    | RunState
    | RunOutcome
    | RunReason
    | SubmissionState
    | ForgetReason
]


def _one_of(column: str, words: _Words) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _cell(axis: str) -> Column[float]:
    comment = "The middle of the grid cell that readers see under a precision cap. Kept by triggers"
    return Column(f"cell_{axis}", Double, comment=comment)


def _shown_place() -> tuple[TextClause, TextClause]:
    """A point as views show it: their very expressions, so that an index serves them."""
    return text("COALESCE(cell_lat, lat)"), text("COALESCE(cell_lon, lon)")


def _on_earth() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint("lat BETWEEN -90 AND 90", name="lat_range"),
        CheckConstraint("lon BETWEEN -180 AND 180", name="lon_range"),
        CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="lat_with_lon"),
    )


collection = Table(
    "collection",
    metadata,
    _key(),
    Column("name", Text, nullable=False, unique=True),
    _created_at(),
    Column(
        "training_consent",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="May models be trained on its photographs? Nobody has agreed until somebody says so",
    ),
    Column("training_consent_at", DateTime(timezone=True), comment="When it was last granted or withdrawn"),
    Column("training_consent_by", Text, comment="Who did"),
    Column("region", Text, comment="All its photographs were taken there; NULL = anywhere"),
    Column("max_radius_km", Double, comment="A place with a wider radius is no place for it"),
    Column(
        "paused_at",
        DateTime(timezone=True),
        comment="Since when none of its photographs is begun; NULL = it is worked on",
    ),
    Column("precision_km", Double, comment="Readers see its places no finer than this; NULL = in full"),
    CheckConstraint("max_radius_km > 0", name="max_radius_km"),
    CheckConstraint("precision_km BETWEEN 0.1 AND 5000", name="precision_km"),
    comment="A named set of photographs: an archive, a fonds, one customer.",
)

model_version = Table(
    "model_version",
    metadata,
    _key(),
    Column("kind", Text, nullable=False, comment="lvlm or gate"),
    Column("name", Text, nullable=False, comment="Hub id, folder or open_clip name, as the operator chose it"),
    Column("version", Text, nullable=False, comment="Hash of the weights and of all that changes an output"),
    Column(
        "untrained",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Random weights: its output is plumbing and says nothing about the photograph",
    ),
    Column("card", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _created_at(),
    Column("base", Text, comment="The GLOBETAG_MODEL that it may be promoted for; NULL = not registered"),
    Column("folder", Text, comment="Where its weights lie, for those that were trained here"),
    Column("files", JSONB, comment="{file name: SHA-256 of the file} as it was registered"),
    Column("metrics", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="As it was judged"),
    Column("parent_id", ForeignKey("model_version.id"), comment="The version that its training began from"),
    Column("training_run_id", ForeignKey("training_run.id", use_alter=True), comment="The run that made it"),
    Column("curation_id", ForeignKey("curation.id"), comment="What it has learnt from"),
    UniqueConstraint("kind", "name", "version"),
    CheckConstraint("num_nulls(base, folder, files) IN (0, 3)", name="registered_whole"),
    comment="Every model that has ever answered here or was registered to.",
)

promotion = Table(
    "promotion",
    metadata,
    _key(),
    Column("base", Text, nullable=False, comment="The GLOBETAG_MODEL whose workers it counts for"),
    Column("model_version_id", ForeignKey("model_version.id"), comment="What serves; NULL = the base itself"),
    Column("previous_id", ForeignKey("model_version.id"), comment="What served before; NULL = the base itself"),
    Column("action", Text, nullable=False),
    Column("by", Text, nullable=False, comment="Who did it: a person, or the trainer"),
    Column("reason", Text, nullable=False),
    Column("evidence", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="What it rests upon"),
    _created_at(),
    CheckConstraint("action IN ('promote', 'rollback')", name="action"),
    CheckConstraint("action = 'rollback' OR model_version_id IS NOT NULL", name="promotes_something"),
    Index("ix_promotion_base", "base", "id"),
    comment="What serves, since when and why: the newest row of each base counts. Append-only.",
)

promotion_failure = Table(
    "promotion_failure",
    metadata,
    _key(),
    Column("promotion_id", ForeignKey("promotion.id"), nullable=False),
    Column("worker", Text, nullable=False, comment="It goes on with the version that it had"),
    Column("detail", Text, nullable=False),
    _created_at(),
    Index("ix_promotion_failure_promotion_id", "promotion_id"),
    comment="Promoted models that a running worker could not load.",
)

calibration = Table(
    "calibration",
    metadata,
    _key(),
    Column("model_version_id", ForeignKey("model_version.id"), nullable=False),
    Column("version", Text, nullable=False, unique=True),
    Column("coverage", Double, nullable=False, comment="Share of true places promised inside radius_km"),
    Column("parameters", JSONB, nullable=False),
    _created_at(),
    Column("collection_id", ForeignKey("collection.id"), comment="For its photographs; NULL = for all others"),
    Column("answers_version", Text, comment="As in prediction: it is good for these answers and no others"),
    Column("photographs", Integer, comment="Located ones with a known place that it was made from"),
    Column("clusters", Integer, comment="Places and series that they come from: so many independent witnesses"),
    Column("figures", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="As it was checked"),
    Column("expires_at", DateTime(timezone=True), comment="No worker uses it after that"),
    Index("ix_calibration_answers_version", "answers_version"),
    comment="What turns the difficulty of an answer into a radius with a stated coverage. Append-only.",
)

training_run = Table(
    "training_run",
    metadata,
    _key(),
    Column("asked_by", Text, nullable=False, comment="schedule or person"),
    Column("message_id", Text, unique=True, comment="Of the message that asked; a second delivery finds its run"),
    Column("base", Text, nullable=False, comment="The value of GLOBETAG_MODEL that it trains for"),
    Column("recipe", Text, nullable=False),
    Column("collection", Text, comment="The one collection whose labels are learnt from; NULL = all"),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("outcome", Text, comment="For done runs: promoted, refused or skipped"),
    Column("reason", Text, comment="Why it failed"),
    Column("detail", Text, comment="In words: what was wrong, or why it ended as it did"),
    Column("settings", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("curation_id", ForeignKey("curation.id"), comment="What it learnt from"),
    Column(
        "base_version_id",
        ForeignKey("model_version.id"),
        comment="The served version that it started from; NULL = the base itself",
    ),
    Column("model_version_id", ForeignKey("model_version.id"), comment="What the run produced"),
    Column(
        "progress",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="{stage, step, steps, figures}: where it stands, and the newest figures",
    ),
    Column("metrics", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("worker", Text, comment="The process that runs it, or did last"),
    Column("losses", Integer, nullable=False, server_default=text("0"), comment="Times its process died with it"),
    _created_at(),
    Column("started_at", DateTime(timezone=True)),
    Column("heartbeat_at", DateTime(timezone=True), comment="When its process was last heard of"),
    Column("cancel_requested_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    _one_of("state", RunState),
    _one_of("outcome", RunOutcome),
    _one_of("reason", RunReason),
    CheckConstraint("asked_by IN ('schedule', 'person')", name="asked_by"),
    CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="done_has_outcome"),
    CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", name="failure_has_reason"),
    CheckConstraint(
        "(state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="final_is_finished"
    ),
    CheckConstraint("outcome <> 'promoted' OR model_version_id IS NOT NULL", name="promoted_has_model"),
    Index(
        "uq_training_run_open",
        text("(true)"),
        unique=True,
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
    comment="Runs of the trainer, with their settings and metrics. At most one is queued or running.",
)

image = Table(
    "image",
    metadata,
    _key(),
    Column("sha256", Text, nullable=False, unique=True, comment="Of the file's bytes, hexadecimal"),
    Column("format", Text, nullable=False),
    Column("width_px", Integer, nullable=False, comment="As shown, after the EXIF turn"),
    Column("height_px", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("taken_at", DateTime(timezone=False), comment="Camera clock, local time of the place; often wrong"),
    Column("caption", Text, comment="What the file says of itself: untrusted text"),
    Column("data_mining", Text, comment="plus:DataMining (IPTC 2023.1); the trainer honours it"),
    Column("metadata_notes", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("embedding", HALFVEC(), comment="L2-normalised CLIP embedding of embedding_model_id"),
    Column("embedding_model_id", ForeignKey("model_version.id")),
    _created_at(),
    Column(
        "precision_km",
        Double,
        comment="The strictest cap of the collections that hold it (of all, where none does). Kept by triggers",
    ),
    comment="One row for each distinct file content that was ever decoded.",
)

label = Table(
    "label",
    metadata,
    _key(),
    Column("image_id", ForeignKey("image.id", ondelete="CASCADE"), nullable=False),
    Column("source", Text, nullable=False),
    Column("lat", Double, nullable=False),
    Column("lon", Double, nullable=False),
    Column("accuracy_m", Double, comment="GPSHPositioningError, or as the author states"),
    Column("country_code", Text),
    Column("region", Text),
    Column("city", Text),
    Column("geoname_id", BigInteger),
    Column("author", Text, comment="Who set it, for manual and imported labels"),
    Column("note", Text),
    _created_at(),
    _cell("lat"),
    _cell("lon"),
    _one_of("source", LabelSource),
    *_on_earth(),
    Index("ix_label_image_id", "image_id"),
    Index("ix_label_place", *_shown_place()),
    Index(
        "uq_label_from_file",
        "image_id",
        "source",
        unique=True,
        postgresql_where=text("source IN ('exif', 'xmp')"),
    ),
    comment="Known places: truth, by source. Append-only; the latest of the highest source counts.",
)

prediction = Table(
    "prediction",
    metadata,
    _key(),
    Column("image_id", ForeignKey("image.id", ondelete="CASCADE"), nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, comment="Why there is no place"),
    Column("detail", Text),
    Column("lat", Double),
    Column("lon", Double),
    Column("radius_km", Double),
    Column("coverage", Double, comment="Share of true places inside radius_km; NULL = nominal, not calibrated"),
    Column("granularity", Text),
    Column("country_code", Text, comment="ISO 3166-1 alpha-2"),
    Column("region", Text),
    Column("city", Text),
    Column("geoname_id", BigInteger),
    Column("stated_place", Text, comment="The place in the model's own words, known to the gazetteer or not"),
    Column("confidence", Double, comment="NULL until a calibration exists"),
    Column("gate_score", Double),
    Column("alternatives", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column(
        "suggestions",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="Known places of near-duplicates and of the same series; the view suggestion shows them",
    ),
    Column("notes", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("pipeline_version", Text, nullable=False, comment="Hash over all versions and settings below"),
    Column("request_hash", Text, nullable=False, comment="Hash of the hints and options of the request"),
    Column("model_version_id", ForeignKey("model_version.id"), nullable=False),
    Column("gate_version_id", ForeignKey("model_version.id"), nullable=False),
    Column("calibration_id", ForeignKey("calibration.id")),
    Column("prompt_hash", Text, nullable=False),
    Column("sampling", JSONB, nullable=False),
    Column("gazetteer_version", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    _created_at(),
    Column("answers_version", Text, comment="pipeline_version without calibrations; NULL = the same as that"),
    Column("difficulty", JSONB, comment="The signs that the radius follows from; NULL = no place was chosen"),
    _cell("lat"),
    _cell("lon"),
    Column(
        "known",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Its image has a label: nothing to review. Kept by triggers",
    ),
    _one_of("status", Status),
    _one_of("reason", Reason),
    _one_of("granularity", Granularity),
    *_on_earth(),
    CheckConstraint("status <> 'located' OR lat IS NOT NULL", name="located_has_point"),
    CheckConstraint("status = 'located' OR lat IS NULL", name="only_located_has_point"),
    CheckConstraint("status = 'located' OR reason IS NOT NULL", name="refusal_has_reason"),
    Index("ix_prediction_image_id", "image_id"),
    Index("ix_prediction_place", *_shown_place(), postgresql_where=text("status = 'located'")),
    Index(
        "ix_prediction_review",
        text("radius_km DESC NULLS FIRST"),
        "id",
        postgresql_where=text("status <> 'failed' AND NOT known"),
    ),
    Index(
        "uq_prediction_answer",
        "image_id",
        "pipeline_version",
        "request_hash",
        unique=True,
        postgresql_where=text("status <> 'failed'"),
    ),
    comment="What a model said of an image. Append-only; never truth.",
)

trace = Table(
    "trace",
    metadata,
    Column("prediction_id", ForeignKey("prediction.id", ondelete="CASCADE"), primary_key=True),
    Column("reasoning", Text, nullable=False, comment="The model's stated reasons: a claim, not evidence"),
    Column("answer", Text, nullable=False, comment="The raw completion, as printed"),
    Column(
        "cues",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="[{text, supported}]; supported is null where nobody has checked the picture",
    ),
    Column("tokens", Integer),
    Column("mean_logprob", REAL),
    Column("finish_reason", Text),
    Column(
        "samples",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="The other answers of the same model to the same question, in the order in which they were drawn",
    ),
    Column(
        "search",
        TSVECTOR,
        Computed("to_tsvector('simple', left(reasoning, 200000))", persisted=True),
        nullable=False,
    ),
    Column(
        "injected_text",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="Passages that read like instructions to a model: the picture may try to steer it. A heuristic",
    ),
    Column(
        "withheld",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="The image has a precision cap, so that views show no text. Kept by triggers",
    ),
    # The very expression of the views: what is withheld cannot be searched, and the index still serves. (Broken
    # into lines as Postgres tells it, for Alembic compares the two.)
    Index(
        "ix_trace_search_shown",
        text("(\nCASE\n WHEN withheld THEN NULL\n ELSE search\nEND)"),
        postgresql_using="gin",
    ),
    comment="What the model printed, one-to-one with its prediction.",
)

job = Table(
    "job",
    metadata,
    Column("id", UUID(as_uuid=False), primary_key=True, comment="By default derived from collection and uri"),
    Column("collection_id", ForeignKey("collection.id"), nullable=False),
    Column("uri", Text, nullable=False),
    Column("source_tag", Text, comment="Size and time or ETag of the source when it was enqueued"),
    Column("source_sequence", Text, comment="S3's sequencer of the newest event about the source"),
    Column("hints", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("verify", Boolean, nullable=False, server_default=text("false")),
    Column("priority", SmallInteger, nullable=False, server_default=text("0"), comment="0 bulk, 1 interactive"),
    Column("batch_id", UUID(as_uuid=False), comment="The submission that named this job last"),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("outcome", Text, comment="For done jobs: known, located or not_locatable"),
    Column(
        "reused",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Answered from an earlier row",
    ),
    Column("reason", Text),
    Column("detail", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="Counted before the work"),
    Column("losses", Integer, nullable=False, server_default=text("0"), comment="Times the worker died with it"),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("published_at", DateTime(timezone=True), comment="When the broker was last told"),
    Column("lease_until", DateTime(timezone=True), comment="The worker's promise to be alive, while running"),
    Column("worker", Text),
    Column("image_id", ForeignKey("image.id", ondelete="SET NULL")),
    Column("prediction_id", ForeignKey("prediction.id", ondelete="SET NULL")),
    Column("pipeline_version", Text, comment="The pipeline that settled it"),
    _created_at(),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column(
        "put_off_since",
        DateTime(timezone=True),
        comment="Since when it waits, untried, for a host or server that answers nobody",
    ),
    _one_of("state", JobState),
    _one_of("reason", Reason),
    CheckConstraint("outcome IN ('known', 'located', 'not_locatable')", name="outcome"),
    CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="done_has_outcome"),
    CheckConstraint("state NOT IN ('failed', 'dead') OR reason IS NOT NULL", name="failure_has_reason"),
    Index(
        "ix_job_due",
        "collection_id",
        "priority",
        "due_at",
        postgresql_where=text("state = 'queued' AND published_at IS NULL"),
    ),
    Index(
        "ix_job_told",
        "priority",
        "published_at",
        postgresql_where=text("state = 'queued' AND published_at IS NOT NULL"),
    ),
    Index("ix_job_lease", "lease_until", postgresql_where=text("state = 'running'")),
    Index("ix_job_suspect", "due_at", postgresql_where=text("losses > 0 AND state IN ('queued', 'running')")),
    Index("ix_job_batch", "batch_id", "state"),
    Index("ix_job_collection_id", "collection_id", "state"),
    Index("ix_job_image_id", "image_id", postgresql_where=text("image_id IS NOT NULL")),
    Index("ix_job_prediction_id", "prediction_id", postgresql_where=text("prediction_id IS NOT NULL")),
    comment="One request to place one photograph. Postgres is the truth, the broker is a wake-up.",
)

outbox = Table(
    "outbox",
    metadata,
    _key(),
    Column("event_id", UUID(as_uuid=False), nullable=False, server_default=func.gen_random_uuid()),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="The job's id; of a promotion the base that it counts for"),
    Column("collection_id", BigInteger, comment="No foreign keys here: the row is made while a job is settled"),
    Column("image_id", BigInteger),
    Column("prediction_id", BigInteger, comment="Places are read when an event is sent; none is kept here"),
    Column("data", JSONB, nullable=False, comment="What changes when the job is tried again"),
    _created_at(),
    Column("position", BigInteger, unique=True, comment="In the order in which they became visible; for cursors"),
    Column("sent_at", DateTime(timezone=True), comment="When the exchange had it, or needed it no longer"),
    Index("ix_outbox_unplaced", "id", postgresql_where=text("position IS NULL")),
    Index("ix_outbox_unsent", "position", postgresql_where=text("position IS NOT NULL AND sent_at IS NULL")),
    comment="Events that were committed, for those who want them. Written by triggers, pruned after a while.",
)

outbox_state = Table(
    "outbox_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("publish", Boolean, nullable=False, comment="Are events made for everybody (GLOBETAG_EVENTS)?"),
    Column("last_position", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("id = 1", name="single"),
    comment="One row: whether events are wanted, and the last position that one was given.",
)

webhook = Table(
    "webhook",
    metadata,
    _key(),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False, comment="Signs what is sent, so it stands here in clear; no reader's"),
    Column("previous_secret", Text, comment="Signs too until previous_until, while the receiver changes over"),
    Column("previous_until", DateTime(timezone=True)),
    Column("types", JSONB, comment="The event types that it gets; NULL = all"),
    Column("collection_id", ForeignKey("collection.id", ondelete="CASCADE"), comment="NULL = all collections"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("disabled_reason", Text),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="Since the last success"),
    Column("failing_since", DateTime(timezone=True)),
    Column("not_before", DateTime(timezone=True), comment="While it fails it is tried with one event at a time"),
    _created_at(),
    CheckConstraint("enabled OR disabled_reason IS NOT NULL", name="disabled_has_reason"),
    comment="Addresses that events are posted to, signed (Standard Webhooks).",
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("webhook_id", ForeignKey("webhook.id", ondelete="CASCADE"), primary_key=True),
    Column("outbox_id", ForeignKey("outbox.id", ondelete="CASCADE"), primary_key=True),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="Counted before the request"),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("status", Integer, comment="Of the last answer; NULL = there was none"),
    Column("problem", Text, comment="Why the last attempt failed"),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    CheckConstraint("state <> 'dead' OR problem IS NOT NULL", name="dead_has_problem"),
    Index(
        "ix_webhook_delivery_due",
        "webhook_id",
        "due_at",
        "outbox_id",
        postgresql_where=text("state = 'pending'"),
    ),
    Index("ix_webhook_delivery_outbox_id", "outbox_id"),
    comment="Events on their way to webhooks, and what became of them.",
)

gallery = Table(
    "gallery",
    metadata,
    Column("image_id", ForeignKey("image.id", ondelete="CASCADE"), primary_key=True),
    Column("collection_id", ForeignKey("collection.id"), primary_key=True),
    Column("embedding_model_id", ForeignKey("model_version.id"), nullable=False),
    Column("embedding", HALFVEC(), nullable=False, comment="As in image; never of length zero"),
    Column("taken_at", DateTime(timezone=False), comment="As in image"),
    Index("ix_gallery_model", "embedding_model_id", "collection_id", "image_id"),
    Index("ix_gallery_taken_at", "collection_id", "taken_at", postgresql_where=text("taken_at IS NOT NULL")),
    comment="Embedded photographs with a known place, by collection: what recall searches. Kept by triggers.",
)

curation = Table(
    "curation",
    metadata,
    _key(),
    Column("hash", Text, nullable=False, unique=True, comment="SHA-256 over parameters, seed, members and counts"),
    Column("collection", Text, comment="The name of the one collection that was drawn from; NULL = all"),
    Column("labels_until", BigInteger, nullable=False, comment="The newest label that was looked at"),
    Column("parameters", JSONB, nullable=False, comment="All that was chosen, the seed included"),
    Column("labels_in", Integer, nullable=False, comment="= train + held_out + the sum of dropped"),
    Column("train", Integer, nullable=False),
    Column("held_out", Integer, nullable=False),
    Column("dropped", JSONB, nullable=False, comment="{filter: photographs that it dropped}"),
    _created_at(),
    CheckConstraint("train >= 0 AND held_out >= 0 AND labels_in >= train + held_out", name="adds_up"),
    comment="Manifests of training data: what was learnt from and what was held out. Immutable.",
)

curation_member = Table(
    "curation_member",
    metadata,
    Column("curation_id", ForeignKey("curation.id"), primary_key=True),
    Column(
        "image_id",
        ForeignKey("image.id", ondelete="CASCADE"),
        primary_key=True,
        comment="An erased photograph leaves its manifests too",
    ),
    Column("side", Text, nullable=False, comment="train or held_out. Once held out, always held out"),
    Column("sha256", Text, nullable=False, comment="Of the original that was labelled; a changed one is not used"),
    Column("label_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False, comment="The label's: manual, exif, xmp or import"),
    Column("lat", Double, nullable=False),
    Column("lon", Double, nullable=False),
    Column("country_code", Text, nullable=False),
    Column("region", Text),
    Column("city", Text),
    Column("geoname_id", BigInteger),
    Column("cell", Text, nullable=False, comment="Of the grid of cell_km: both sides never share one"),
    Column("uri", Text, nullable=False, comment="Where the original was"),
    _one_of("source", LabelSource),
    CheckConstraint("side IN ('train', 'held_out')", name="side"),
    *_on_earth(),
    Index("ix_curation_member_image_id", "image_id"),
    comment="The photographs of a manifest, with the known place that each was taken in with. Immutable.",
)

dead_message = Table(
    "dead_message",
    metadata,
    _key(),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("queue", Text, nullable=False, comment="Where it came in; a replay puts it back there"),
    Column(
        "source",
        Text,
        nullable=False,
        comment="By which way in or out: celery, ingress, s3, cloudevents, http, sql, webhook, …",
    ),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False, comment="In words; may quote the message, so untrusted"),
    Column("body", LargeBinary, comment="Its first 64 KiB, raw; NULL once dropped"),
    Column("body_bytes", BigInteger, nullable=False, comment="Its true size"),
    Column(
        "headers",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="Bounded, without what looks like a secret",
    ),
    Column(
        "properties",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="Of AMQP: content_type, content_encoding, message_id, …; bounded",
    ),
    Column(
        "fingerprint",
        Text,
        nullable=False,
        comment="SHA-256 of queue, headers, ids and whole body: delivered again, it is one row",
    ),
    Column(
        "times",
        Integer,
        nullable=False,
        server_default=text("1"),
        comment="How often it was refused: delivered again, or sent again word for word",
    ),
    Column("last_refused_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("replayed_at", DateTime(timezone=True), comment="When it was put back"),
    Column("dropped_at", DateTime(timezone=True), comment="When its body was erased"),
    Column("by", Text, comment="Who replayed or dropped it"),
    _one_of("reason", MessageReason),
    CheckConstraint("octet_length(body) <= 65536", name="body_bounded"),
    CheckConstraint("num_nonnulls(replayed_at, dropped_at) <= 1", name="closed_once"),
    CheckConstraint("(num_nonnulls(replayed_at, dropped_at) = 0) = (by IS NULL)", name="closed_by"),
    Index(
        "uq_dead_message_open",
        "fingerprint",
        unique=True,
        postgresql_where=text("replayed_at IS NULL AND dropped_at IS NULL"),
    ),
    comment="Messages that never became jobs, raw, with the reason. `globetag dead` replays or drops them.",
)

submission = Table(
    "submission",
    metadata,
    _key(),
    Column("uri", Text, nullable=False),
    Column("collection", Text, nullable=False, server_default=text("'default'")),
    Column("hints", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="text, region, date"),
    Column("verify", Boolean, nullable=False, server_default=text("false")),
    Column("priority", SmallInteger, nullable=False, server_default=text("0"), comment="0 bulk, 1 interactive"),
    Column("source_tag", Text, comment="ETag or the like; a photograph whose tag has changed is queued again"),
    Column("source_sequence", Text, comment="As in job"),
    Column("job_id", UUID(as_uuid=False), comment="Chosen by the producer, else the job that it became"),
    Column("state", Text, nullable=False, server_default=text("'new'")),
    Column("reason", Text, comment="Why it was refused, one of MessageReason"),
    Column("detail", Text, comment="The same in words"),
    Column("submitted_by", Text, nullable=False, server_default=text("SESSION_USER"), comment="Who logged in"),
    _created_at(),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("settled_at", DateTime(timezone=True), comment="When it was accepted or refused"),
    _one_of("state", SubmissionState),
    CheckConstraint("(state = 'refused') = (reason IS NOT NULL)", name="refusal_has_reason"),
    CheckConstraint("(state = 'new') = (settled_at IS NULL)", name="settled_has_time"),
    CheckConstraint("state <> 'accepted' OR job_id IS NOT NULL", name="accepted_has_job"),
    CheckConstraint(
        "char_length(uri) <= 8192 AND char_length(collection) <= 200 AND char_length(source_tag) <= 200"
        " AND octet_length(CAST(hints AS text)) <= 65536",
        name="bounded",
    ),
    Index("ix_submission_due", "due_at", postgresql_where=text("state = 'new'")),
    Index("ix_submission_submitted_by", "submitted_by", "id"),
    Index("ix_submission_settled", "settled_at", postgresql_where=text("state = 'accepted'")),
    comment="Photographs that programs ask for with SQL. `globetag ingress` makes jobs of them, or says why not.",
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("caller", Text, primary_key=True, comment="The name of the token that was shown"),
    Column("key", Text, primary_key=True, comment="As in the header Idempotency-Key"),
    Column("fingerprint", Text, nullable=False, comment="SHA-256 of what was asked"),
    Column("answer", JSONB, nullable=False, comment="What was answered: ids and states of jobs"),
    _created_at(),
    Index("ix_idempotency_key_created_at", "created_at"),
    comment="Answers of the HTTP interface, for requests that are sent again. Kept for a day.",
)

forgotten = Table(
    "forgotten",
    metadata,
    Column("sha256", Text, primary_key=True, comment="Of the content that was erased and may not come back"),
    Column("forgotten_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("forgotten_by", Text, nullable=False, comment="Who had it erased"),
    Column("reason", Text, nullable=False),
    _one_of("reason", ForgetReason),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    comment="Photographs that were erased. Nothing is kept of them but the hash that they are refused by.",
)

position_read = Table(
    "position_read",
    metadata,
    _key(),
    Column("request_id", UUID(as_uuid=False), nullable=False, comment="Photographs that were asked for together"),
    Column("sha256", Text, nullable=False, comment="Of the photograph whose position was asked for"),
    Column("read_by", Text, nullable=False, comment="The login, whatever role it had put on"),
    Column("purpose", Text, nullable=False, comment="In the reader's own words"),
    Column("read_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "transaction", BigInteger, nullable=False, comment="In which it was asked; answered is only in a later one"
    ),
    CheckConstraint("length(btrim(purpose)) >= 5", name="purpose"),
    Index("ix_position_read_request_id", "request_id"),
    Index("ix_position_read_sha256", "sha256"),
    comment="Who asked for which precise position, when and what for. Append-only.",
)

calibration_renewal = Table(
    "calibration_renewal",
    metadata,
    _key(),
    Column("base", Text, nullable=False, comment="The GLOBETAG_MODEL whose answers are calibrated"),
    Column("model_version_id", ForeignKey("model_version.id"), comment="What serves; NULL = the base itself"),
    Column("cause", Text, nullable=False, comment="promotion, expiry or settings"),
    Column("state", Text, nullable=False, server_default=text("'asking'")),
    Column("batch_id", UUID(as_uuid=False), nullable=False, comment="Of the jobs that it has queued"),
    Column("asked", Integer, nullable=False, comment="Photographs of known place that it has asked about"),
    Column("times", Integer, nullable=False, server_default=text("1"), comment="So often has it asked"),
    Column("answers_version", Text, comment="As in prediction, when it ended; NULL = nothing was answered"),
    Column("detail", Text, comment="What came of it, in words"),
    Column("labels_until", BigInteger, comment="The newest label when it ended"),
    Column("predictions_until", BigInteger, comment="The newest prediction when it ended"),
    _created_at(),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("cause IN ('promotion', 'expiry', 'settings')", name="cause"),
    CheckConstraint("state IN ('asking', 'done', 'refused', 'superseded')", name="state"),
    CheckConstraint("(state = 'asking') = (finished_at IS NULL)", name="final_is_finished"),
    Index("uq_calibration_renewal_open", "base", unique=True, postgresql_where=text("state = 'asking'")),
    Index("ix_calibration_renewal_base", "base", "id"),
    comment="Calibrations that are made anew by the training worker. At most one of a base asks at a time.",
)

distillation = Table(
    "distillation",
    metadata,
    _key(),
    Column("name", Text, nullable=False, unique=True),
    Column("source", JSONB, nullable=False, comment="{kind: curation, folder or mp16, ...}: whose photographs"),
    Column("collection", Text, comment="The name of the one collection that was drawn from; NULL = all, or none"),
    Column("curation_id", ForeignKey("curation.id"), comment="The manifest that the photographs come from"),
    Column(
        "teachers",
        JSONB,
        nullable=False,
        comment="[{name, kind, model, url, prompt_hash, sampling, prices, ...}] without secrets",
    ),
    Column("parameters", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="Of verification"),
    Column("state", Text, nullable=False, server_default=text("'planned'")),
    Column("detail", Text, comment="In words: why it stands as it does"),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="Of the last run"),
    Column(
        "standing",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="{teacher: {quarantined: trouble or null, detail, control: what it said of a grey picture}}",
    ),
    _created_at(),
    Column("started_at", DateTime(timezone=True), comment="When its first question went out"),
    Column("finished_at", DateTime(timezone=True), comment="When it was last done, failed or interrupted"),
    Column("heartbeat_at", DateTime(timezone=True), comment="When its process was last heard of"),
    CheckConstraint("state IN ('planned', 'running', 'verifying', 'done', 'failed', 'interrupted')", name="state"),
    Index("ix_distillation_curation_id", "curation_id"),
    comment="Questions to teachers about photographs of known place: whose, by whom, how far they are.",
)

distilled = Table(
    "distilled",
    metadata,
    Column("distillation_id", ForeignKey("distillation.id"), primary_key=True),
    Column(
        "sha256", Text, primary_key=True, comment="Of the photograph's bytes; a changed file is not asked about"
    ),
    Column("image_id", ForeignKey("image.id", ondelete="CASCADE"), comment="Its row, where it is of the archive"),
    Column("label_id", BigInteger, comment="The label that its place comes from"),
    Column("uri", Text, nullable=False),
    Column("lat", Double, nullable=False),
    Column("lon", Double, nullable=False),
    Column("country_code", Text),
    Column("country", Text),
    Column("region", Text),
    Column("city", Text),
    Column("geoname_id", BigInteger),
    Column("grouped_by", Text, comment="Photographer or series: a split keeps these together"),
    Column("licence", Text, comment="As its source states it"),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("reason", Text, comment="Why it was left out: changed, or as a job's reason"),
    CheckConstraint("state IN ('open', 'done', 'left_out')", name="state"),
    CheckConstraint("(state = 'left_out') = (reason IS NOT NULL)", name="left_out_has_reason"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    *_on_earth(),
    Index("ix_distilled_image_id", "image_id"),
    Index("ix_distilled_sha256", "sha256"),
    comment="The photographs of a distillation, with their known place.",
)

teacher_answer = Table(
    "teacher_answer",
    metadata,
    Column("distillation_id", BigInteger, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("teacher", Text, primary_key=True),
    Column(
        "state",
        Text,
        nullable=False,
        server_default=text("'asked'"),
        comment="asked: committed before the question goes out",
    ),
    Column("trouble", Text, comment="Why it is no opinion, as it was judged when it came"),
    Column("detail", Text, comment="The same in words; may quote the teacher, so untrusted"),
    Column("raw", Text, comment="Word for word what a language teacher said; NULL = nothing came"),
    Column("finish_reason", Text, comment="stop, or length where the token limit cut it"),
    Column("lat", Double, comment="What a coordinate teacher said"),
    Column("lon", Double),
    Column("confidence", Double, comment="Its own, 0..1"),
    Column("asks", Integer, nullable=False, server_default=text("1"), comment="How often the question went out"),
    Column("asked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("answered_at", DateTime(timezone=True)),
    Column("took_s", Double, comment="From question to answer, retries and waits for the teacher left out"),
    Column("model", Text, comment="What the server says that it is"),
    Column("prompt_hash", Text),
    Column("sampling", JSONB),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    ForeignKeyConstraint(
        ["distillation_id", "sha256"], ["distilled.distillation_id", "distilled.sha256"], ondelete="CASCADE"
    ),
    CheckConstraint("state IN ('asked', 'answered', 'troubled')", name="state"),
    CheckConstraint("(state = 'troubled') = (trouble IS NOT NULL)", name="trouble_is_named"),
    CheckConstraint(
        "trouble IN ('unreachable', 'timeout', 'error', 'refused', 'empty', 'cut', 'unreadable', 'other_language',"
        " 'same_for_all', 'no_picture')",
        name="trouble",
    ),
    CheckConstraint("state <> 'answered' OR num_nonnulls(raw, lat) >= 1", name="answered_says_something"),
    CheckConstraint("finish_reason IN ('stop', 'length')", name="finish_reason"),
    CheckConstraint("asks >= 1", name="asks"),
    CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
    *_on_earth(),
    comment="What each teacher said of each photograph, word for word. It is read anew each time it is used.",
)

distilled_sample = Table(
    "distilled_sample",
    metadata,
    Column("distillation_id", BigInteger, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("teacher", Text, primary_key=True),
    Column("kept", Boolean, nullable=False),
    Column(
        "chosen",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="The best kept one of its photograph, which is learnt from",
    ),
    Column("dropped_by", Text, comment="The step of verification that dropped it"),
    Column("reason", Text, comment="Why, one of the step's own list"),
    Column("reasoning", Text, nullable=False, comment="The teacher's stated reasons: claims, not evidence"),
    Column("answer", Text, nullable=False, comment="Its place in the worker's answer grammar"),
    Column(
        "cues",
        JSONB,
        nullable=False,
        server_default=text("'[]'::jsonb"),
        comment="[{text, visible: true, false or null, by, score}]",
    ),
    Column("measures", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="{name: number}"),
    Column("verified_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["distillation_id", "sha256", "teacher"],
        ["teacher_answer.distillation_id", "teacher_answer.sha256", "teacher_answer.teacher"],
        name="fk_distilled_sample_answer",
        ondelete="CASCADE",
    ),
    CheckConstraint("dropped_by IN ('locatable', 'place', 'agreement', 'visible')", name="dropped_by"),
    CheckConstraint("kept = (dropped_by IS NULL) AND kept = (reason IS NULL)", name="dropped_has_reason"),
    CheckConstraint("kept OR NOT chosen", name="chosen_is_kept"),
    Index(
        "uq_distilled_sample_chosen",
        "distillation_id",
        "sha256",
        unique=True,
        postgresql_where=text("chosen"),
    ),
    comment="What became of each language teacher's reasons and place in verification. Made anew by each.",
)
