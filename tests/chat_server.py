"""A small HTTP server that speaks as much of OpenAI's API as the engine for model servers asks of it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "globe"
VLLM = {"id": MODEL, "owned_by": "vllm", "root": "/models/globe", "parent": None}


def choice(*tokens, index=0, finish_reason="stop", **message):
    content = [{"token": token, "logprob": -0.5, "bytes": list(token.encode())} for token in tokens]
    text = "".join(token for token in tokens if token != "<|im_end|>")
    return {
        "index": index,
        "message": {"content": text} | message,
        "finish_reason": finish_reason,
        "logprobs": {"content": content},
    }


def answered(*choices, prompt_tokens=90):
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1}
    return 200, {"choices": list(choices) or [choice("Here")], "usage": usage}


def pictures_of(body):
    parts = body["messages"][-1]["content"]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def is_test(body):
    return body["max_tokens"] == 1


class Server:
    """Answers a chat completion with `reply(body)`: a status, what to send, and headers; None: says nothing."""

    def __init__(self, reply, models=(VLLM,), key=None, port=0):
        self.reply = reply
        self.models = (200, {"data": list(models)})
        self.asked, self.headers = [], []
        self.now = self.most = 0
        self.over = threading.Event()
        outer, self.lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if not self.is_let_in():
                    return self.send(401, {"error": f"not with {self.headers.get('Authorization')}"})
                if self.path == "/v1/models":
                    return self.send(*outer.models)
                if self.path == "/version":
                    return self.send(200, {"version": "9.9"})
                return self.send(404, {"detail": "Not Found"})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.is_let_in():
                    return self.send(401, {"error": "no"})
                with outer.lock:
                    outer.asked.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                try:
                    found = outer.first(body) if is_test(body) else outer.reply(body)
                finally:
                    with outer.lock:
                        outer.now -= 1
                if found is None:
                    self.close_connection = True
                    return None
                return self.send(*found)

            def is_let_in(self):
                return key is None or self.headers.get("Authorization") == f"Bearer {key}"

            def send(self, status, said, headers=()):
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                try:
                    self.send_response(status)
                    for name, value in dict(headers).items():
                        self.send_header(name, value)
                    if "Content-Length" not in dict(headers):
                        self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    if dict(headers).get("X-Drip"):
                        while not outer.over.wait(0.05):
                            self.wfile.write(b" ")
                    self.wfile.write(data)
                    self.wfile.flush()
                except OSError:
                    self.close_connection = True  # the client has gone: that is what some tests are about
                if "Content-Length" in dict(headers):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def first(self, body):
        return answered(prompt_tokens=90 if pictures_of(body) else 9)

    @property
    def questions(self):
        """All that was asked after the start's own questions."""
        return [body for body in self.asked if not is_test(body)]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
