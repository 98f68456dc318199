"""Judges over HTTP, against a real server in this process: what is asked, what is read, and every way to fail."""

import base64
import io
import json
import math
import pickle
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from tests.support import picture
from trainer.rewards.base import RewardFailed
from trainer.rewards.calibration import Calibration
from trainer.rewards.endpoint import Endpoint, p_yes
from trainer.rewards.globe import GlobeLocatability, published_endpoint
from trainer.rewards.locatable import JudgeLocatability, LocatableReward
from worker.errors import SetupError

CITY = "<think>Blue {}.</think><answer>country: France\ncity: Rennes</answer>"
ABSTAINED = "<think>Fog.</think><answer>country: unknown</answer>"
IMAGE = Image.new("RGB", (8, 8), (10, 120, 200))


def tokens(**mass):
    """The top log-probabilities of a first token; "_yes" stands for " yes"."""
    top = [{"token": word.replace("_", " "), "logprob": math.log(p)} for word, p in mass.items()]
    return 200, {"choices": [{"logprobs": {"content": [{"token": "x", "logprob": 0.0, "top_logprobs": top}]}}]}


class Server:
    """Answers each question with `reply(body, number)`, counted from 1: a status, and JSON or text."""

    def __init__(self, reply):
        self.asked = []
        self.headers = []
        self.over = threading.Event()
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.asked.append(body)
                    outer.headers.append(dict(self.headers))
                    number = len(outer.asked)
                status, said = reply(body, number)
                data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True  # the client has gone: that is what some tests are about

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@contextmanager
def serving(reply):
    with Server(reply) as server:
        yield server


def always(*reply):
    return serving(lambda *_: reply)


def endpoint(url, **fields):
    return Endpoint(url=url, model="judge", **({"timeout_s": 5.0, "backoff_s": 0.0} | fields))


def ours(url, *, calibration=None, **fields):
    more = {} if calibration is None else {"calibration": calibration}
    return LocatableReward(source=JudgeLocatability(endpoint=endpoint(url, **fields), **more))


def ask(reward, *texts, ids=None):
    n = len(texts)
    return reward(list(texts), id=ids or [f"img-{row}" for row in range(n)], image=[IMAGE] * n)


# ---------------------------------------------------------------- what is asked and read


def test_the_probability_of_yes_is_pooled_over_spellings():
    with always(*tokens(yes=0.3, Yes=0.2, _YES=0.1, no=0.1, _No=0.1, maybe=0.2)) as server:
        found = ask(ours(server.url), CITY, ABSTAINED)
    assert found == pytest.approx([0.75, 0.25])


def test_the_judge_sees_the_picture_and_the_reasons_but_not_the_answer():
    with always(*tokens(yes=0.6, no=0.4)) as server:
        ask(ours(server.url, top_logprobs=7), CITY.format("plates"))
    (body,) = server.asked
    assert body["model"] == "judge"
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"], body["temperature"]) == (True, 7, 1, 0.0)
    system, user = body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    shown, text = user["content"]
    head, _, data = shown["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    seen = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (seen.format, seen.size) == ("JPEG", (8, 8))
    assert "Blue plates." in text["text"]
    assert "Rennes" not in json.dumps(body)


def test_answers_come_back_in_order_whichever_is_first():
    second_asked = threading.Event()

    def reply(body, _):
        text = body["messages"][1]["content"][1]["text"]
        if "plates" in text:
            assert second_asked.wait(10)
            return tokens(yes=0.9, no=0.1)
        second_asked.set()
        return tokens(yes=0.2, no=0.8)

    with serving(reply) as server:
        assert ask(ours(server.url), CITY.format("plates"), CITY.format("kerbs")) == pytest.approx([0.9, 0.2])


def test_the_same_reasons_for_the_same_picture_are_asked_once_and_the_unreadable_never():
    with always(*tokens(yes=0.6, no=0.4)) as server:
        found = ask(ours(server.url), CITY, CITY, CITY, "What a view!", ids=["a", "a", "b", "a"])
    assert found == pytest.approx([0.6, 0.6, 0.6, 0.0], abs=2e-6)
    assert len(server.asked) == 2


def test_nothing_to_ask_needs_no_server():
    assert ask(ours("http://127.0.0.1:1/v1"), "What a view!") == pytest.approx([0.0], abs=2e-6)
    assert ours("http://127.0.0.1:1/v1")([], id=[], image=[]) == []


def test_the_probability_is_calibrated():
    calibration = Calibration(slope=0.5, intercept=-1.0)
    with always(*tokens(yes=0.9, no=0.1)) as server:
        found = ask(ours(server.url, calibration=calibration), CITY, ABSTAINED)
    expected = 1 / (1 + math.exp(-(0.5 * math.log(9) - 1)))
    assert found == pytest.approx([expected, 1 - expected])


def test_neither_yes_nor_no_is_none():
    with always(*tokens(maybe=0.6, perhaps=0.4)) as server:
        assert ask(ours(server.url), CITY, ABSTAINED, "What a view!") == [None, None, pytest.approx(0, abs=2e-6)]
    with always(200, {"choices": [{"logprobs": {"content": []}}]}) as server:
        assert ask(ours(server.url), CITY) == [None]


def test_p_yes_of_one_side_alone():
    assert p_yes([("yes", -0.1), ("x", -3.0)]) == 1.0
    assert p_yes([("no", -0.1), ("x", -3.0)]) == 0.0
    assert p_yes([("yes", -1.0), ("no", -1.0)]) == 0.5
    assert p_yes([("yesterday", -0.1), ("nor", -0.2)]) is p_yes([]) is None


@pytest.mark.parametrize(
    "image",
    [IMAGE, [IMAGE], picture(3), {"bytes": picture(3), "path": None}, [{"bytes": picture(3)}]],
    ids=["picture", "list", "bytes", "object", "list of objects"],
)
def test_pictures_in_the_forms_that_data_sets_have(image, tmp_path):
    with always(*tokens(yes=0.6, no=0.4)) as server:
        assert ours(server.url)([CITY], id=["a"], image=[image]) == pytest.approx([0.6])
        path = tmp_path / "a.png"
        path.write_bytes(picture(3))
        for by_path in (path, str(path), {"bytes": None, "path": str(path)}):
            assert ours(server.url)([CITY], id=["a"], image=[by_path]) == pytest.approx([0.6])


@pytest.mark.parametrize("image", [None, 3, [], [IMAGE, IMAGE], b"no picture", "missing.jpg"])
def test_a_picture_that_is_none_stops_the_run(image):
    with pytest.raises(
        RewardFailed, match=r"reward locatable, sample img-9: (column image holds|its picture cannot)"
    ):
        ours("http://127.0.0.1:1/v1")([CITY], id=["img-9"], image=[image])


# ---------------------------------------------------------------- failing loudly


def test_a_busy_server_is_asked_again():
    with serving(lambda _, number: (503, "busy") if number < 3 else tokens(yes=0.7, no=0.3)) as server:
        assert ask(ours(server.url, attempts=3), CITY) == pytest.approx([0.7])
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "asked"), [(503, 2), (429, 2), (500, 2), (400, 1), (401, 1), (404, 1), (302, 1)]
)
def test_a_server_that_refuses_fails_the_sample_by_name(status, asked):
    with always(status, "sorry, no") as server, pytest.raises(RewardFailed) as caught:
        ask(ours(server.url, attempts=2), CITY)
    assert caught.value.sample_id == "img-0"
    assert f"{server.url}/chat/completions gave no answer (HTTP {status}: 'sorry, no')" in str(caught.value)
    assert len(server.asked) == asked


def test_a_server_that_is_not_there_is_never_a_reward_of_0():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        for reward in (ours(url), GlobeLocatability(endpoint=endpoint(url))):
            with pytest.raises(RewardFailed, match=rf"sample img-0: the judge at {url}.*ConnectError"):
                ask(reward, CITY)


def test_a_server_that_says_nothing_times_out():
    waiting = threading.Event()
    with serving(lambda *_: (waiting.wait(20), (200, "late"))[1]) as server:
        try:
            with pytest.raises(RewardFailed, match="ReadTimeout"):
                ask(ours(server.url, timeout_s=0.2, attempts=2), CITY)
        finally:
            waiting.set()
    assert len(server.asked) == 2


def test_after_a_failure_no_further_questions_are_asked():
    waiting = threading.Event()

    def reply(_, number):
        if number > 1:
            waiting.wait(20)
        return 400, "no"

    with serving(reply) as server:
        try:
            with pytest.raises(RewardFailed, match="sample img-0"):
                texts = [CITY.format(f"plate {number}") for number in range(20)]
                ask(ours(server.url, concurrency=1, attempts=1, timeout_s=0.5), *texts)
        finally:
            waiting.set()
    assert len(server.asked) <= 3


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("<html>", "did not answer as asked"),
        ({}, "did not answer as asked"),
        ({"choices": []}, "did not answer as asked"),
        ([], "did not answer as asked"),
        ({"choices": [{"message": {"content": "yes"}}]}, "sends no logprobs"),
        ({"choices": [{"logprobs": None}]}, "sends no logprobs"),
        ({"choices": [{"logprobs": {"content": None}}]}, "sends no logprobs"),
        ({"choices": [{"logprobs": {"content": [{"token": "yes"}]}}]}, "of another form"),
        ({"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "yes", "logprob": "x"}]}]}}]},
         "of another form"),
        ({"choices": [{"logprobs": {"content": [{"top_logprobs": []}]}}]}, "sends 0 of the 20 top_logprobs"),
        (tokens(yes=1.0)[1], "sends 1 of the 20 top_logprobs"),
    ],
)  # fmt: skip
def test_an_answer_of_another_form_fails_the_sample_by_name(said, complaint):
    with always(200, said) as server, pytest.raises(RewardFailed, match=complaint) as caught:
        ask(ours(server.url), CITY)
    assert caught.value.sample_id == "img-0"
    assert len(server.asked) == 1


def test_a_log_probability_that_is_no_number_is_no_reward():
    top = [{"token": "yes", "logprob": float("nan")}, {"token": "no", "logprob": -1.0}]
    said = {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}
    with always(200, said) as server, pytest.raises(RewardFailed, match="of another form"):
        ask(ours(server.url), CITY)


def test_passwords_are_not_shown():
    with pytest.raises(RewardFailed) as caught:
        ask(ours("http://me:secret@127.0.0.1:1/v1", attempts=1), CITY)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_the_key_comes_from_the_environment_and_is_not_pickled(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    with always(*tokens(yes=0.6, no=0.4)) as server:
        reward = ours(server.url, api_key_variable="JUDGE_KEY")
        assert b"sesame" not in pickle.dumps(reward)
        assert pickle.loads(pickle.dumps(reward)) == reward
        assert ask(reward, CITY) == pytest.approx([0.6])
    assert server.headers[0]["Authorization"] == "Bearer sesame"
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(SetupError, match="JUDGE_KEY is not set"):
        ask(reward, CITY)


@pytest.mark.parametrize(
    "fields",
    [{"url": "localhost:8000"}, {"url": ""}, {"attempts": 0}, {"concurrency": 0}, {"top_logprobs": 1},
     {"timeout_s": 0.0}],
)  # fmt: skip
def test_settings_that_are_none_are_refused(fields):
    with pytest.raises(SetupError, match="judge"):
        Endpoint(**({"url": "http://localhost:8000/v1", "model": "judge"} | fields))


# ---------------------------------------------------------------- the published form


def test_the_published_locatability_pools_three_spellings_and_sees_the_whole_completion():
    with always(*tokens(yes=0.2, Yes=0.1, YES=0.1, _yes=0.3, no=0.1, NO=0.1, nope=0.05)) as server:
        reward = GlobeLocatability(endpoint=published_endpoint(server.url, "rm"), system="Trained wording.")
        found = ask(reward, CITY, ABSTAINED, "What a view!")
    assert found == pytest.approx([0.4 / 0.6] * 3)
    bodies = {body["messages"][1]["content"][1]["text"]: body for body in server.asked}
    assert set(bodies) == {CITY, ABSTAINED, "What a view!"}
    body = bodies[CITY]
    assert (body["temperature"], body["max_tokens"], body["top_logprobs"]) == (0.6, 5, 5)
    assert body["messages"][0] == {"role": "system", "content": "Trained wording."}


def test_the_published_locatability_is_none_where_theirs_is_0():
    with always(*tokens(maybe=0.6, _yes=0.4)) as server:
        assert ask(GlobeLocatability(endpoint=endpoint(server.url)), CITY) == [None]
    with (
        always(500, "broken") as server,
        pytest.raises(RewardFailed, match="reward globe_locatability, sample img-0"),
    ):
        ask(GlobeLocatability(endpoint=endpoint(server.url)), CITY)
