"""The first meeting with a model server: is the model there, does it see, and in which dialect is it asked?

Every refusal is a `SetupError` that tells the operator what to do.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from PIL import Image

from worker.checkpoints import one_line
from worker.errors import JobError, SetupError
from worker.reason.engines import Prompt, Sampling
from worker.reason.engines.chat import DIALECTS, Dialect, messages, request
from worker.reason.engines.choices import Odd, prompt_tokens, read_choices
from worker.reason.engines.model_server import Answer, ModelServer
from worker.reason.engines.weights import VARIABLE

SERVER = "GLOBETAG_MODEL_SERVER"
KEY = "GLOBETAG_MODEL_SERVER_KEY"


@dataclass(frozen=True, slots=True)
class Told:
    """By which names messages speak of the address, the key and the model: where the operator wrote them."""

    server: str = SERVER
    key: str = KEY
    model: str = VARIABLE


class Blind(SetupError):
    """The model is there, and sees no pictures."""


_SETTINGS = Told()
_TEST_PROMPT = Prompt("", "Where is this?")
_TEST_SAMPLING = Sampling(max_tokens=1)
_TEST_BYTES = 1 << 20
_MOST_LISTED = 10


@dataclass(frozen=True, slots=True)
class Served:
    """A model as the server lists it; `told` is all that it tells about where the weights come from."""

    name: str
    owner: str
    told: tuple[str, ...]
    server_version: str

    @property
    def version(self) -> str:
        """Of what the server tells, not of the weights: those cannot be seen from here."""
        return hashlib.sha256(json.dumps(["model server", self.name, *self.told]).encode()).hexdigest()[:16]


def find_served(calls: ModelServer, model: str, *, has_key: bool, told: Told = _SETTINGS) -> Served:
    """The model's entry in the server's list. Raises `SetupError` where server or model cannot be had."""
    answer = _asked(calls, lambda: calls.get("models"), "start it, or correct the address", told)
    _refuse_key(calls, answer, told, has_key=has_key)
    listed = answer.data.get("data") if isinstance(answer.data, dict) else None
    if not answer.is_success or not isinstance(listed, list):
        raise SetupError(
            f"{told.server}={calls.url}: there is no OpenAI-compatible server (HTTP {answer.status} for"
            f" {calls.url}/models); correct the address, which mostly ends in /v1"
        )
    entries = {str(each["id"]): each for each in listed if isinstance(each, dict) and "id" in each}
    if model not in entries:
        names = sorted(entries)[:_MOST_LISTED]
        served = ", ".join(f"{name!a:.200}" for name in names) or "nothing"
        more = f" and {len(entries) - len(names)} more" if len(entries) > len(names) else ""
        raise SetupError(
            f"{told.model}={model} is not served at {calls.url}, which has {served}{more}; set {told.model} to"
            " one of these, or let the server serve it"
        )
    entry = entries[model]
    owner = str(entry.get("owned_by"))[:40]
    weights = tuple(str(entry.get(name)) for name in ("root", "parent"))
    return Served(model, owner, weights, f"{owner} {_server_version(calls)}".strip())


def _server_version(calls: ModelServer) -> str:
    """Of the server's software, where it tells at `/version`, as vLLM does."""
    try:
        answer = calls.get_beside("version")
    except JobError:
        return ""
    told = answer.data.get("version") if answer.is_success and isinstance(answer.data, dict) else None
    return told[:40] if isinstance(told, str) and told.isprintable() else ""


def find_dialect(
    calls: ModelServer, model: str, max_pixels: int, *, has_key: bool, told: Told = _SETTINGS
) -> Dialect:
    """The first dialect in which the server answers a test picture. Raises `SetupError` where there is none."""
    picture = Image.new("RGB", (224, 224))
    refusal = ""
    for dialect in DIALECTS:
        body = request(model, messages(_TEST_PROMPT, picture, dialect, max_pixels), _TEST_SAMPLING, dialect)
        answer = _asked(calls, lambda: calls.post(body, most_bytes=_TEST_BYTES), "see its log", told)  # noqa: B023
        _refuse_key(calls, answer, told, has_key=has_key)
        if answer.is_success:
            _refuse_unreadable(calls, answer, told)
            _refuse_blind(calls, model, dialect, prompt_tokens(answer.data), told)
            return dialect
        refusal = refusal or f"HTTP {answer.status}: {answer.said}"
        if answer.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
            break
    if _answers_text(calls, model, dialect, told).is_success:
        raise _blind(calls, model, refusal, told)
    raise SetupError(f"{told.model}={model}: the model at {calls.url} does not answer a test picture ({refusal})")


def _answers_text(calls: ModelServer, model: str, dialect: Dialect, told: Told) -> Answer:
    body = request(model, messages(_TEST_PROMPT, None, dialect, 0), _TEST_SAMPLING, dialect)
    return _asked(calls, lambda: calls.post(body, most_bytes=_TEST_BYTES), "see its log", told)


def _refuse_unreadable(calls: ModelServer, answer: Answer, told: Told) -> None:
    try:
        read_choices(answer.data, n=1, max_tokens=_TEST_SAMPLING.max_tokens)
    except (Odd, JobError) as error:
        raise SetupError(
            f"{told.server}={calls.url}: the answer to a test picture cannot be used ({one_line(error)}); use a"
            " server with OpenAI's chat completions"
        ) from error


def _refuse_blind(calls: ModelServer, model: str, dialect: Dialect, with_picture: int | None, told: Told) -> None:
    """Some servers drop pictures and answer all the same: then a question is as long with one as without."""
    answer = _answers_text(calls, model, dialect, told)
    without = prompt_tokens(answer.data) if answer.is_success else None
    if with_picture is not None and without is not None and with_picture <= without:
        raise _blind(calls, model, f"a question is {without} tokens long with a picture and without", told)


def _blind(calls: ModelServer, model: str, why: str, told: Told) -> Blind:
    return Blind(
        f"{told.model}={model}: what {calls.url} serves under this name cannot see pictures ({why}); let it"
        " serve a vision-language model"
    )


def _refuse_key(calls: ModelServer, answer: Answer, told: Told, *, has_key: bool) -> None:
    if answer.status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return
    what = f"does not take the key in {told.key}; correct it" if has_key else f"asks for a key; set {told.key}"
    raise SetupError(f"{told.server}={calls.url}: the server {what} (HTTP {answer.status})")


def _asked(calls: ModelServer, ask: Callable[[], Answer], advice: str, told: Told) -> Answer:
    """What `ask` returns. Raises `SetupError` where the server cannot be reached or breaks off."""
    try:
        answer = ask()
    except JobError as error:
        raise SetupError(f"{told.server}={calls.url}: {error.detail} To mend: {advice}") from error
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise SetupError(
            f"{told.server}={calls.url}: the server answers {answer.status} ({answer.said}); wait until it is"
            f" ready, or {advice}"
        )
    return answer
