"""How likely the model found the place that it names.

The mean over all tokens of an answer says mostly how many ways there are to word it. What a wrong place costs is
decided at a few tokens: those that name it for the first time, usually in the reasoning. From then on, and in the
answer itself, the model only repeats what it has said, and finds that certain.
"""

from collections.abc import Sequence

from worker.reason.answer import Answer


def place_logprob(pieces: Sequence[tuple[str, float]], answer: Answer) -> float | None:
    """The log-probability of all pieces in which a name of the place stands for the first time, together.

    `pieces` are those of the completion. None where they are not known, where the answer names no place, and where
    no name stands in the text as the answer has it.
    """
    names = [name for name in (answer.country, answer.region, answer.city) if name]
    text = "".join(said for said, _ in pieces)
    found = [(start, start + len(name)) for name in names if (start := text.find(name)) >= 0]
    if not found:
        return None
    total, end = 0.0, 0
    for said, logprob in pieces:
        begin, end = end, end + len(said)
        if any(begin < until and start < end for start, until in found):
            total += logprob
    return total
