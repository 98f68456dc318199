"""All settings: one frozen object, read in this file and nowhere else.

A setting comes from the environment (`GLOBETAG_*`), else from `settings.env` in `GLOBETAG_HOME`, else it has
its default. All faults are reported at once. `globetag settings` prints each value with where it came from.
"""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from worker.errors import SetupError
from worker.http.tokens import read_tokens
from worker.place.doubt import MIN_AGREEMENT

PREFIX = "GLOBETAG_"
_FILE_NAME = "settings.env"

_SEPARATORS = {"file_roots": ":", "private_hosts": ",", "allow_hosts": ",", "allow_buckets": ","}

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]

JUDGED_KM = (1, 25, 200, 750, 2500)
"""The distances at which models are judged (`trainer.judge.columns.THRESHOLDS_KM`)."""


def _judged(radius_km: int) -> int:
    if radius_km not in JUDGED_KM:
        raise ValueError(f"models are judged at {', '.join(map(str, JUDGED_KM))} km")
    return radius_km


def _readable_tokens(text: str) -> str:
    read_tokens(text)
    return text


def _server_address(text: str) -> str:
    """The address without a slash at its end. No message repeats it: there may be a password in it."""
    parts = urlsplit(text)  # a ValueError of its own for brackets that do not match
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("it must look like http://host:8000/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("it must hold no user, password, ? or #; a key goes into GLOBETAG_MODEL_SERVER_KEY")
    return text.rstrip("/")


def _header_word(text: str) -> str:
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("it must be one word of printable ASCII characters")
    return text


class Settings(BaseModel):
    """Field `x` is the environment variable `GLOBETAG_X`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(Path(".globetag"), description="Folder of the embedded Postgres, models and reports")
    database_url: str | None = Field(
        None, description="postgresql://…; unset: an embedded Postgres in GLOBETAG_HOME", repr=False
    )
    broker_url: str | None = Field(
        None, description="amqp://… for RabbitMQ; unset: the database is the broker too (pgmq)", repr=False
    )
    model: str = Field(
        "globe-project/GLOBE-Qwen2.5VL-7B", description="The LVLM: a hub id or a folder (see `globetag models`)"
    )
    engine: Literal["vllm", "transformers", "openai"] | None = Field(
        None,
        description="What runs the LVLM: vllm, transformers or openai (a model server); unset: vllm on a GPU where"
        " it is installed, else transformers",
    )
    model_server: Annotated[str, AfterValidator(_server_address)] | None = Field(
        None,
        description="For openai: the address of an OpenAI-compatible model server, such as http://model:8000/v1",
        repr=False,
    )
    model_server_key: Annotated[str, AfterValidator(_header_word)] | None = Field(
        None, description="For openai: the key that the model server asks for", repr=False
    )
    model_server_timeout_s: PositiveFloat = Field(
        300.0,
        description="For openai: how long a photograph waits for its answer, or for a server that is away",
    )
    model_server_calls: PositiveInt | None = Field(
        None, description="For openai: so many photographs are with the server at once; unset: GLOBETAG_THREADS"
    )
    gpu_memory_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85, description="Part of the GPU that vllm takes; the gate and others need the rest"
    )
    clip: str = Field(
        "ViT-B-32:laion2b_s34b_b79k", description="The gate's backbone: open_clip NAME:PRETRAINED, or a folder"
    )
    gate_head: Path | None = Field(
        None, description="The gate's trained head, a folder (`globetag train gate`); unset: the zero-shot head"
    )
    device: str | None = Field(None, description="cuda, cuda:1, cpu; unset: a GPU where there is one")
    gate_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Below this gate score a photograph is not_locatable; unset: the head's own; 0: off"
    )
    recall: Literal["off", "collection", "archive"] = Field(
        "collection",
        description="Photographs of known place that help: the collection's, the archive's or none",
    )
    near_duplicate_cosine: Annotated[float, Field(gt=0, le=1)] = Field(
        0.97, description="Photographs whose embeddings are so alike show the same scene; depends on the gate"
    )
    max_tokens: PositiveInt = Field(512, description="The longest answer, in tokens")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0 draws the likeliest answer")
    model_batch: PositiveInt | None = Field(
        None,
        description="Photographs that the model works on at once; threads should be twice that; unset: 8 in"
        " transformers, in vllm as many as come",
    )
    most_answers: Annotated[int, Field(ge=1, le=32)] = Field(
        8, description="How often the LVLM is asked about one photograph at most; 1: never twice"
    )
    doubt_temperature: PositiveFloat = Field(0.7, description="How further answers are drawn")
    doubt_logprob: Annotated[float, Field(le=0, allow_inf_nan=False)] | None = Field(
        None, description="It is asked again where its first answer's mean log-probability is lower; unset: off"
    )
    min_agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        MIN_AGREEMENT,
        description="Share of all answers and other signs that a place needs behind it, else samples_disagree",
    )
    max_radius_km: PositiveFloat | None = Field(
        None, description="A place with a wider radius is too_uncertain; a collection may ask for less"
    )
    only_text: Literal["flag", "refuse"] = Field(
        "flag", description="What becomes of a place for which only text in the picture speaks"
    )

    threads: PositiveInt = Field(64, description="Photographs in work at once in one worker")
    pictures_mb: PositiveFloat = Field(
        1024.0, description="Photographs in work hold so many megabytes together at most; others wait"
    )
    queue_depth: PositiveInt = Field(
        512, description="How many messages the dispatcher keeps waiting in each lane; the rest wait in Postgres"
    )
    lease_s: PositiveFloat = Field(
        60.0, description="A job returns to the queue this long after its worker was last heard of"
    )
    max_attempts: PositiveInt = Field(
        3, description="Tries when the cause may pass (network); three times as many with a busy server"
    )
    retry_backoff_s: PositiveFloat = Field(
        30.0, description="Longest wait before the second try; doubles with each"
    )
    give_up_after_h: PositiveFloat = Field(
        8.0, description="A photograph whose host answers nobody fails after so many hours, untried"
    )

    max_file_mb: PositiveFloat = Field(2048.0, description="Larger files are refused")
    max_megapixels: PositiveFloat = Field(600.0, description="Larger pictures are refused")
    fetch_timeout_s: PositiveFloat = Field(60.0, description="For one photograph, from first to last byte")
    allow_private_addresses: bool = Field(
        False, description="May http(s) reach private networks and this machine?"
    )
    file_roots: tuple[Path, ...] = Field(
        (), description="If set (separated by ':'), only files below these folders are read"
    )

    private_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts of your network (separated by ','; *.lan: all below) that http(s) may reach",
    )
    allow_hosts: tuple[str, ...] = Field(
        (), description="If set (separated by ','), only these web hosts are asked"
    )
    allow_buckets: tuple[str, ...] = Field(
        (), description="If set (separated by ','), only these S3 buckets are read"
    )
    max_redirects: Annotated[int, Field(ge=0)] = Field(5, description="How often a web server may send a fetch on")
    http_tokens: Annotated[str, AfterValidator(_readable_tokens)] | None = Field(
        None,
        description="Who may use `globetag serve`: NAME:SHA-256[:COLLECTIONS] each (docs/http.md);"
        " unset: this machine",
        repr=False,
    )
    http_max_queued: PositiveInt = Field(
        100_000, description="While so many jobs are queued, `globetag serve` takes no more (429)"
    )
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="Where a worker or dispatcher tells Prometheus and probes how it is; unset: nowhere"
    )
    metrics_host: str = Field(
        "127.0.0.1", description="The address that GLOBETAG_METRICS_PORT is opened on; 0.0.0.0 or ::: all"
    )
    events: Literal["on", "off"] | None = Field(
        None, description="Publish events of all that is settled? on, off; unset: as it was last set"
    )
    events_keep_days: PositiveFloat = Field(7.0, description="How long events that were sent can still be read")

    train_recipe: str = Field(
        "archive_lora", description="How `globetag train` trains: a recipe's name or a YAML file"
    )
    train_every: Annotated[str, Field(pattern=r"^(off|hourly|nightly|weekly|[1-9]\d*)$")] = Field(
        "hourly",
        description="How often the training worker looks for new labels: seconds, hourly, nightly, weekly or off",
    )
    train_after_labels: PositiveInt = Field(
        500, description="It trains when so many photographs have got a label since the last time"
    )
    train_radius_km: Annotated[int, AfterValidator(_judged)] = Field(
        25, description="A model is promoted if it places more within this distance: 1, 25, 200, 750 or 2500"
    )

    teachers: Path | None = Field(
        None,
        description="The YAML file of the teachers that are asked about newly labelled photographs"
        " (docs/curation.md); unset: none are",
    )
    segmenter: str | None = Field(
        None,
        description="The segmentation model by which curation looks at photographs, a hub id or a folder;"
        " unset: none",
    )
    matcher: str | None = Field(
        None,
        description="The open_clip model by which curation looks for what is named, as in GLOBETAG_CLIP;"
        " unset: none",
    )
    sentences: str | None = Field(
        None,
        description="The text encoder by which curation compares reasons, a hub id or a folder; unset: none",
    )
    calibrate_photographs: Annotated[int, Field(ge=0)] = Field(
        1000,
        description="To renew a calibration the training worker asks about so many photographs of known place;"
        " 0: never",
    )

    @property
    def is_embedded(self) -> bool:
        return self.database_url is None

    @property
    def transformers_batch(self) -> int:
        """Photographs in one batch of the engine `transformers`."""
        return self.model_batch or 8

    @property
    def models_folder(self) -> Path:
        return self.home / "models"

    @property
    def reports_folder(self) -> Path:
        return self.home / "reports"


def load(environment: Mapping[str, str] = os.environ) -> tuple[Settings, dict[str, str]]:
    """Returns the settings and, for each field, its origin: "environment", a file's path, or "default".

    Raises `SetupError` that names every faulty setting at once. Does not connect to anything.
    """
    home = Path(environment.get(PREFIX + "HOME") or Settings.model_fields["home"].default)
    file = home / _FILE_NAME
    from_file = _read_file(file)
    names = {PREFIX + field.upper(): field for field in Settings.model_fields}
    values: dict[str, object] = {}
    origin = dict.fromkeys(Settings.model_fields, "default")
    faults = []
    for given, where in ((from_file, str(file)), (environment, "environment")):
        for name, text in given.items():
            if not name.startswith(PREFIX) or text == "":
                continue
            if name not in names:
                faults.append(f"{name} ({where}) is not a setting")
                continue
            field = names[name]
            between = _SEPARATORS.get(field)
            values[field] = text if between is None else tuple(filter(None, map(str.strip, text.split(between))))
            origin[field] = where
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for fault in error.errors():
            field = str(fault["loc"][0])
            secret = not Settings.model_fields[field].repr
            given_value = "" if secret else f"={fault['input']!r}"
            faults.append(f"{PREFIX}{field.upper()}{given_value} ({origin[field]}): {fault['msg']}")
    else:
        faults += _url_faults(settings) + _engine_faults(settings)
    if faults:
        raise SetupError("wrong settings: " + "; ".join(faults) + ". `globetag settings` lists them all")
    return settings, origin


def choose(home: Path, choices: Mapping[str, str]) -> Path:
    """Writes choices (`{"GLOBETAG_MODEL": …}`) to `settings.env` in `home`, keeping the others. Atomic."""
    if any("\n" in value or "\r" in value for value in choices.values()):
        raise SetupError("a setting cannot contain a line break")
    home.mkdir(parents=True, exist_ok=True)
    file = home / _FILE_NAME
    merged = _read_file(file) | dict(choices)
    lines = ["# Written by `globetag models use`. The environment overrides what stands here."]
    lines += [f"{name}={value}" for name, value in sorted(merged.items())]
    with tempfile.NamedTemporaryFile("w", dir=home, delete=False, encoding="utf-8") as draft:
        draft.write("\n".join(lines) + "\n")
    Path(draft.name).replace(file)
    return file


def describe() -> list[tuple[str, str]]:
    """Every setting's environment variable with its description, in order."""
    return [(PREFIX + field.upper(), about.description or "") for field, about in Settings.model_fields.items()]


def _read_file(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    pairs = {}
    for line in file.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            pairs[name.strip()] = value.strip()
    return pairs


def _url_faults(settings: Settings) -> list[str]:
    faults = []
    if settings.database_url is not None:
        try:
            scheme = make_url(settings.database_url).drivername.partition("+")[0]
        except (ArgumentError, ValueError):  # ValueError: a port that is no number
            scheme = ""
        if scheme not in {"postgresql", "postgres"}:
            faults.append(f"{PREFIX}DATABASE_URL must look like postgresql://user@host/name")
    if settings.broker_url is not None and settings.broker_url.partition("://")[0] not in {
        "amqp",
        "amqps",
        "pgmq",
    }:
        faults.append(f"{PREFIX}BROKER_URL must begin with amqp://, amqps:// or be unset")
    return faults


def _engine_faults(settings: Settings) -> list[str]:
    if settings.engine == "openai" and settings.model_server is None:
        return [f"{PREFIX}ENGINE=openai needs {PREFIX}MODEL_SERVER, such as http://model:8000/v1"]
    if settings.engine is None and settings.model_server is not None:
        return [f"{PREFIX}MODEL_SERVER is for {PREFIX}ENGINE=openai: set that too, or neither"]
    return []
