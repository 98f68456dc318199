"""Imperfect teachers of the Atlas behind HTTP: a small server that speaks OpenAI's chat completions.

    python -m atlas.teacher_server --teacher careful --split test --count 1500 [--port 8000]

It knows the scenes of a stretch of a split and recognises the one it is shown by its pixels (`atlas.recognise`);
nothing in the request tells it. Then it says what `atlas.teachers` has its teacher say, in the form that
`trainer.curate.distil.prompt` asks for. Of a picture without anything in it, it says that nothing can be told; one
that it does not know it refuses (HTTP 400), so that a mistake shows.
"""

import argparse
import base64
import binascii
import io
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from atlas.language import completion, stated_cues
from atlas.recognise import NotRecognised, Recogniser
from atlas.scenes import Scene, scene
from atlas.teachers import TEACHERS, Teacher, teacher_text
from atlas.world import World, load_world

PICTURE_TOKENS = 64
PLAIN_LEVELS = 3.0
"""Standard deviation of the grey levels below which a picture holds nothing."""
_MOST_BYTES = 16 << 20
_DATA_URL = "base64,"


def taught(world: World, shown: Scene, teacher: Teacher) -> str:
    """What the teacher says of a scene in the form of the teachers' prompt: verdict, reasons, things seen, answer.

    Its probability is what it believes: the posterior of the likeliest region, given the cues that it claims to
    see.
    """
    text = teacher_text(world, shown, teacher)
    reasons, _, answer = text.partition("</think>")
    stated = stated_cues(reasons)
    sure = float(np.add.reduceat(world.posterior_C(dict(stated)), world.region_starts).max()) if stated else 0.0
    says_yes = "country: unknown" not in answer
    verdict = f"<verdict>locatable: {'yes' if says_yes else 'no'}\nprobability: {sure:.2f}</verdict>\n"
    things = "\n".join(sentence for sentence in _sentences(reasons) if stated_cues(sentence))
    visible = f"\n<visible>{things}</visible>\n" if things else "\n"
    return f"{verdict}{reasons}</think>{visible}{answer}"


def _sentences(reasons: str) -> list[str]:
    text = reasons.removeprefix("<think>")
    return [f"{part.strip()}." for part in text.split(".") if part.strip()]


class TeacherServer:
    """One teacher on a port of this machine. Use it as a context; `url` ends in /v1."""

    def __init__(self, teacher: Teacher, recogniser: Recogniser, *, port: int = 0) -> None:
        self.teacher = teacher
        self._world = load_world()
        self._recogniser = recogniser
        self._lock = threading.Lock()
        self.asked: dict[str, int] = {}
        """How often each scene was asked about, by its id."""
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._http = _Http(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "TeacherServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, picture: Image.Image | None) -> str:
        """What the teacher says of a picture. Raises `NotRecognised`."""
        if picture is None or float(np.asarray(picture.convert("L")).std()) < PLAIN_LEVELS:
            return completion([], self._world.cities[0], "none", None, Random(0))
        shown = self._recogniser.scene_of(picture)
        with self._lock:
            self.asked[shown.id] = self.asked.get(shown.id, 0) + 1
        return taught(self._world, shown, self.teacher)


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asks may be killed while it asks: that is no error of the server."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: TeacherServer

    def do_GET(self) -> None:
        name = self.server_of.teacher.name
        if self.path == "/v1/models":
            entry = {"id": name, "object": "model", "owned_by": "atlas", "root": name, "parent": None}
            return self._send(HTTPStatus.OK, {"object": "list", "data": [entry]})
        if self.path == "/health":
            return self._send(HTTPStatus.OK, {})
        return self._send(HTTPStatus.NOT_FOUND, {"error": {"message": "there is nothing here"}})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _MOST_BYTES:
            return self._refuse("the request is empty or too long")
        body = self.rfile.read(length)
        if self.path != "/v1/chat/completions":
            return self._send(HTTPStatus.NOT_FOUND, {"error": {"message": "there is nothing here"}})
        try:
            asked = json.loads(body)
            picture = picture_of(asked)
            text = self.server_of.answer(picture)
        except NotRecognised as error:
            return self._refuse(f"not a picture of this stretch of the Atlas: {error}")
        except (ValueError, KeyError, TypeError, OSError) as error:
            return self._refuse(f"not a chat completion with one picture: {type(error).__name__}")
        words = text.split(" ")
        most = asked.get("max_completion_tokens") or asked.get("max_tokens") or len(words)
        said, ended = " ".join(words[:most]), "stop" if len(words) <= most else "length"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": ended}
        usage = {
            "prompt_tokens": 100 + (PICTURE_TOKENS if picture is not None else 0),
            "completion_tokens": min(len(words), most),
        }
        return self._send(HTTPStatus.OK, {"object": "chat.completion", "choices": [choice], "usage": usage})

    def _refuse(self, why: str) -> None:
        self.close_connection = True
        self._send(HTTPStatus.BAD_REQUEST, {"error": {"message": why}})

    def _send(self, status: HTTPStatus, said: Mapping[str, Any]) -> None:
        data = json.dumps(said).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # whoever asked has gone

    def log_message(self, *_: object) -> None:
        """Says nothing of each request."""


def picture_of(asked: Mapping[str, Any]) -> Image.Image | None:
    """The last picture of a chat completion's messages, decoded; None where there is none.

    Raises `ValueError`, `KeyError`, `TypeError` or `OSError` for what has not the API's form.
    """
    found = None
    for message in asked["messages"]:
        content = message["content"]
        for part in content if isinstance(content, list) else ():
            if part["type"] == "image_url":
                found = part["image_url"]["url"]
    if found is None:
        return None
    head, marker, data = found.partition(_DATA_URL)
    if not head.startswith("data:image/") or not marker:
        raise ValueError("a picture must come as a data URL")
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    except binascii.Error as error:
        raise ValueError("not base64") from error
    return picture.convert("RGB")


def main(arguments: Sequence[str]) -> int:
    """Serves one teacher until it is ended; prints its address once it answers."""
    parser = argparse.ArgumentParser(prog="python -m atlas.teacher_server", description=__doc__.split("\n")[0])
    parser.add_argument("--teacher", choices=[one.name for one in TEACHERS], required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args(arguments)
    world = load_world()
    known = Recogniser([scene(world, given.split, given.start + n) for n in range(given.count)])
    (teacher,) = (one for one in TEACHERS if one.name == given.teacher)
    with TeacherServer(teacher, known, port=given.port) as server:
        print(server.url, flush=True)  # noqa: T201
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
