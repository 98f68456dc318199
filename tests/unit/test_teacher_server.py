"""Imperfect teachers over HTTP: who is shown a picture knows the scene, and nobody else's."""

import base64
import io
import json
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atlas.language import stated_cues
from atlas.recognise import NotRecognised, Recogniser
from atlas.render import render
from atlas.scenes import scene
from atlas.teacher_server import TeacherServer, picture_of, taught
from atlas.teachers import TEACHERS, teacher_text
from atlas.world import load_world
from trainer.curate.distil.canary import control_picture, judge_control
from trainer.curate.distil.reading import read_said
from trainer.curate.opinions import Opinion

WORLD = load_world()
SCENES = [scene(WORLD, "test", index) for index in range(24)]


@pytest.fixture(scope="module")
def recogniser():
    return Recogniser(SCENES)


@pytest.fixture
def server(recogniser):
    with TeacherServer(TEACHERS[0], recogniser) as running:
        yield running


def encoded(picture, kind="JPEG", **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"


def asked(url, content):
    body = {"model": "careful", "messages": [{"role": "user", "content": content}], "max_tokens": 400}
    return post(url, json.dumps(body).encode())


def post(url, body):
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def picture(url):
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Where?"}]


@pytest.mark.parametrize("side_px", [112, 336])
def test_scenes_are_recognised_shrunk_and_encoded_anew(recogniser, side_px):
    for shown in SCENES:
        data = io.BytesIO()
        render(shown, 336).resize((side_px, side_px)).save(data, "JPEG", quality=75)
        assert recogniser.scene_of(Image.open(data)).id == shown.id


def test_a_scene_that_is_not_known_is_not_taken_for_another(recogniser):
    for index in range(1000, 1020):
        with pytest.raises(NotRecognised):
            recogniser.scene_of(render(scene(WORLD, "test", index), 336))


@pytest.mark.parametrize("teacher", TEACHERS, ids=lambda one: one.name)
def test_what_is_taught_reads_as_the_teachers_words(teacher):
    for shown in SCENES:
        read = read_said(teacher.name, taught(WORLD, shown, teacher), "stop")
        assert isinstance(read, Opinion)
        assert read.answer is not None
        assert read.locatable is not read.answer.abstains
        assert 0 <= read.p_locatable <= 1
        text = teacher_text(WORLD, shown, teacher)
        assert stated_cues(read.answer.reasoning) == stated_cues(text)
        assert len(read.named or ()) == len(stated_cues(text))


def test_a_picture_is_answered_and_counted_and_nothing_in_the_words_matters(server):
    for shown in SCENES[:6]:
        status, said = asked(server.url, picture(encoded(render(shown, 336), quality=85)))
        assert status == 200
        assert said["choices"][0]["message"]["content"] == taught(WORLD, shown, TEACHERS[0])
    assert server.asked == {shown.id: 1 for shown in SCENES[:6]}


def test_a_plain_picture_tells_nothing(server):
    status, said = asked(server.url, picture(encoded(control_picture(), "PNG")))
    assert status == 200
    found = judge_control("careful", said["choices"][0]["message"]["content"], "stop")
    assert found == {"says": "no place", "names_city": False, "locatable": False}
    assert server.asked == {}


def one_picture(url):
    return json.dumps({"messages": [{"content": [{"type": "image_url", "image_url": {"url": url}}]}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"messages": 3}',
        b'{"messages": [{"content": [{"type": "image_url"}]}]}',
        one_picture("http://elsewhere/x.png"),
        one_picture("data:image/png;base64,!!"),
        one_picture("data:image/png;base64,AAAA"),
    ],
)
def test_what_is_no_question_is_refused_and_the_next_is_answered(server, body):
    assert post(server.url, body)[0] == 400
    assert asked(server.url, picture(encoded(render(SCENES[0], 224))))[0] == 200


def test_a_stranger_s_picture_is_refused(server):
    strange = render(scene(WORLD, "test", 5000), 336)
    status, said = asked(server.url, picture(encoded(strange)))
    assert status == 400
    assert "Atlas" in said["error"]["message"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["messages", "content", "type", "image_url", "url"]), inner, max_size=4)
)))  # fmt: skip
def test_any_body_is_read_or_refused(body):
    try:
        found = picture_of(body)
    except (ValueError, KeyError, TypeError, OSError):
        return
    assert found is None
