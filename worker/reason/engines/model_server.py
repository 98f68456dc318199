"""Calls to one OpenAI-compatible model server over HTTP, and what becomes of a photograph when one goes wrong.

Who is to blame decides. A request that the server refuses (400, 413, 422) ends its own photograph. A server that
is busy, that breaks, or that talks nonsense is tried again later. One that nobody reaches, or that no longer knows
the model or the key, has tried no photograph: no attempt is counted.

While it answers nobody its circuit is open, and the worker's threads wait here with the photographs they have:
fetching others would only load the archive's server. The circuit is tried again within a minute, since a model
server is back sooner than a stranger's host. It is the operator's own, so nothing forbids private addresses.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import orjson

from schema.reasons import Reason
from worker.batcher import BatcherClosed
from worker.breaker import Breakers, Limits, Refused
from worker.checkpoints import one_line
from worker.errors import Cause, JobError, PutOff, Transient
from worker.intake.web import seconds_of, user_agent
from worker.secrets import HIDDEN

PATIENCE_S = 30.0
"""A photograph that was put off is not brought back sooner, where the server itself names no time."""

_CONNECT_S = 10.0
_IDLE_S = 2.0
"""An idle connection is closed here before the server does so (uvicorn: after 5 s), under a request on its way."""
_LOOK_S = 0.5
_FIRST_OPEN_S = 5.0
_LONGEST_OPEN_S = 60.0
_LIST_BYTES = 4 << 20
_SHOWN_CHARACTERS = 200

_ITS_OWN_FAULT = frozenset({400, 413, 422})
_BUSY = frozenset({429, 503})
_MAY_PASS = frozenset({408, 409, 425})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole. `data` is None where it is no JSON; `said` is what a refusal says."""

    status: int
    retry_after_s: float | None
    data: Any
    said: str

    @property
    def is_success(self) -> bool:
        return self.status == HTTPStatus.OK


class ModelServer:
    """One server. Thread-safe; connections are kept and shared."""

    def __init__(self, url: str, key: str | None, *, timeout_s: float, most_calls: int) -> None:
        """`url` ends before `/chat/completions` and holds no secrets. `timeout_s`: for one answer, and how long a
        photograph waits for a server that answers nobody. At most `most_calls` run at once; more wait."""
        self.url = url
        self._key = key
        self._timeout_s = timeout_s
        self._client = httpx.Client(
            headers={"User-Agent": user_agent(), "Accept": "application/json", "Accept-Encoding": "identity"}
            | ({"Authorization": f"Bearer {key}"} if key else {}),
            verify=httpx.create_ssl_context(),
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s), pool=None),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_IDLE_S),
            trust_env=False,  # a proxy of the environment is for the web, not for this
        )
        limits = Limits(
            open_s=_FIRST_OPEN_S, longest_s=_LONGEST_OPEN_S, most_calls=most_calls, slow_s=max(timeout_s, 1.0)
        )
        self._breakers = Breakers(limits, is_failure=_answers_nobody, pause_of=_pause_of)
        self._closed = threading.Event()

    def get(self, path: str) -> Answer:
        """What is at `path` below the address. Raises `Transient` and `PutOff` where nothing comes back."""
        return self.send("GET", f"{self.url}/{path}")

    def get_beside(self, path: str) -> Answer:
        """What is at `path` of the server itself, outside of the API. Raises as `get`."""
        return self.send("GET", str(httpx.URL(self.url).copy_with(raw_path=f"/{path}".encode())))

    def chat(self, body: Mapping[str, Any], *, most_bytes: int, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that answers a chat completion. Blocks while the server is away, up to `timeout_s`.

        Raises `JobError` where the server refuses this request, else `Transient` and `PutOff`; `BatcherClosed`
        once `close` was called.
        """
        until_s = time.monotonic() + self._timeout_s
        while True:
            try:
                with self._breakers.call(self.url):
                    answer = self.post(body, most_bytes=most_bytes, headers=headers)
                    if answer.is_success and answer.data is not None:
                        return answer.data
                    raise self._refusal(answer)
            except Refused as refused:
                if time.monotonic() >= until_s:
                    detail = f"The model server {self.url} {refused.why}."
                    raise PutOff(detail, retry_in_s=refused.retry_in_s, reason=Reason.MODEL_ERROR) from None
                wait_s = min(refused.retry_in_s, _LOOK_S)
            if self._closed.wait(wait_s):
                raise BatcherClosed("the engine is closed")

    def post(
        self, body: Mapping[str, Any], *, most_bytes: int, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to a chat completion, whatever it is, past the circuit. Raises as `get`."""
        url = f"{self.url}/chat/completions"
        return self.send("POST", url, orjson.dumps(body), most_bytes=most_bytes, headers=headers)

    def send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        most_bytes: int = _LIST_BYTES,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, one answer of at most `most_bytes`; redirects are not followed."""
        if self._closed.is_set():
            raise BatcherClosed("the engine is closed")
        said = dict(headers or {}) | ({} if body is None else {"Content-Type": "application/json"})
        try:
            with self._client.stream(method, url, content=body, headers=said) as response:
                raw = self._read(response, most_bytes)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            detail = f"The model server {self.url} cannot be reached ({one_line(error)})."
            raise PutOff(detail, retry_in_s=_FIRST_OPEN_S, reason=Reason.MODEL_ERROR) from error
        except httpx.TimeoutException as error:
            detail = f"The model server {self.url} gave no answer within {self._timeout_s:g} s."
            raise Transient(Reason.TIMEOUT, detail, cause=Cause.MODEL) from error
        except (httpx.HTTPError, RuntimeError) as error:
            if self._closed.is_set():
                raise BatcherClosed("the engine is closed") from error
            if not isinstance(error, httpx.HTTPError):
                raise
            raise self.nonsense(f"broke the connection ({one_line(error)})") from error
        retry_after_s = seconds_of(response.headers.get("retry-after", "").encode("latin-1", "replace"))
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError:
            data = None
        is_plain = response.status_code == HTTPStatus.OK and data is not None
        return Answer(response.status_code, retry_after_s, data, "" if is_plain else self._said(data, raw))

    def nonsense(self, what: str) -> Transient:
        """The failure of a server that does not do what such servers do; `what` goes on after its name."""
        return Transient(Reason.MODEL_ERROR, f"The model server {self.url} {what}.", cause=Cause.MODEL)

    def close(self) -> None:
        """Ends what waits for the server. Calls that are under way break off."""
        self._closed.set()
        self._client.close()

    def _read(self, response: httpx.Response, most_bytes: int) -> bytes:
        if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise self.nonsense("sent a compressed answer unasked")
        until_s = time.monotonic() + self._timeout_s  # against an answer that drips
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > most_bytes:
                raise JobError(
                    Reason.MODEL_ERROR,
                    f"The model server {self.url} sent more than {most_bytes:,} bytes, which no answer needs.",
                )
            if time.monotonic() > until_s:
                raise httpx.ReadTimeout("the answer drips")
        return bytes(body)

    def _refusal(self, answer: Answer) -> JobError:
        """What a photograph ends with that got this answer."""
        status = answer.status
        said = f"{status}{': ' if answer.said else ''}{answer.said}"
        if answer.is_success:
            return self.nonsense(f"answered with something else than JSON ({answer.said})")
        if status in _ITS_OWN_FAULT:
            return JobError(Reason.MODEL_ERROR, f"The model server {self.url} refused this photograph ({said}).")
        if status in _BUSY | _MAY_PASS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            detail = f"The model server {self.url} answered {said}."
            return Transient(Reason.MODEL_ERROR, detail, cause=Cause.MODEL, retry_after_s=answer.retry_after_s)
        detail = f"The model server {self.url} does not serve us any more: it answered {said}."
        return PutOff(detail, retry_in_s=PATIENCE_S, reason=Reason.MODEL_ERROR)

    def _said(self, data: Any, raw: bytes) -> str:
        """The server's own words in one line, short, printable, and without our key."""
        found = data
        for name in ("error", "message"):
            if isinstance(found, dict) and name in found:
                found = found[name]
        if isinstance(data, dict) and found is data:
            found = data.get("detail", data)
        text = found if isinstance(found, str) else raw.decode("utf-8", "replace")
        if self._key:
            text = text.replace(self._key, HIDDEN)
        words = " ".join("".join(each if each.isprintable() else " " for each in text).split())
        return words[:_SHOWN_CHARACTERS]


def _answers_nobody(error: BaseException) -> bool:
    return isinstance(error, Transient)


def _pause_of(error: BaseException) -> float | None:
    return error.retry_after_s if isinstance(error, Transient) else None
