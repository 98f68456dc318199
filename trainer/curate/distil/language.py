"""One question to a language teacher: the teacher's prompt and the picture, to an OpenAI-compatible endpoint.

Calls, circuit and dialects are the worker's. Each question carries two headers. `Idempotency-Key` is the same
whenever the same question goes out again, after an answer that got lost or a process that died: services that know
the header then send the answer that has been paid for already. `X-Request-Id` begins with the same key and differs
each time, since some servers (vLLM) take it for the request's own name.
"""

import hashlib
import secrets
import time
from dataclasses import asdict
from typing import Any

import httpx
from PIL import Image

from trainer.curate.distil.ledger import Came, Question
from trainer.curate.distil.prompt import PROMPT_HASH, teacher_prompt
from trainer.curate.opinions import Subject, Trouble
from trainer.curate.teachers import LanguageTeacher
from worker.errors import JobError, SetupError, Transient
from worker.reason.engines.chat import Dialect, messages, request
from worker.reason.engines.choices import Odd, prompt_tokens, read_choices
from worker.reason.engines.model_server import ModelServer
from worker.reason.engines.served import Told, find_dialect, find_served

_BASE_BYTES = 1 << 20
_TOKEN_BYTES = 1 << 10


class LanguageAsker:
    """See `trainer.curate.distil.lane.Asker`."""

    sees = True
    speaks = True

    def __init__(self, teacher: LanguageTeacher, *, salt: str, key: str | None) -> None:
        """`salt`: what else makes a question another one, such as its distillation. Asks nobody yet."""
        self.teacher = teacher
        self._salt = salt
        self._has_key = key is not None
        self._prompt = teacher_prompt()
        self._dialect: Dialect | None = None
        self._model = teacher.model
        try:
            self._calls = ModelServer(
                teacher.url, key, timeout_s=teacher.timeout_s, most_calls=teacher.concurrency
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise SetupError(
                f"teacher {teacher.name}: its url must look like http://model:8000/v1 ({type(error).__name__})"
            ) from error

    def meet(self) -> None:
        """Finds the model and how it is spoken to; `Blind` where it sees no pictures, else `SetupError`."""
        name = f"teacher {self.teacher.name}"
        key = f"the variable {self.teacher.key_variable}" if self.teacher.key_variable else "its key_variable"
        told = Told(server=f"{name}: url", key=key, model=f"{name}: model")
        served = find_served(self._calls, self.teacher.model, has_key=self._has_key, told=told)
        self._dialect = find_dialect(
            self._calls, self.teacher.model, self.teacher.max_pixels, has_key=self._has_key, told=told
        )
        self._model = served.name

    def ask(self, subject: Subject, picture: Image.Image | None) -> Came:
        """What the teacher says. Raises `Transient` and `PutOff` as `ModelServer.chat`; what a server refuses
        comes back as trouble."""
        assert self._dialect is not None, "meet first"
        teacher, question = self.teacher, Question(subject.id, self.teacher.name)
        asked = messages(self._prompt, picture, self._dialect, teacher.max_pixels)
        body = request(self._model, asked, teacher.sampling, self._dialect)
        key = self.key_of(subject.id)
        headers = {"Idempotency-Key": key, "X-Request-Id": f"{key}-{secrets.token_hex(4)}"}
        began_s = time.monotonic()
        most_bytes = _BASE_BYTES + _TOKEN_BYTES * teacher.max_tokens
        try:
            data = self._calls.chat(body, most_bytes=most_bytes, headers=headers)
            took_s = time.monotonic() - began_s
            (said,) = read_choices(data, n=1, max_tokens=teacher.max_tokens)
        except Odd as odd:
            raise self._calls.nonsense(str(odd)) from odd
        except Transient:
            raise
        except JobError as error:
            return self._came(question, trouble=Trouble.REFUSED, detail=error.detail)
        return self._came(
            question,
            raw=said.text,
            finish_reason=said.finish_reason,
            took_s=round(took_s, 3),
            tokens_in=prompt_tokens(data),
            tokens_out=said.tokens,
        )

    def key_of(self, sha256: str) -> str:
        """The same for the same question, in any process: distillation, teacher, model, prompt and sampling."""
        teacher = self.teacher
        asked = [self._salt, sha256, teacher.name, teacher.url, teacher.model, PROMPT_HASH, repr(teacher.sampling)]
        return "globetag-" + hashlib.sha256("\x00".join(asked).encode()).hexdigest()[:32]

    def close(self) -> None:
        """Calls that are under way break off."""
        self._calls.close()

    def _came(self, question: Question, **what: Any) -> Came:
        sampling = asdict(self.teacher.sampling)
        return Came(question, model=self._model, prompt_hash=PROMPT_HASH, sampling=sampling, **what)
