"""Asks a vision-language model yes or no over an OpenAI-compatible endpoint; reads P(yes) from the first token.

P = P(yes) / (P(yes) + P(no)) over the top log-probabilities of the first token, spellings pooled. GLOBE's released
code (arXiv 2506.14674) turns every failure into the reward 0.0: a judge that is down then teaches that no picture
can be placed. Here a judge that cannot be reached or does not do what was asked raises, and names sample and URL;
one that says neither yes nor no gives None.
"""

import base64
import io
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from trainer.rewards.base import Sample
from worker.errors import JobError, SetupError
from worker.intake.picture import decode
from worker.intake.uri import shown

Token = tuple[str, float]
"""A token with its log-probability."""

_TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_MIN_ALTERNATIVES = 2
_MAX_LOGPROB = 1e-3
"""Rounding of low precision may lift a certain token a little above 0."""
_JPEG_QUALITY = 90
_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Question:
    """`sample` is named in errors; `image` is a data URL (see `data_url`)."""

    sample: Sample
    system: str
    image: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`url` ends before `/chat/completions`. `api_key_variable` names the environment variable that holds the key,
    so that no key is pickled or logged. Proxies of the environment are not used.

    `timeout_s` holds for connecting, for sending and for each wait for an answer. Where no answer came or the
    server asks for patience (429, 5xx), a question is asked up to `attempts` times, after `backoff_s`, twice that,
    and so on.
    """

    url: str
    model: str
    timeout_s: float = 60.0
    attempts: int = 3
    backoff_s: float = 0.5
    concurrency: int = 16
    max_tokens: int = 1
    temperature: float = 0.0
    top_logprobs: int = 20
    api_key_variable: str = ""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise SetupError(f"judge: {shown(self.url)!r} is no URL; give one such as http://localhost:8000/v1")
        if min(self.attempts, self.concurrency, self.max_tokens) < 1 or self.top_logprobs < _MIN_ALTERNATIVES:
            raise SetupError("judge: attempts, concurrency and max_tokens must be at least 1, top_logprobs 2")
        if not (self.timeout_s > 0 and self.backoff_s >= 0):
            raise SetupError("judge: timeout_s must be above 0 and backoff_s at least 0 seconds")

    def first_tokens(self, questions: Sequence[Question]) -> list[list[Token]]:
        """For each question the likeliest first tokens of the answer, in order; empty where it said nothing.

        Raises `RewardFailed` for the first question that could not be asked, and asks none that is not under way.
        """
        if not questions:
            return []
        headers = {}
        if self.api_key_variable:
            key = os.environ.get(self.api_key_variable)
            if not key:
                raise SetupError(f"judge: the environment variable {self.api_key_variable} is not set")
            headers["Authorization"] = f"Bearer {key}"
        workers = min(self.concurrency, len(questions))
        with (
            httpx.Client(timeout=self.timeout_s, headers=headers, trust_env=False) as client,
            ThreadPoolExecutor(workers, thread_name_prefix="judge") as pool,
        ):
            answers = [pool.submit(self._ask, client, question) for question in questions]
            try:
                return [answer.result() for answer in answers]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask(self, client: httpx.Client, question: Question) -> list[Token]:
        url = self.url.rstrip("/") + "/chat/completions"
        body = self._body(question)
        said = ""
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.backoff_s * 2 ** (attempt - 1))
            try:
                response = client.post(url, json=body)
            except httpx.HTTPError as error:
                said = f"{type(error).__name__}: {error}"
                continue
            except httpx.InvalidURL as error:
                raise SetupError(f"judge: {shown(self.url)!r} is no URL ({error})") from error
            if response.is_success:
                return self._tokens(question.sample, response)
            said = f"HTTP {response.status_code}: {response.text[:_SHOWN_CHARS]!r}"
            if response.status_code not in _TRY_AGAIN:
                break
        raise question.sample.failed(f"the judge at {shown(url)} gave no answer ({said})")

    def _body(self, question: Question) -> dict[str, Any]:
        content = [
            {"type": "image_url", "image_url": {"url": question.image}},
            {"type": "text", "text": question.text},
        ]
        return {
            "model": self.model,
            "messages": [{"role": "system", "content": question.system}, {"role": "user", "content": content}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "logprobs": True,
            "top_logprobs": self.top_logprobs,
        }

    def _tokens(self, sample: Sample, response: httpx.Response) -> list[Token]:
        where = f"the judge at {shown(self.url)}"
        try:
            logprobs = response.json()["choices"][0].get("logprobs")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise sample.failed(f"{where} did not answer as asked: {response.text[:_SHOWN_CHARS]!r}") from error
        if not isinstance(logprobs, dict) or not isinstance(logprobs.get("content"), list):
            raise sample.failed(f"{where} sends no logprobs; use a server and model that do")
        if not logprobs["content"]:
            return []
        try:
            top = logprobs["content"][0]["top_logprobs"]
            tokens = [(str(entry["token"]), _logprob(entry["logprob"])) for entry in top]
        except (LookupError, TypeError, ValueError) as error:
            raise sample.failed(
                f"{where} sends logprobs of another form: {response.text[:_SHOWN_CHARS]!r}"
            ) from error
        if len(tokens) < _MIN_ALTERNATIVES:
            # lingli1996/GLOBE issue 5: with one alternative P is always 0 or 1, and nobody notices.
            raise sample.failed(
                f"{where} sends {len(tokens)} of the {self.top_logprobs} top_logprobs that were asked for"
            )
        return tokens


def _logprob(value: Any) -> float:
    number = float(value)
    if math.isnan(number) or number > _MAX_LOGPROB:
        raise ValueError(f"{number} is no log-probability")
    return number


def p_yes(tokens: Sequence[Token]) -> float | None:
    """P(yes) / (P(yes) + P(no)), without regard to case and leading space; None where neither is among them."""
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in tokens:
        word = token.strip().casefold()
        if word in mass:
            mass[word] += math.exp(logprob)
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if total > 0 else None


def data_urls(samples: Sequence[Sample], column: str) -> list[str]:
    """The picture of each sample as a JPEG in a data URL; made once for samples of the same id."""
    urls: dict[str, str] = {}
    for sample in samples:
        if sample.id not in urls:
            urls[sample.id] = data_url(sample, column)
    return [urls[sample.id] for sample in samples]


def data_url(sample: Sample, column: str) -> str:
    """`column` holds a Pillow picture, its bytes, a path, an object with "bytes" or "path", or a list of one of
    these. Raises `RewardFailed` for anything else, and for a picture that cannot be opened."""
    sent = as_sent(_open(sample, column, sample.get(column)))
    return "data:image/jpeg;base64," + base64.b64encode(sent).decode("ascii")


def as_sent(image: Image.Image) -> bytes:
    """The JPEG that a judge gets to see."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _open(sample: Sample, column: str, value: Any) -> Image.Image:
    try:
        match value:
            case Image.Image():
                return value
            case bytes():
                return decode(value).image
            case str() | Path():
                return decode(Path(value).read_bytes()).image
            case {"bytes": bytes() as data}:
                return decode(data).image
            case {"path": str() as path}:
                return decode(Path(path).read_bytes()).image
            case [one]:
                return _open(sample, column, one)
    except (JobError, OSError) as error:
        raise sample.failed(f"its picture cannot be opened ({error})") from error
    raise sample.failed(f"column {column} holds {value!r:.80}, not one picture")
