"""Rows become a batch: the same tokens and pixels as in serving, with labels on the answers alone.

TRL has a collator for pictures; ours takes its place for three reasons. TRL cuts rows at `max_length` without a
word; here they are counted before the first step. TRL renders the answer through the chat template, and some
templates drop `<think>`; here the answer's own tokens follow the prompt's, as they do when the model is served.
And prompts quote untrusted text: special tokens in it are broken up, as the worker does.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from PIL import Image

from trainer.merge import special_tokens
from trainer.sft.examples import Example
from trainer.sft.recipe import Recipe
from worker.errors import JobError, SetupError
from worker.reason.answer import Unparsable, parse
from worker.reason.conversation import conversation, defused, shrunk
from worker.reason.engines import Prompt
from worker.reason.engines.transformers import TOKEN_ROWS

log = logging.getLogger(__name__)

IGNORED = -100
"""The label of tokens that are not learnt (torch's cross entropy)."""
_CHECKED_AT_ONCE = 1000


class Collator:
    """Turns row numbers into a batch: tokens padded on the right, labels on the answers alone, pixels."""

    def __init__(self, processor: Any, examples: Sequence[Example], max_pixels: int) -> None:
        self.processor = processor
        self._examples = examples
        self._max_pixels = max_pixels
        self._special = sorted(special_tokens(processor), key=len, reverse=True)
        self._prompt_tokens: dict[Prompt, int] = {}
        self._marks: int | None = None
        tokenizer = processor.tokenizer
        if tokenizer.eos_token_id is None:
            raise SetupError("the checkpoint's tokenizer names no token that ends an answer; choose another one")
        self._end_id: int = tokenizer.eos_token_id
        self._pad_id: int = self._end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    def __call__(self, rows: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        """Axes: rows x tokens, pictures as the processor returns them; `labels` beside them."""
        chosen = [self._examples[row["row"]] for row in rows]
        asked = self.ask([example.prompt for example in chosen], [self._open(example) for example in chosen])
        answers = self.answer_ids([example.completion for example in chosen])
        filled = asked.pop("attention_mask").bool()
        batch = {key: value for key, value in asked.items() if key not in TOKEN_ROWS}
        prompts = [ids[mask] for ids, mask in zip(asked["input_ids"], filled, strict=True)]
        batch["input_ids"] = _padded(zip(prompts, answers, strict=True), self._pad_id)
        batch["attention_mask"] = _padded(
            ((torch.ones_like(p), torch.ones_like(a)) for p, a in zip(prompts, answers, strict=True)), 0
        )
        batch["labels"] = _padded(
            ((torch.full_like(p, IGNORED), a) for p, a in zip(prompts, answers, strict=True)), IGNORED
        )
        for key in (TOKEN_ROWS & asked.keys()) - {"input_ids"}:  # kinds of tokens: an answer is text, 0
            kinds = [row[mask] for row, mask in zip(asked[key], filled, strict=True)]
            batch[key] = _padded(((k, torch.zeros_like(a)) for k, a in zip(kinds, answers, strict=True)), 0)
        return batch

    def ask(self, prompts: Sequence[Prompt], images: Sequence[Any]) -> dict[str, torch.Tensor]:
        """What the processor makes of prompts and pictures: the same tokens and pixels as in serving."""
        conversations = [
            conversation(prompt, shrunk(image, self._max_pixels), self._special)
            for prompt, image in zip(prompts, images, strict=True)
        ]
        return dict(
            self.processor.apply_chat_template(
                conversations,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True, "padding_side": "right"},
            )
        )

    def answer_ids(self, completions: Sequence[str]) -> list[torch.Tensor]:
        """The tokens of each answer, and the one that ends it."""
        texts = [defused(completion, self._special) for completion in completions]
        ids = self.processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [torch.tensor([*row, self._end_id]) for row in ids]

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Tokens of the prompt with the marks around its picture, without the picture."""
        if self._marks is None:  # prompts may all differ, and a picture costs as much as fifty of them
            ids = self.ask([prompt], [Image.new("RGB", (64, 64))])["input_ids"]
            self._marks = int((ids != self.processor.image_token_id).sum()) - self._text_tokens(prompt)
        if prompt not in self._prompt_tokens:
            self._prompt_tokens[prompt] = self._text_tokens(prompt) + self._marks
        return self._prompt_tokens[prompt]

    def _text_tokens(self, prompt: Prompt) -> int:
        messages = conversation(prompt, Image.new("RGB", (64, 64)), self._special)
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return sum(token != self.processor.image_token_id for token in ids)

    def most_visual_tokens(self) -> int:
        """As many as any picture costs whose sides are not wildly unequal."""
        processor = self.processor.image_processor
        side_px = processor.patch_size * processor.merge_size
        most: int = math.ceil(min(processor.size["longest_edge"], 1.2 * self._max_pixels) / side_px**2)
        return most

    def visual_tokens(self, example: Example) -> int:
        """Tokens of this example's picture, which is opened."""
        processor = self.processor.image_processor
        image = shrunk(self._open(example), self._max_pixels)
        patches = processor.get_number_of_image_patches(image.height, image.width, {})
        tokens: int = patches // processor.merge_size**2
        return tokens

    def _open(self, example: Example) -> Image.Image:
        try:
            return example.open()
        except (JobError, OSError) as error:
            raise SetupError(
                f"example {example.id}: its picture cannot be opened ({error}); leave it out"
            ) from error


Fault = Callable[[str], str | None]
"""Why a completion is none that may be learnt, None where it may."""


def no_answer(completion: str) -> str | None:
    """Why the worker's grammar cannot read this as an answer."""
    read = parse(completion)
    return read.detail if isinstance(read, Unparsable) else None


def usable_rows(
    collator: Collator, examples: Sequence[Example], recipe: Recipe, fault: Fault = no_answer
) -> tuple[list[int], tuple[str, ...]]:
    """Row numbers to train on, and the ids of examples of more than `max_length` tokens that are dropped.

    Pictures are opened only where the text leaves less room than any picture might need. Raises `SetupError`; see
    `fine_tune`.
    """
    rows, too_long = [], []
    room_for_picture = collator.most_visual_tokens()
    for start in range(0, len(examples), _CHECKED_AT_ONCE):
        chunk = [examples[row] for row in range(start, min(start + _CHECKED_AT_ONCE, len(examples)))]
        answers = collator.answer_ids([example.completion for example in chunk])
        for row, (example, answer) in enumerate(zip(chunk, answers, strict=True), start):
            if said := fault(example.completion):
                raise SetupError(f"example {example.id}: its answer cannot be read ({said}); leave it out")
            room = recipe.max_length - collator.prompt_tokens(example.prompt) - len(answer)
            if room >= room_for_picture or (room > 0 and room >= collator.visual_tokens(example)):
                rows.append(row)
            elif recipe.too_long == "drop":
                too_long.append(example.id)
            else:
                raise SetupError(
                    f"example {example.id}: with its picture it has more than max_length={recipe.max_length}"
                    " tokens; raise max_length in the recipe, or let it drop such rows (too_long: drop)"
                )
    if too_long:
        log.warning("%d of %d examples have more than %d tokens and are left out",
                    len(too_long), len(examples), recipe.max_length)  # fmt: skip
    if not rows:
        raise SetupError(
            "there is nothing to train on: " + ("every example is too long" if too_long else "no example")
        )
    return rows, tuple(too_long)


def _padded(rows: Iterable[tuple[torch.Tensor, torch.Tensor]], value: int) -> torch.Tensor:
    """Each pair joined, all padded on the right to the longest."""
    joined = [torch.cat(pair) for pair in rows]
    return torch.nn.utils.rnn.pad_sequence(joined, batch_first=True, padding_value=value)
