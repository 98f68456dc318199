"""Asks a model about a folder of pictures, with the worker's own decoder, prompt, grammar and gazetteer.

The engine is given in, so nothing here loads torch. Every image ends as one prediction, whatever happens to it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice

from PIL.Image import Image

from schema.reasons import Reason
from trainer.judge.answers import from_completion
from trainer.judge.read import fold_cue
from trainer.judge.records import Outcome, Prediction, Truth
from worker.errors import JobError
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.place.gazetteer import Gazetteer
from worker.reason.answer import Unparsable, parse
from worker.reason.engines import Engine, Sampling
from worker.reason.prompt import Style, build_prompt


@dataclass(frozen=True, slots=True)
class Asker:
    """Turns one picture into a prediction. Thread-safe, as the engine is."""

    engine: Engine
    gazetteer: Gazetteer
    sampling: Sampling
    style: Style = "globetag"
    limits: Limits = Limits()  # noqa: RUF009 (frozen)

    def ask(self, id_: str, picture: Image) -> Prediction:
        """The answer for a decoded picture. `confidence` is the mean probability of the drawn tokens."""
        try:
            [completion] = self.engine.generate(build_prompt(style=self.style), picture, self.sampling)
        except JobError as error:
            return Prediction(id_, Outcome.FAILED, detail=str(error))
        answer = from_completion(id_, completion.text, self.gazetteer, finish_reason=completion.finish_reason)
        logprob = completion.mean_logprob
        return replace(
            answer,
            confidence=None if logprob is None else math.exp(logprob),
            stated_cues=_cues(completion.text),
        )

    def ask_about(self, truth: Truth) -> Prediction:
        """The answer for a file. A picture that is missing or cannot be decoded is a failure with its reason."""
        try:
            return self.ask(truth.id, self.open(truth))
        except JobError as error:
            return Prediction(truth.id, Outcome.FAILED, detail=str(error))

    def open(self, truth: Truth) -> Image:
        """The decoded picture. Raises `JobError`."""
        if truth.image is None:
            raise JobError(Reason.NOT_FOUND, "the picture is not in the folder")
        try:
            data = truth.image.read_bytes()
        except OSError as error:
            raise JobError(Reason.UNREACHABLE, f"the file cannot be read: {error.strerror}") from error
        return decode(data, self.limits).image


def ask_all(
    asker: Asker,
    truths: Sequence[Truth],
    *,
    threads: int,
    on_done: Callable[[Prediction], None] = lambda _: None,
) -> list[Prediction]:
    """One prediction for each truth, in their order. `on_done` is told of each as it comes, in this thread.

    `threads` pictures are in work at once, which is what the engine's batches are made of.
    """
    found: dict[str, Prediction] = {}
    with ThreadPoolExecutor(threads, thread_name_prefix="judge") as pool:
        waiting = iter(truths)
        running = {pool.submit(asker.ask_about, truth) for truth in islice(waiting, 2 * threads)}
        try:
            for prediction in _as_they_come(pool, asker, waiting, running):
                found[prediction.id] = prediction
                on_done(prediction)
        finally:
            for future in running:
                future.cancel()
    return [found[truth.id] for truth in truths]


def _as_they_come(
    pool: ThreadPoolExecutor, asker: Asker, waiting: Iterator[Truth], running: set[Future[Prediction]]
) -> Iterator[Prediction]:
    while running:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        running -= done
        running |= {pool.submit(asker.ask_about, truth) for truth in islice(waiting, len(done))}
        for future in done:
            yield future.result()


def _cues(text: str) -> frozenset[str] | None:
    answer = parse(text)
    return None if isinstance(answer, Unparsable) else frozenset(map(fold_cue, answer.cues))
