"""Teachers in the periodic training run: what they say and is there fills the questions; without them it goes on.

Teachers are real HTTP servers that know a photograph by its colour. What is visible is told by an oracle, since
the photographs are plain coloured squares.
"""

import base64
import io

import pytest
from PIL import Image
from sqlalchemy import select

from schema.tables import distillation, teacher_answer, training_run
from tests.chat_server import MODEL, Server, answered, choice, pictures_of
from tests.integration.test_cycle import Shop, cities  # noqa: F401 (a fixture)
from trainer.curate.distil.asking import Interrupt
from trainer.curate.opinions import CueSeen
from trainer.curate.see.seeing import Eyes
from trainer.cycle.cycle import run_cycle
from trainer.cycle.runs import Asked, cancel, take
from trainer.cycle.taught import Teachers, not_asked, with_cues
from worker.settings import Settings


def words(number):
    """Words that no other number has, without digits: the canary does not look at those."""
    return " ".join("abcdefghij"[int(digit)] * 5 for digit in f"{number:04}")


def number_in(body):
    (url,) = pictures_of(body)
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
    red, green, blue = image.getpixel((0, 0))
    return red + 256 * green if blue == 77 else None


class Teaching(Server):
    """Knows every city by its number; `asked_about` are the numbers of the photographs that it was shown."""

    def __init__(self, cities, during=None):  # noqa: F811
        super().__init__(self._reply)
        self.cities = cities
        self.asked_about = []
        self.during = during

    def _reply(self, body):
        number = number_in(body)
        if number is None:
            said = "<think>Nothing is to be seen.</think><answer>country: unknown</answer>"
        else:
            self.asked_about.append(number)
            if self.during is not None:
                self.during(len(self.asked_about))
            city = self.cities[number]
            said = (
                "<verdict>locatable: yes\nprobability: 0.9</verdict>"
                f"<think>A wall of {words(number)} stands there. There is a tower.</think>"
                f"<visible>a wall\na tower</visible><answer>country: {city.country}\ncity: {city.name}</answer>"
            )
        reply = answered(choice(said), prompt_tokens=700)
        reply[1]["choices"][0]["logprobs"] = None
        return reply


WALL, TOWER = CueSeen("a wall", True, "an oracle", 1.0), CueSeen("a tower", False, "an oracle", 0.0)


def sees(*cues):
    """Sees the same on every photograph."""
    return lambda settings, fetch, *, limits: Eyes(
        visible=lambda samples: [list(cues) for _ in samples], described={"matcher": {"name": "an oracle"}}
    )


@pytest.fixture
def shop(database, tmp_path, cities):  # noqa: F811
    made = Shop(database, tmp_path, cities)
    made.label(60)
    made.archive.consent("press")
    return made


@pytest.fixture
def teachers_file(tmp_path):
    def write(**urls):
        path = tmp_path / "teachers.yaml"
        named = [f"  - {{name: {name}, kind: openai, url: '{url}', model: {MODEL}}}" for name, url in urls.items()]
        path.write_text("\n".join(["teachers:", *named]) + "\n")
        return path

    return write


def settings_of(shop, path=None):
    return Settings(database_url=shop.database.url, teachers=path)


def told(shop, done):
    with shop.engine.connect() as connection:
        return connection.execute(select(training_run.c.metrics).where(training_run.c.id == done.id)).scalar_one()


def columns_of(shop):
    return [question.columns for question in shop.trainer.calls[-1]["questions"]]


def test_what_teachers_name_and_is_there_fills_the_questions(shop, teachers_file, cities):  # noqa: F811
    with Teaching(cities) as one, Teaching(cities) as other:
        path = teachers_file(one=one.url, other=other.url)
        done = shop.run(teach=Teachers(settings_of(shop, path), sees(WALL, TOWER)))
    assert done.state == "done", done.detail
    metrics = told(shop, done)
    asked = metrics["questions"]
    assert metrics["teachers"]["without"] is None
    assert (metrics["teachers"]["asked"], metrics["teachers"]["looked_at"]) == (asked, asked)
    assert metrics["teachers"]["away"] == metrics["teachers"]["quarantined"] == {}
    assert "visual" not in metrics["cannot_judge"]
    for columns in columns_of(shop):
        assert columns["true_cues"] == columns["entities"] == ["a wall"]
    assert sorted(one.asked_about) == sorted(other.asked_about) and len(one.asked_about) == asked
    assert shop.trainer.calls[-1]["cue_reader"] is None, "phrases are read, since cues are known"
    with shop.engine.connect() as connection:
        [row] = connection.execute(select(distillation)).all()
    assert (row.name, row.state, row.curation_id) == (f"training run {done.id}", "done", done.curation_id)
    assert row.parameters["matcher"] == {"name": "an oracle"}


def test_nobody_is_asked_twice_about_what_is_known(shop, teachers_file, cities):  # noqa: F811
    shop.trainer.knows = 30  # no better than what serves: refused, so that its labels come again
    with Teaching(cities) as one, Teaching(cities) as other:
        path = teachers_file(one=one.url, other=other.url)
        shop.run(teach=Teachers(settings_of(shop, path), sees(WALL)))
        before = len(one.asked_about)
        shop.label(30)
        done = shop.run(teach=Teachers(settings_of(shop, path), sees(WALL)))
        assert len(set(one.asked_about)) == len(one.asked_about)
    assert told(shop, done)["teachers"]["asked"] == len(one.asked_about) - before
    again = shop.run(teach=Teachers(settings_of(shop), sees(WALL)))
    metrics = told(shop, again)
    assert metrics["teachers"]["without"] == "GLOBETAG_TEACHERS is not set"
    assert metrics["teachers"]["looked_at"] == metrics["questions"] > 0, "what was found before is used"


def test_without_teachers_the_run_goes_on_and_says_so(shop):
    done = shop.run(teach=Teachers(settings_of(shop)))
    metrics = told(shop, done)
    assert done.state == "done"
    assert metrics["teachers"] == {
        "without": "GLOBETAG_TEACHERS is not set",
        "looked_at": 0,
        "questions": metrics["questions"],
    }
    assert "visual" in metrics["cannot_judge"]
    assert all(columns["true_cues"] is None for columns in columns_of(shop))
    assert with_cues(shop.engine, []) == []
    assert not_asked(shop.engine, ["0" * 64], "training run 1") == {"0" * 64}


@pytest.mark.parametrize("fault", ["nobody answers", "no such file", "not YAML"])
def test_teachers_that_cannot_be_asked_fail_nothing(shop, teachers_file, tmp_path, cities, fault):  # noqa: F811
    with Teaching(cities) as gone:
        path = teachers_file(gone=gone.url)
    if fault == "no such file":
        path = tmp_path / "none.yaml"
    elif fault == "not YAML":
        path.write_text("teachers: [")
    done = shop.run(teach=Teachers(settings_of(shop, path), sees(WALL, TOWER)))
    assert done.state == "done", done.detail
    reason = told(shop, done)["teachers"]["without"]
    assert {"nobody answers": "no teacher can be asked", "no such file": "cannot be read", "not YAML": "not YAML"}[
        fault
    ] in reason
    assert done.outcome in ("promoted", "refused")


def test_one_that_is_away_leaves_the_other_and_is_told(shop, teachers_file, cities):  # noqa: F811
    with Teaching(cities) as gone:
        pass
    with Teaching(cities) as one:
        path = teachers_file(one=one.url, gone=gone.url)
        done = shop.run(teach=Teachers(settings_of(shop, path), sees(WALL, TOWER), patience_s=0.5))
    metrics = told(shop, done)["teachers"]
    assert done.state == "done" and metrics["asked"] == len(one.asked_about)
    assert list(metrics["away"]) == ["gone"]


def test_with_nobody_to_look_nothing_is_made_up(shop, teachers_file, cities):  # noqa: F811
    with Teaching(cities) as one, Teaching(cities) as other:
        path = teachers_file(one=one.url, other=other.url)
        done = shop.run(teach=Teachers(settings_of(shop, path)))
    metrics = told(shop, done)
    assert metrics["teachers"]["asked"] > 0 and metrics["teachers"]["looked_at"] == 0
    assert any("nobody looks" in note for note in metrics["teachers"]["notes"])
    assert "visual" in metrics["cannot_judge"]


def test_a_cancelled_run_stops_asking_and_keeps_what_was_said(shop, teachers_file, cities, monkeypatch):  # noqa: F811
    interrupts = []

    class Seen(Interrupt):
        def __init__(self):
            super().__init__()
            interrupts.append(self)

    def during(count):
        if count == 5:
            cancel(shop.engine)
        elif count > 5:
            interrupts[0].gently.wait(60)  # else all might be answered before anybody looks

    monkeypatch.setattr("trainer.cycle.asking.Interrupt", Seen)

    with Teaching(cities, during) as one:
        path = teachers_file(one=one.url)
        with take(shop.engine, Asked("person", "knows-30", "atlas_cpu")) as run:
            run_cycle(run, shop.plan, shop.parts(teach=Teachers(settings_of(shop, path), sees(WALL, TOWER))))
    with shop.engine.connect() as connection:
        row = connection.execute(select(training_run)).one()
        state = connection.execute(select(distillation.c.state)).scalar_one()
        answers = connection.execute(select(teacher_answer).where(teacher_answer.c.state == "answered")).all()
    assert row.state == "cancelled"
    assert state == "interrupted" and 5 <= len(answers) < 30
    assert not shop.trainer.calls
