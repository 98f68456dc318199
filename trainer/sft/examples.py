"""One thing to learn from: a picture, what the model is asked about it, and what it should answer.

No torch here: readers and generators of examples need none. Pictures are opened when their batch is due, not
before, so a sequence of a hundred thousand examples costs no more memory than its texts.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from worker.intake.picture import decode
from worker.reason.engines import Prompt


@dataclass(frozen=True, slots=True)
class Example:
    """`image` is a file, a picture, or a function without arguments that draws or loads one.

    `prompt` comes from `worker.reason.prompt.build_prompt`, `completion` from `worker.reason.answer.render`: what
    is trained is what is served. `id` names the example in messages; it should be unique.
    """

    id: str
    image: Path | Image.Image | Callable[[], Image.Image]
    prompt: Prompt
    completion: str

    def open(self) -> Image.Image:
        """The picture as RGB. A file goes through the worker's own decoder, and raises what that raises."""
        if isinstance(self.image, Path):
            return decode(self.image.read_bytes()).image
        image = self.image if isinstance(self.image, Image.Image) else self.image()
        return image if image.mode == "RGB" else image.convert("RGB")


def digest(examples: Iterable[Example]) -> str:
    """Sixteen hex digits over ids, prompts and completions in order, and over the sizes of picture files.

    Pictures stand in by id: reading them all would take longer than a short training.
    """
    hashed = hashlib.sha256()
    for example in examples:
        size = example.image.stat().st_size if isinstance(example.image, Path) else 0
        fields = (example.id, str(size), example.prompt.system, example.prompt.user, example.completion)
        for text in fields:
            encoded = text.encode("utf-8", "surrogatepass")
            hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    return hashed.hexdigest()[:16]
