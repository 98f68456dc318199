"""Asks a model server that speaks OpenAI's API: vLLM, SGLang and others. The model is there; here is none.

One server with a GPU feeds many light workers. Each of a worker's threads brings one photograph and waits for its
answer; the server batches what all of them bring. The picture is shrunk here, as the other engines do, and sent
without loss, so that a server with the same weights gives the same answers.

What a server takes beyond OpenAI's own fields is found out at the start, by asking: see `DIALECTS`. `model_server`
has the calls and what becomes of a photograph when one goes wrong, `choices` reads the answers.
"""

import base64
import hashlib
import io
import json
import logging
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal

import httpx
from PIL import Image

from worker.batcher import BatcherClosed
from worker.checkpoints import one_line
from worker.errors import JobError, SetupError
from worker.identity import ModelIdentity
from worker.reason.conversation import MAX_PIXELS, shrunk
from worker.reason.engines import Completion, Prompt, Sampling
from worker.reason.engines.choices import SPECIAL_TOKEN, Odd, prompt_tokens, read_choices
from worker.reason.engines.model_server import Answer, ModelServer
from worker.reason.engines.weights import VARIABLE

log = logging.getLogger(__name__)

SERVER = "GLOBETAG_MODEL_SERVER"
KEY = "GLOBETAG_MODEL_SERVER_KEY"

_TEST_PROMPT = Prompt("", "Where is this?")
_TEST_SAMPLING = Sampling(max_tokens=1)
_MOST_WEBP_PX = 16_383
"""Of a side (WebP container specification, VP8L header: 14 bits)."""
_MOST_LISTED = 10
_BASE_BYTES = 1 << 20
_TOKEN_BYTES = 1 << 10
"""Of an answer's JSON for each token: its text, its bytes and its log-probability take a fifth of that."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a request has beside the fields that every server knows."""

    name: str
    picture: Literal["webp", "png"]
    extras: dict[str, Any] = field(default_factory=dict)


DIALECTS = (
    # `Sampling` says all that there is to say about how an answer is drawn, whatever the server's defaults are.
    # Tags such as <think> are special tokens to some tokenizers, and must not be left out.
    Dialect(
        "extended",
        "webp",
        {
            "logprobs": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        },
    ),
    Dialect("standard", "png", {"logprobs": True}),
    Dialect("plain", "png"),
)
"""The first that the server takes is spoken: vLLM's and SGLang's, OpenAI's own, one without log-probabilities."""


def load_engine(
    model: str,
    *,
    server: str,
    key: str | None = None,
    timeout_s: float = 300.0,
    max_calls: int = 32,
    max_pixels: int = MAX_PIXELS,
) -> "OpenaiEngine":
    """Returns a ready `worker.reason.engines.Engine` that has answered once.

    `model` is the name under which the server serves it, `server` the address that ends before
    `/chat/completions`. At most `max_calls` requests run at once. Raises `SetupError` with one line that says what
    to do.
    """
    try:
        calls = ModelServer(server, key, timeout_s=timeout_s, most_calls=max_calls)
    except (httpx.InvalidURL, ValueError) as error:
        raise SetupError(f"{SERVER} must look like http://model:8000/v1 ({type(error).__name__})") from error
    try:
        served = _served(calls, model, has_key=key is not None)
        dialect = _dialect(calls, model, max_pixels, has_key=key is not None)
        log.info("%s serves %s; it is spoken to in the dialect %s", server, model, dialect.name)
        return OpenaiEngine(calls, served, dialect, max_pixels=max_pixels)
    except BaseException:
        calls.close()
        raise


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


class OpenaiEngine:
    """See `worker.reason.engines.Engine`."""

    def __init__(self, calls: ModelServer, served: Served, dialect: Dialect, *, max_pixels: int) -> None:
        self._calls = calls
        self._model = served.name
        self._dialect = dialect
        self._max_pixels = max_pixels
        # vLLM draws sample i of a request with seed + i, as is wanted here; what others do is laid down nowhere.
        self._draws_together = served.owner == "vllm" and dialect is DIALECTS[0]
        self._closed = False
        self.identity = ModelIdentity(
            kind="lvlm",
            name=served.name,
            version=served.version,
            loaded_as=f"model server ({served.server_version}), {dialect.name}, up to {max_pixels} px",
        )

    def generate(self, prompt: Prompt, image: Image.Image, sampling: Sampling, n: int = 1) -> list[Completion]:
        """Sample i is drawn with seed `sampling.seed + i`; greedy samples are all the same one."""
        if self._closed:
            raise BatcherClosed("the engine is closed")
        distinct = 1 if sampling.temperature == 0 else n
        together = distinct if self._draws_together else 1
        asked = messages(prompt, image, self._dialect, self._max_pixels)
        found: list[Completion] = []
        for first in range(0, distinct, together):
            found += self._ask(asked, replace(sampling, seed=sampling.seed + first), together)
        return found if distinct == n else found * n

    def close(self) -> None:
        self._closed = True
        self._calls.close()

    def _ask(self, asked: list[dict[str, Any]], sampling: Sampling, n: int) -> list[Completion]:
        body = request(self._model, asked, sampling, self._dialect, n)
        data = self._calls.chat(body, most_bytes=_BASE_BYTES + _TOKEN_BYTES * n * sampling.max_tokens)
        try:
            return read_choices(data, n=n, max_tokens=sampling.max_tokens)
        except Odd as odd:
            raise self._calls.nonsense(str(odd)) from odd


def messages(prompt: Prompt, image: Image.Image | None, dialect: Dialect, max_pixels: int) -> list[dict[str, Any]]:
    """The conversation of `worker.reason.conversation` in the API's form: the picture comes before the text.

    Special tokens in the texts are broken up as there; which they are is known by their form alone.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": _defused(prompt.user)}]
    if image is not None:
        url = data_url(shrunk(image, max_pixels), dialect.picture)
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    asked: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if prompt.system:
        asked.insert(0, {"role": "system", "content": _defused(prompt.system)})
    return asked


def request(
    model: str, asked: list[dict[str, Any]], sampling: Sampling, dialect: Dialect, n: int = 1
) -> dict[str, Any]:
    """The body of a request for `n` answers."""
    return {
        "model": model,
        "messages": asked,
        "n": n,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        **dialect.extras,
    }


def data_url(image: Image.Image, form: Literal["webp", "png"]) -> str:
    """The picture without loss. Lossless WebP is smaller than PNG and written in a fraction of the time."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if max(rgb.size) > _MOST_WEBP_PX:
        form = "png"
    written = io.BytesIO()
    if form == "webp":
        rgb.save(written, "WEBP", lossless=True, quality=0, method=0)
    else:
        rgb.save(written, "PNG", compress_level=1)
    return f"data:image/{form};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def _defused(text: str) -> str:
    return SPECIAL_TOKEN.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def _served(calls: ModelServer, model: str, *, has_key: bool) -> Served:
    """The model's entry in the server's list. Raises `SetupError` where server or model cannot be had."""
    answer = _asked(calls, lambda: calls.get("models"), "start it, or correct the address")
    _refuse_key(calls, answer, has_key=has_key)
    listed = answer.data.get("data") if isinstance(answer.data, dict) else None
    if not answer.is_success or not isinstance(listed, list):
        raise SetupError(
            f"{SERVER}={calls.url}: there is no OpenAI-compatible server (HTTP {answer.status} for"
            f" {calls.url}/models); correct the address, which mostly ends in /v1"
        )
    entries = {str(each["id"]): each for each in listed if isinstance(each, dict) and "id" in each}
    if model not in entries:
        names = sorted(entries)[:_MOST_LISTED]
        served = ", ".join(f"{name!a:.200}" for name in names) or "nothing"
        more = f" and {len(entries) - len(names)} more" if len(entries) > len(names) else ""
        raise SetupError(
            f"{VARIABLE}={model} is not served at {calls.url}, which has {served}{more}; set {VARIABLE} to one of"
            " these, or let the server serve it"
        )
    entry = entries[model]
    owner = str(entry.get("owned_by"))[:40]
    told = tuple(str(entry.get(name)) for name in ("root", "parent"))
    return Served(model, owner, told, f"{owner} {_server_version(calls)}".strip())


def _server_version(calls: ModelServer) -> str:
    """Of the server's software, where it tells at `/version`, as vLLM does."""
    try:
        answer = calls.get_beside("version")
    except JobError:
        return ""
    told = answer.data.get("version") if answer.is_success and isinstance(answer.data, dict) else None
    return told[:40] if isinstance(told, str) and told.isprintable() else ""


def _dialect(calls: ModelServer, model: str, max_pixels: int, *, has_key: bool) -> Dialect:
    """The first dialect in which the server answers a test picture. Raises `SetupError` where there is none."""
    picture = Image.new("RGB", (224, 224))
    refusal = ""
    for dialect in DIALECTS:
        body = request(model, messages(_TEST_PROMPT, picture, dialect, max_pixels), _TEST_SAMPLING, dialect)
        answer = _asked(calls, lambda: calls.post(body, most_bytes=_BASE_BYTES), "see its log")  # noqa: B023
        _refuse_key(calls, answer, has_key=has_key)
        if answer.is_success:
            _refuse_unreadable(calls, answer)
            _refuse_blind(calls, model, dialect, prompt_tokens(answer.data))
            return dialect
        refusal = refusal or f"HTTP {answer.status}: {answer.said}"
        if answer.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
            break
    if _answers_text(calls, model, dialect).is_success:
        raise _blind(calls, model, refusal)
    raise SetupError(f"{VARIABLE}={model}: the model at {calls.url} does not answer a test picture ({refusal})")


def _answers_text(calls: ModelServer, model: str, dialect: Dialect) -> Answer:
    body = request(model, messages(_TEST_PROMPT, None, dialect, 0), _TEST_SAMPLING, dialect)
    return _asked(calls, lambda: calls.post(body, most_bytes=_BASE_BYTES), "see its log")


def _refuse_unreadable(calls: ModelServer, answer: Answer) -> None:
    try:
        read_choices(answer.data, n=1, max_tokens=_TEST_SAMPLING.max_tokens)
    except (Odd, JobError) as error:
        raise SetupError(
            f"{SERVER}={calls.url}: the answer to a test picture cannot be used ({one_line(error)}); use a server"
            " with OpenAI's chat completions"
        ) from error


def _refuse_blind(calls: ModelServer, model: str, dialect: Dialect, with_picture: int | None) -> None:
    """Some servers drop pictures and answer all the same: then a question is as long with one as without."""
    answer = _answers_text(calls, model, dialect)
    without = prompt_tokens(answer.data) if answer.is_success else None
    if with_picture is not None and without is not None and with_picture <= without:
        raise _blind(calls, model, f"a question is {without} tokens long with a picture and without")


def _blind(calls: ModelServer, model: str, why: str) -> SetupError:
    return SetupError(
        f"{VARIABLE}={model}: what {calls.url} serves under this name cannot see pictures ({why}); let it serve a"
        " vision-language model"
    )


def _refuse_key(calls: ModelServer, answer: Answer, *, has_key: bool) -> None:
    if answer.status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return
    what = f"does not take the key in {KEY}; correct it" if has_key else f"asks for a key; set {KEY}"
    raise SetupError(f"{SERVER}={calls.url}: the server {what} (HTTP {answer.status})")


def _asked(calls: ModelServer, ask: Any, advice: str) -> Answer:
    """What `ask` returns. Raises `SetupError` where the server cannot be reached or breaks off."""
    try:
        answer = ask()
    except JobError as error:
        raise SetupError(f"{SERVER}={calls.url}: {error.detail} To mend: {advice}") from error
    assert isinstance(answer, Answer)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise SetupError(
            f"{SERVER}={calls.url}: the server answers {answer.status} ({answer.said}); wait until it is ready, or"
            f" {advice}"
        )
    return answer
