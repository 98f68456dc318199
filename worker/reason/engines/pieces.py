"""A text cut where its tokens end, with what each piece was worth to the model."""

import math
from collections.abc import Callable, Sequence

_BROKEN = "\ufffd"
"""Stands for bytes that are no whole character: a token may end within one."""


def cut(
    text: str, tokens: Sequence[int], logprobs: Sequence[float], decode: Callable[[Sequence[int]], str]
) -> tuple[tuple[str, float], ...]:
    """The pieces of `text`, in order, each with the sum of its tokens' log-probabilities.

    A piece is one token, or as many as make whole characters. Joined they are `text`; where the tokenizer writes a
    token otherwise in company than alone, so that they are not, there are none.
    """
    pieces: list[tuple[str, float]] = []
    waiting: list[int] = []
    worth = 0.0
    for token, logprob in zip(tokens, logprobs, strict=True):
        waiting.append(token)
        worth += logprob
        said = decode(waiting)
        if not said.endswith(_BROKEN):
            pieces.append((said, worth))
            waiting, worth = [], 0.0
    if waiting:
        pieces.append((decode(waiting), worth))
    is_whole = "".join(said for said, _ in pieces) == text and all(math.isfinite(each) for _, each in pieces)
    return tuple(pieces) if is_whole else ()
