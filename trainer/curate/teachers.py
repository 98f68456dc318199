"""The file that names the teachers: who is asked about photographs of known place, where, how fast, at what price.

YAML; keys and their defaults are the fields below (see docs/curation.md)::

    teachers:
      - {name: qwen, kind: openai, url: "http://gpu:8000/v1", model: Qwen/Qwen2.5-VL-72B-Instruct}
      - {name: geoclip, kind: geoclip}
      - {name: archive, kind: recall}

Keys of model servers are never in it: `key_variable` names the environment variable that holds one.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from trainer import recipe_file
from trainer.curate.distil.prompt import PROMPT_HASH
from worker.errors import SetupError
from worker.reason.conversation import MAX_PIXELS
from worker.reason.engines import Sampling

MOST_TEACHERS = 32


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("must look like http://host:8000/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, ? or #; a key goes into the variable of key_variable")
    return text.rstrip("/")


_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Count = Annotated[int, Field(ge=1, le=1024)]
_Seconds = Annotated[float, Field(gt=0, le=3600)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Teacher(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: _Name


class LanguageTeacher(_Teacher):
    """A vision-language model behind an OpenAI-compatible endpoint; `url` ends before `/chat/completions`.

    `requests_per_minute` None: no limit. `timeout_s`: for one answer, and how long a question waits for a server
    that answers nobody. Prices are for a million tokens, in whatever currency; None: unknown, not free.
    """

    kind: Literal["openai"]
    url: Annotated[str, AfterValidator(_address)]
    model: Annotated[str, Field(min_length=1, max_length=300)]
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None
    concurrency: _Count = 8
    requests_per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    timeout_s: _Seconds = 120.0
    price_in: _Price | None = None
    price_out: _Price | None = None
    max_tokens: Annotated[int, Field(ge=16, le=32768)] = 1024
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    max_pixels: Annotated[int, Field(ge=28 * 28, le=64 << 20)] = MAX_PIXELS

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.max_tokens, self.temperature, self.top_p, self.seed)

    def key(self, environment: Mapping[str, str] = os.environ) -> str | None:
        """The key that the server asks for. Raises `SetupError` where the variable is not set as it should be."""
        if self.key_variable is None:
            return None
        key = environment.get(self.key_variable, "")
        if not re.fullmatch(r"[!-~]+", key):
            what = "holds no key" if key else "is not set"
            raise SetupError(f"teacher {self.name}: the environment variable {self.key_variable} {what}; set it")
        return key

    def row(self) -> dict[str, Any]:
        """For `distillation.teachers`; no secret is in it."""
        return self.model_dump(mode="json") | {"prompt_hash": PROMPT_HASH}


class GeoclipTeacher(_Teacher):
    """GeoCLIP (arXiv 2309.16020) through its package: coordinates with a confidence, no words."""

    kind: Literal["geoclip"]
    concurrency: _Count = 1

    def row(self) -> dict[str, Any]:
        """For `distillation.teachers`."""
        return self.model_dump(mode="json") | {"model": "geoclip"}


class RecallTeacher(_Teacher):
    """The archive's own photographs of known place: where those are that look most alike. Without words.

    The photograph itself and its near-duplicates have no say, nor have those of its own series.
    """

    kind: Literal["recall"]
    concurrency: _Count = 4

    def row(self) -> dict[str, Any]:
        """For `distillation.teachers`."""
        return self.model_dump(mode="json") | {"model": "recall"}


Teacher = LanguageTeacher | GeoclipTeacher | RecallTeacher


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    teachers: Annotated[
        list[Annotated[Teacher, Field(discriminator="kind")]], Field(min_length=1, max_length=MOST_TEACHERS)
    ]


def read_teachers(path: Path) -> tuple[Teacher, ...]:
    """The teachers of a YAML file, in its order.

    Raises `SetupError` with one line that names the file and every faulty field. Asks nobody, reads no keys.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the teachers' file {path} cannot be read as UTF-8 text; name one that can") from error
    try:
        content = recipe_file.parsed(text)
    except yaml.YAMLError as error:
        raise SetupError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise SetupError(f"{path}: must begin with `teachers:` and list them (docs/curation.md)")
    teachers = recipe_file.checked(_File, content, str(path)).teachers
    names = [teacher.name for teacher in teachers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SetupError(f"{path}: two teachers are called {', '.join(twice)}; give each a name of its own")
    return tuple(teachers)


def from_row(row: Mapping[str, Any]) -> Teacher:
    """The teacher that `row()` was made of, out of `distillation.teachers`."""
    known = {name: value for name, value in row.items() if name != "prompt_hash"}
    if known.get("kind") != "openai":
        known.pop("model", None)
    return _File.model_validate({"teachers": [known]}).teachers[0]
