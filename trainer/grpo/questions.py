"""One thing to be asked while learning by reward: a picture, the prompt, and what the rewards need to know.

No torch here. Pictures are opened when their batch is due, so a hundred thousand questions cost no more memory
than their texts.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from trainer.judge.records import Truth
from trainer.sft.examples import Example
from worker.errors import SetupError
from worker.reason.engines import Prompt

RESERVED = frozenset({
    "prompt", "prompts", "completion", "completions", "completion_ids", "image", "images", "picture", "row", "id",
    "trainer_state", "log_extra", "log_metric", "environment", "environments",
})  # fmt: skip
"""Names that the trainer itself gives to the rewards."""


@dataclass(frozen=True, slots=True)
class Question:
    """`image` is a file, a picture, or a function without arguments that draws or loads one.

    `prompt` comes from `worker.reason.prompt.build_prompt`: what is trained is what is served. `columns` are what
    the rewards read beside `id`: `lat`, `lon`, `country_code`, `true_cues`, `p_placeable` and so on. `id` names
    the question in messages and groups its completions; it must be unique.
    """

    id: str
    image: Path | Image.Image | Callable[[], Image.Image]
    prompt: Prompt
    columns: Mapping[str, Any]

    def open(self) -> Image.Image:
        """The picture as RGB. A file goes through the worker's own decoder, and raises what that raises."""
        return Example(self.id, self.image, self.prompt, "").open()


def from_truths(truths: Iterable[Truth], prompt: Prompt) -> list[Question]:
    """Pictures with known places, as `trainer.judge` reads them from any of its files, as questions.

    `entities` are the cues as words, for GLOBE's own reward. Raises `SetupError` for one without a picture.
    """
    return [Question(truth.id, _image(truth), prompt, columns_of(truth)) for truth in truths]


def columns_of(truth: Truth) -> dict[str, Any]:
    """What the rewards read, from one known place. `p_placeable` is the best possible guess at the country."""
    cues = None if truth.true_cues is None else sorted(truth.true_cues)
    return {
        "lat": truth.lat,
        "lon": truth.lon,
        "country_code": truth.country_code,
        "country": truth.country,
        "region": truth.region,
        "city": truth.city,
        "geoname_id": truth.geoname_id,
        "placeable": truth.placeable,
        "p_placeable": truth.bayes_country,
        "true_cues": cues,
        "entities": cues,
    }


def check(questions: Sequence[Question], needed: Iterable[str]) -> str:
    """Sixteen hex digits over ids, prompts and columns in order; pictures stand in by id and size of the file.

    Raises `SetupError` with all faults at once: no question, a column that is needed and missing, one that the
    trainer gives itself, an id that comes twice.
    """
    hashed = hashlib.sha256()
    columns: set[str] = set()
    ids: set[str] = set()
    twice: dict[str, None] = {}
    for question in questions:
        columns |= question.columns.keys()
        if question.id in ids:
            twice[question.id] = None
        ids.add(question.id)
        size = question.image.stat().st_size if isinstance(question.image, Path) else 0
        said = json.dumps(dict(question.columns), sort_keys=True, default=str)
        for text in (question.id, str(size), question.prompt.system, question.prompt.user, said):
            encoded = text.encode("utf-8", "surrogatepass")
            hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    if not ids:
        raise SetupError("there is nothing to train on: no question")
    found = [
        f"no question has the column {name}, which a reward of the recipe needs"
        for name in needed
        if name not in columns and name not in RESERVED
    ]
    found += [f"the column {name} is the trainer's own; call it otherwise" for name in sorted(columns & RESERVED)]
    found += [f"the id {name} comes more than once" for name in list(twice)[:3]]
    if found:
        raise SetupError("questions: " + "; ".join(found))
    return hashed.hexdigest()[:16]


def _image(truth: Truth) -> Path:
    if truth.image is None:
        raise SetupError(f"{truth.where or truth.id}: has no picture; leave the row out")
    return truth.image
