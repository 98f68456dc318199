"""The answers in what an OpenAI-compatible server sent back. Nothing in it is believed unseen.

The form is that of OpenAI's API reference, "The chat completion object", with what vLLM and SGLang add to it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from schema.reasons import Reason
from worker.errors import JobError
from worker.reason.conversation import KEPT_TAGS
from worker.reason.engines import Completion

SPECIAL_TOKEN = re.compile(
    r"<\|[^<>|\s]{1,64}\|>|<｜[^<>｜]{1,64}｜>|</?(?:s|bos|eos|pad|unk|mask|image|img|video|(?:start|end)_of_\w{1,24})>"
)
"""What checkpoints call their special tokens. Who has not the checkpoint's tokenizer knows them by this alone."""

_MOST_LOGPROB = 1e-3
"""Rounding of low precision may lift a certain token a little above 0."""


_BROKEN = "\ufffd".encode()
"""In a text it stands for bytes that are no whole character; a server may tell of their tokens as empty (vLLM)."""


class Odd(ValueError):
    """What came back is no answer of this API; the text goes on after the server's name."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One token: its bytes as text, and its log-probability."""

    raw: bytes
    logprob: float


def read_choices(data: Any, *, n: int, max_tokens: int) -> list[Completion]:
    """Exactly `n` completions, in the order of their index.

    Raises `Odd` for what has not the API's form, and `JobError` where an answer is not there as it should be.
    """
    choices = _of(data, dict).get("choices")
    if not isinstance(choices, list) or len(choices) != n:
        raise Odd(f"sent no list of {n} choices")
    numbers = [_of(each, dict).get("index") for each in choices]
    if not all(map(_is_count, numbers)) or set(numbers) != set(range(n)):
        raise Odd(f"numbers its {n} choices otherwise than 0 to {n - 1}")
    by_index = dict(zip(numbers, choices, strict=True))
    total = _tokens_told(data) if n == 1 else None
    return [_completion(by_index[place], total, max_tokens) for place in range(n)]


def prompt_tokens(data: Any) -> int | None:
    """How long the question was, where the server tells."""
    usage = data.get("usage") if isinstance(data, dict) else None
    told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return told if _is_count(told) else None


def pieces_of(text: str, drawn: Sequence[Drawn]) -> tuple[tuple[str, float], ...]:
    """`text` cut where tokens end, each piece with the sum of its tokens' log-probabilities.

    A piece is one token, or as many as make whole characters. Special tokens are no part of the text and are left
    out; so is the last token, which may have ended it. Where the tokens do not make up the text there are none.
    """
    wanted = text.encode("utf-8", "surrogatepass")
    pieces: list[tuple[str, float]] = []
    at, waiting, worth = 0, b"", 0.0
    for place, each in enumerate(drawn):
        while not wanted.startswith(each.raw, at) and wanted.startswith(_BROKEN, at):
            at, waiting = at + len(_BROKEN), waiting + _BROKEN
        if not wanted.startswith(each.raw, at):
            if place < len(drawn) - 1 and not SPECIAL_TOKEN.fullmatch(each.raw.decode("utf-8", "replace")):
                return ()
            continue
        at += len(each.raw)
        waiting += each.raw
        worth += each.logprob
        said = _whole(waiting)
        if said:
            pieces.append((said, worth))
            waiting, worth = b"", 0.0
    if not wanted[at:].replace(_BROKEN, b""):  # the rest, if any, are broken bytes at the text's end
        waiting += wanted[at:]
    if waiting:
        pieces.append((_whole(waiting), worth))
    return tuple(pieces) if "".join(said for said, _ in pieces) == text else ()


def _completion(choice: Any, tokens_told: int | None, max_tokens: int) -> Completion:
    finish_reason = _finish_reason(choice.get("finish_reason"))
    text = _text(_of(choice.get("message"), dict))
    drawn = _drawn(choice.get("logprobs"))
    if drawn:
        tokens = len(drawn)
    elif tokens_told:
        tokens = tokens_told
    else:
        raise JobError(
            Reason.MODEL_ERROR, "The model server does not tell how many tokens the model drew, if any."
        )
    if tokens > max_tokens:
        detail = f"The model server tells of {tokens} tokens in an answer that may have {max_tokens}."
        raise JobError(Reason.MODEL_ERROR, detail)
    mean_logprob = sum(each.logprob for each in drawn) / tokens if drawn else None
    return Completion(text, finish_reason, tokens, mean_logprob, pieces_of(text, drawn))


def _finish_reason(told: Any) -> Literal["stop", "length"]:
    if told == "stop":
        return "stop"
    if told == "length":
        return "length"
    detail = f"The model server ended the answer for another reason than stop or length: {told!r:.40}."
    raise JobError(Reason.MODEL_ERROR, detail)


def _text(message: dict[str, Any]) -> str:
    """What the model said, with the reasoning that a server may have split off put back before it."""
    content = message.get("content")
    reasoning = next(filter(None, (message.get(name) for name in ("reasoning", "reasoning_content"))), None)
    if isinstance(reasoning, str):
        content = f"{KEPT_TAGS[0]}{reasoning}{KEPT_TAGS[1]}{content or ''}"
    if not isinstance(content, str):
        raise JobError(Reason.MODEL_ERROR, "The model server sent an answer without text.")
    return SPECIAL_TOKEN.sub("", content)


def _drawn(logprobs: Any) -> list[Drawn]:
    """The tokens, where the server tells them: empty where it does not."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if content is None:
        return []
    drawn = []
    for entry in _of(content, list):
        told = _of(entry, dict)
        token, logprob, raw = told.get("token"), told.get("logprob"), told.get("bytes")
        if not isinstance(token, str):
            raise Odd("sent a token that is no text")
        is_number = isinstance(logprob, int | float) and not isinstance(logprob, bool)
        if not is_number or not math.isfinite(logprob) or logprob > _MOST_LOGPROB:
            raise JobError(Reason.MODEL_ERROR, "The model's scores are not log-probabilities.")
        is_bytes = isinstance(raw, list) and all(_is_count(each) and each < 256 for each in raw)
        drawn.append(Drawn(bytes(raw) if is_bytes else token.encode("utf-8", "surrogatepass"), float(logprob)))
    return drawn


def _tokens_told(data: dict[str, Any]) -> int | None:
    usage = data.get("usage")
    told = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return told if _is_count(told) else None


def _whole(raw: bytes) -> str:
    """The text in these bytes; empty where they end within a character."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return ""


def _is_count(told: Any) -> bool:
    return isinstance(told, int) and not isinstance(told, bool) and told >= 0


def _of(found: Any, kind: type[Any]) -> Any:
    if not isinstance(found, kind):
        raise Odd("sent something else than an answer to a chat completion")
    return found
