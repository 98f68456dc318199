"""What is kept of everything that the model printed about one photograph."""

from collections.abc import Sequence
from typing import Any

from worker.outcome import TraceRecord
from worker.place.votes import Sample
from worker.reason.answer import Answer
from worker.reason.injected_text import injected_text


def trace_of(samples: Sequence[Sample], shown: int) -> TraceRecord:
    """The answer that speaks for the outcome, the others beside it."""
    completion, answer = samples[shown].completion, samples[shown].answer
    cues = answer.cues if isinstance(answer, Answer) else ()
    return TraceRecord(
        reasoning=answer.reasoning,
        answer=_storable(completion.text),
        cues=tuple({"text": cue, "supported": None} for cue in cues),
        tokens=completion.tokens,
        mean_logprob=completion.mean_logprob,
        finish_reason=completion.finish_reason,
        samples=tuple(_other(n, sample) for n, sample in enumerate(samples) if n != shown),
        injected_text=injected_text("\n".join(sample.completion.text for sample in samples)),
    )


def _other(number: int, sample: Sample) -> dict[str, Any]:
    """An entry of `trace.samples`; `number` 0 was drawn first."""
    return {
        "number": number,
        "answer": _storable(sample.completion.text),
        "tokens": sample.completion.tokens,
        "mean_logprob": sample.completion.mean_logprob,
        "finish_reason": sample.completion.finish_reason,
        "lat": sample.place.lat if sample.place else None,
        "lon": sample.place.lon if sample.place else None,
    }


def _storable(text: str) -> str:
    return text.replace("\x00", "")
