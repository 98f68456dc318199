"""The last steps of loading an engine, the same for all: what went wrong in one line, and a first answer."""

from collections.abc import Callable
from typing import TypeVar

from PIL import Image

from worker.checkpoints import cannot_load
from worker.errors import JobError, SetupError
from worker.reason.engines import Engine, Prompt, Sampling
from worker.reason.engines.weights import VARIABLE

E = TypeVar("E", bound=Engine)


def started(make: Callable[[], E], model: str, *, library: str) -> E:
    """The engine that `make` loads, once it has answered a test picture.

    `library` is what has to know the checkpoint. Raises `SetupError` with one line that says what to do.
    """
    try:
        engine = make()
    except SetupError:
        raise
    except Exception as error:
        hint = f"{VARIABLE} must name a vision-language checkpoint (safetensors) that {library} knows"
        raise cannot_load(VARIABLE, model, error, hint) from error
    try:
        engine.generate(Prompt("", "Where is this?"), Image.new("RGB", (224, 224)), Sampling(max_tokens=1))
    except JobError as error:
        engine.close()
        raise SetupError(f"{VARIABLE}={model}: the model does not answer a test picture ({error})") from error
    return engine
