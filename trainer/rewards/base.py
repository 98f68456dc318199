"""What every reward shares: reading a batch, naming the sample at fault, and refusing figures that are none.

A reward is called as TRL's `GRPOTrainer` calls its functions: `completions` and each column of the data set as
keyword arguments, one value per completion (a prompt's row is repeated for each of its completions). What else
comes along (`prompts`, `trainer_state`, ...) is ignored. It returns one float in 0..1 per completion, or None
where it cannot judge. TRL takes NaN for None, so a NaN that slipped through would silence a reward without a word:
anything but a figure in 0..1 or None raises.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from worker.errors import GlobetagError, SetupError
from worker.reason.answer import Answer, Unparsable, parse

Completion = str | Sequence[Mapping[str, Any]]
"""A text, or a conversation (of the assistant's turns) whose content is a text or a list of typed blocks."""
Scores = list[float | None]

_PARSED_REMEMBERED = 512
_ROUNDING = 1e-9


class RewardFailed(GlobetagError):
    """A reward that could not be worked out: the run must stop. `sample_id` names the row, `detail` says why."""

    def __init__(self, sample_id: str, reward: str, detail: str) -> None:
        super().__init__(sample_id, reward, detail)
        self.sample_id = sample_id
        self.reward = reward
        self.detail = detail

    def __str__(self) -> str:
        return f"reward {self.reward}, sample {self.sample_id}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion with its row of the data set. `cut`: the token limit ended it (see `Reward`)."""

    reward: str
    id: str
    text: str
    row: int
    cut: bool
    columns: Mapping[str, Any]

    @property
    def answer(self) -> Answer | Unparsable:
        """The completion as the worker would read it."""
        return _parsed(self.text, "length" if self.cut else "stop")

    def get(self, column: str) -> Any:
        """This row's value, or None where the data set has no such column."""
        values = self.columns.get(column)
        return None if values is None else values[self.row]

    def failed(self, detail: str) -> RewardFailed:
        """The error to raise for this sample."""
        return RewardFailed(self.id, self.reward, detail)

    def number(self, column: str, low: float, high: float) -> float | None:
        """A column's figure, None where there is none. Raises `RewardFailed` for anything outside low..high."""
        value = self.get(column)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.failed(f"column {column} holds {value!r:.80}, not a number") from error
        if not low <= number <= high:
            raise self.failed(f"column {column} holds {number:g}, not a number in {low:g}..{high:g}")
        return number

    def string(self, column: str) -> str | None:
        """A column's text, None where there is none or it is blank. Raises `RewardFailed` for anything else."""
        value = self.get(column)
        if value is not None and not isinstance(value, str):
            raise self.failed(f"column {column} holds {value!r:.80}, not a text")
        return value.strip() or None if value is not None else None


@dataclass(frozen=True, kw_only=True)
class Reward(ABC):
    """The base of all rewards: small, immutable, picklable.

    `max_completion_tokens` is the trainer's limit where it is known. A completion of as many tokens was cut, and
    is read as serving reads a cut one: no place is taken from an unfinished thought.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    """Columns without which the reward cannot work, besides `id`."""

    max_completion_tokens: int | None = None

    @property
    def __name__(self) -> str:
        """TRL logs a reward under this name."""
        return self.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the data set must have, `id` included."""
        return ("id", *self.needs)

    def __call__(self, completions: Sequence[Completion], **columns: Any) -> Scores:
        """One reward for each completion, in order.

        Raises `SetupError` for a missing column, `ValueError` for one of another length, `RewardFailed` where a
        sample cannot be worked out.
        """
        samples = self._samples(completions, columns)
        scores = self.score_all(samples)
        return [_figure(sample, score) for sample, score in zip(samples, scores, strict=True)]

    def score_all(self, samples: Sequence[Sample]) -> Scores:
        """Rewards of a batch; overridden where samples are judged together."""
        return [self._guarded(sample) for sample in samples]

    @abstractmethod
    def score(self, sample: Sample) -> float | None:
        """The reward of one sample in 0..1, None where it cannot be judged."""

    def _guarded(self, sample: Sample) -> float | None:
        try:
            return self.score(sample)
        except GlobetagError:
            raise
        except Exception as error:  # a bug stops the run too, but says at which sample
            raise sample.failed(f"{type(error).__name__}: {error}") from error

    def _samples(self, completions: Sequence[Completion], columns: Mapping[str, Any]) -> list[Sample]:
        limit = self.max_completion_tokens
        needed = self.columns if limit is None else (*self.columns, "completion_ids")
        missing = [column for column in needed if not _is_column(columns.get(column))]
        if missing:
            raise SetupError(
                f"reward {self.name}: the data set has no column {' and no column '.join(missing)};"
                " add it, or leave this reward out of the recipe"
            )
        n = len(completions)
        lists = {name: values for name, values in columns.items() if _is_column(values)}
        for name, values in lists.items():
            if len(values) != n:
                raise ValueError(f"reward {self.name}: column {name} has {len(values)} values for {n} completions")
        texts = [text_of(completion) for completion in completions]
        cut = [limit is not None and len(lists["completion_ids"][row]) >= limit for row in range(n)]
        return [
            Sample(self.name, str(lists["id"][row]), text, row, cut[row], lists) for row, text in enumerate(texts)
        ]


def text_of(completion: Completion) -> str:
    """The text that the model wrote. Raises `TypeError` for what is no completion."""
    if isinstance(completion, str):
        return completion
    return "".join(_content(message["content"]) for message in completion if message.get("role") == "assistant")


def _is_column(values: Any) -> bool:
    return (
        isinstance(values, Collection) and hasattr(values, "__getitem__") and not isinstance(values, str | Mapping)
    )


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content if block.get("type") == "text")


def _figure(sample: Sample, score: float | None) -> float | None:
    if score is None:
        return None
    if not (math.isfinite(score) and -_ROUNDING <= score <= 1 + _ROUNDING):
        raise sample.failed(f"the reward came out as {score!r}, which is not in 0..1")
    return min(max(float(score), 0.0), 1.0)


@lru_cache(maxsize=_PARSED_REMEMBERED)
def _parsed(text: str, finish_reason: str) -> Answer | Unparsable:
    """Several rewards read the same completions."""
    return parse(text, finish_reason=finish_reason)
