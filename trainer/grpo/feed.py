"""What goes into TRL's trainer: questions as it takes them, and rewards on the text that serving would read."""

import time
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from trainer.grpo.questions import Question
from trainer.grpo.rewards import PICTURE_COLUMN
from trainer.merge import special_tokens
from trainer.rewards.weights import RewardSet
from worker.errors import JobError, SetupError
from worker.reason.conversation import KEPT_TAGS, conversation, shrunk


def data_set(questions: Sequence[Question], processor: Any, max_pixels: int) -> Dataset:
    """Row numbers, turned into what TRL and the rewards take when their batch is due.

    A group's rows are one question: its picture is opened once.
    """
    special = sorted(special_tokens(processor), key=len, reverse=True)
    columns = sorted({name for question in questions for name in question.columns})

    def due(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        opened: dict[int, tuple[Question, Any, Any]] = {}
        for row in batch["row"]:
            if row not in opened:
                question = questions[row]
                picture = shrunk(_open(question), max_pixels)
                opened[row] = (question, picture, conversation(question.prompt, picture, special))
        asked = [opened[row] for row in batch["row"]]
        return {
            "prompt": [messages for _, _, messages in asked],
            "id": [question.id for question, _, _ in asked],
            PICTURE_COLUMN: [picture for _, picture, _ in asked],
            **{name: [question.columns.get(name) for question, _, _ in asked] for name in columns},
        }

    return Dataset.from_dict({"row": list(range(len(questions)))}).with_transform(due)


def _open(question: Question) -> Any:
    try:
        return question.open()
    except (JobError, OSError) as error:
        raise SetupError(
            f"question {question.id}: its picture cannot be opened ({error}); leave it out"
        ) from error


class TimedRewards:
    """The reward function that TRL calls: the recipe's rewards on the text that serving would read.

    TRL drops every special token from a completion. Some tokenizers call `<think>` one; serving keeps it.
    """

    __name__ = "reward_set"

    def __init__(self, rewards: RewardSet, processor: Any) -> None:
        self._rewards = rewards
        self._tokenizer = processor.tokenizer
        names = special_tokens(processor).difference(KEPT_TAGS)
        ids = set(self._tokenizer.convert_tokens_to_ids(sorted(names)))
        self._dropped = ids | {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id}
        self._seconds = 0.0

    def __call__(self, *, completion_ids: Sequence[Sequence[int]], **columns: Any) -> list[float | None]:
        """One total per completion. Raises what the rewards raise."""
        started_s = time.perf_counter()
        columns.pop("completions")
        texts = [
            self._tokenizer.decode(
                [token for token in ids if token not in self._dropped],
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
            for ids in completion_ids
        ]
        scores = self._rewards(texts, completion_ids=completion_ids, **columns)
        self._seconds += time.perf_counter() - started_s
        return scores

    def taken_s(self) -> float:
        """Seconds since this was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
