"""Asks the LVLM: once, and again only while there is doubt."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL.Image import Image

from worker.place.doubt import Doubt
from worker.place.gazetteer import Gazetteer
from worker.place.votes import Sample, read_sample
from worker.place.weighing import Weighed
from worker.reason.answer import Unparsable
from worker.reason.engines import Engine, Prompt, Sampling


def ask(
    engine: Engine,
    prompt: Prompt,
    image: Image,
    *,
    sampling: Sampling,
    doubt: Doubt,
    gate_score: float,
    gazetteer: Gazetteer,
    weigh: Callable[[Sequence[Sample]], Weighed],
) -> tuple[tuple[Sample, ...], Weighed]:
    """All answers in the order in which they were drawn, at least one, and what they come to.

    The first is drawn as `sampling` says, further ones at the doubt's temperature; each has a seed of its own, so
    that the same photograph gets the same answers again. Raises what `Engine.generate` raises.
    """
    samples = [read_sample(each, gazetteer) for each in engine.generate(prompt, image, sampling)]
    while True:
        weighed = weigh(samples)
        count = doubt.further(
            drawn=len(samples),
            agreement=weighed.agreement,
            mean_logprob=samples[0].completion.mean_logprob,
            gate_score=gate_score,
            readable=not isinstance(samples[0].answer, Unparsable),
        )
        if count == 0:
            return tuple(samples), weighed
        further = replace(sampling, temperature=doubt.temperature, seed=sampling.seed + len(samples))
        samples += [read_sample(each, gazetteer) for each in engine.generate(prompt, image, further, count)]
