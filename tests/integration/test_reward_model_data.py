"""Samples for the reward model out of a real database: stored predictions, and what teachers said."""

import hashlib
import uuid

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from schema import queries
from schema.reasons import LabelSource
from schema.tables import distillation, distilled, image, job, label, prediction, teacher_answer, trace
from tests.support import write_pictures
from trainer.commands.train import command
from trainer.curate.originals import OriginalChanged
from trainer.reward_model.archive import from_distillation, from_predictions
from trainer.reward_model.data import By, LeftOut, Target
from worker.errors import SetupError
from worker.intake.fetch import Fetcher
from worker.intake.fetch_limits import FetchLimits
from worker.intake.limits import Limits
from worker.reason.prompt import PROMPT_HASH

PARIS = {"lat": 48.8566, "lon": 2.3522}
RIGHT = "<think>A tower.</think><answer>country: France\ncity: Paris</answer>"
WRONG = "<think>A canal.</think><answer>country: Italy\ncity: Venice</answer>"
GIVES_UP = "<think>Fog.</think><answer>country: unknown</answer>"


@pytest.fixture
def fetch(tmp_path):
    with Fetcher(FetchLimits()) as fetcher:
        yield fetcher.fetch


class Archive:
    """Photographs of Paris whose files are there."""

    def __init__(self, engine, folder):
        self.engine, self.files = engine, write_pictures(folder, 6)
        with engine.begin() as connection:
            lvlm = {"kind": "lvlm", "name": "m", "version": "v1", "untrained": False}
            self.model_id = connection.execute(queries.models.ENSURE_MODEL_VERSION, lvlm).one().id
            gate = lvlm | {"kind": "gate"}
            self.gate_id = connection.execute(queries.models.ENSURE_MODEL_VERSION, gate).one().id
            ensure = queries.collections.ENSURE_COLLECTION
            self.collection_id = connection.execute(ensure, {"name": "postcards"}).scalar_one()

    def sha256(self, number):
        return hashlib.sha256(self.files[number].read_bytes()).hexdigest()

    def add(self, number, raw=None, *, data_mining=None):
        """A photograph with a label and, with `raw`, what the model said of it. Returns the image's id."""
        with self.engine.begin() as connection:
            image_id = connection.execute(
                insert(image)
                .values(sha256=self.sha256(number), format="png", width_px=8, height_px=8, size_bytes=1,
                        data_mining=data_mining)
                .returning(image.c.id)
            ).scalar_one()  # fmt: skip
            connection.execute(
                insert(job).values(
                    id=str(uuid.uuid4()), uri=self.files[number].as_uri(), image_id=image_id,
                    collection_id=self.collection_id, state="done", outcome="known",
                )
            )  # fmt: skip
            connection.execute(
                insert(label).values(image_id=image_id, source=LabelSource.EXIF, country_code="FR", **PARIS)
            )
            if raw is not None:
                place = {"status": "not_locatable", "reason": "no_place_stated"}
                if raw is not GIVES_UP:
                    point = PARIS if raw is RIGHT else {"lat": 45.44, "lon": 12.33}
                    code = "FR" if raw is RIGHT else "IT"
                    place = {"status": "located", "country_code": code, **point}
                prediction_id = connection.execute(
                    insert(prediction)
                    .values(
                        image_id=image_id,
                        pipeline_version="p",
                        request_hash="r",
                        model_version_id=self.model_id,
                        gate_version_id=self.gate_id,
                        prompt_hash=PROMPT_HASH,
                        sampling={},
                        gazetteer_version="g",
                        code_version="0",
                        **place,
                    )
                    .returning(prediction.c.id)
                ).scalar_one()
                connection.execute(
                    insert(trace).values(prediction_id=prediction_id, reasoning="", answer=raw, cues=[])
                )
            return image_id

    def consent(self):
        with self.engine.begin() as connection:
            given = {"name": "postcards", "granted": True, "granted_by": "anna"}
            connection.execute(queries.collections.SET_TRAINING_CONSENT, given)

    def distil(self, *said):
        """A distillation about the first photographs: (number, teacher, raw or a point)."""
        with self.engine.begin() as connection:
            teachers = [
                {"name": "a", "kind": "openai", "url": "http://a/v1", "model": "m"},
                {"name": "b", "kind": "openai", "url": "http://b/v1", "model": "m"},
                {"name": "geoclip", "kind": "geoclip"},
            ]
            id_ = connection.execute(
                insert(distillation)
                .values(name="summer", source={"kind": "folder"}, teachers=teachers, parameters={}, state="done")
                .returning(distillation.c.id)
            ).scalar_one()
            for number in sorted({number for number, _, _ in said}):
                connection.execute(
                    insert(distilled).values(
                        distillation_id=id_, sha256=self.sha256(number), uri=self.files[number].as_uri(),
                        country_code="FR", country="France", grouped_by="kim", state="done", **PARIS,
                    )
                )  # fmt: skip
            for number, teacher, came in said:
                answer = {"raw": came, "prompt_hash": "h"} if isinstance(came, str) else came
                connection.execute(
                    insert(teacher_answer).values(
                        distillation_id=id_,
                        sha256=self.sha256(number),
                        teacher=teacher,
                        state="answered",
                        **answer,
                    )
                )
            return id_


@pytest.fixture
def archive(database, tmp_path):
    return Archive(database.engine, tmp_path)


def told(found):
    return sorted((sample.reasoning, sample.locatable, sample.by) for sample in found.samples)


# --- stored predictions ---


def test_stored_predictions_with_labels(archive, fetch):
    for number, raw in enumerate((RIGHT, WRONG, GIVES_UP)):
        archive.add(number, raw)
    archive.consent()
    found = from_predictions(archive.engine, fetch, Limits(), Target.COUNTRY)
    assert told(found) == [
        ("A canal.", False, By.OUTCOME),
        ("A tower.", True, By.OUTCOME),
        ("Fog.", False, By.VERDICTS),
    ]
    assert found.samples[0].image().mode == "RGB"


def test_who_has_not_consented_and_whose_file_forbids_it_is_left_out(archive, fetch):
    archive.add(0, RIGHT)
    refused = from_predictions(archive.engine, fetch, Limits(), Target.COUNTRY)
    assert (refused.samples, refused.left_out) == ((), {LeftOut.NO_RIGHTS: 1})
    archive.consent()
    archive.add(1, WRONG, data_mining="DMI-PROHIBITED")
    found = from_predictions(archive.engine, fetch, Limits(), Target.COUNTRY)
    assert told(found) == [("A tower.", True, By.OUTCOME)]
    assert found.left_out == {LeftOut.NO_RIGHTS: 1}


def test_a_file_that_changed_is_never_shown(archive, fetch):
    archive.add(0, RIGHT)
    archive.consent()
    [sample] = from_predictions(archive.engine, fetch, Limits(), Target.COUNTRY).samples
    archive.files[0].write_bytes(archive.files[1].read_bytes())
    with pytest.raises(OriginalChanged):
        sample.image()


# --- a distillation ---


def test_what_teachers_said(archive, fetch):
    number = archive.distil(
        (0, "a", RIGHT), (0, "b", GIVES_UP), (1, "a", WRONG), (1, "geoclip", {"lat": 48.9, "lon": 2.3}),
        (2, "a", GIVES_UP), (2, "b", "I am sorry, but I cannot help with that."),
    )  # fmt: skip
    expected = [
        ("A canal.", False, By.OUTCOME),
        ("A tower.", True, By.OUTCOME),
        ("Fog.", False, By.VERDICTS),
        ("Fog.", True, By.OTHERS),
    ]
    for name in ("summer", str(number)):
        found = from_distillation(archive.engine, name, fetch, Limits(), Target.KM_25)
        assert told(found) == expected
        assert found.left_out == {LeftOut.UNREADABLE: 1}
        assert {sample.taken_by for sample in found.samples} == {"kim"}


def test_rights_are_those_of_today(archive, fetch):
    """Photographs that the archive knows, and that nobody has allowed to be learnt from (any more)."""
    archive.add(0)
    archive.distil((0, "a", RIGHT), (1, "a", WRONG))
    found = from_distillation(archive.engine, "summer", fetch, Limits(), Target.KM_25)
    assert told(found) == [("A canal.", False, By.OUTCOME)]
    assert found.left_out == {LeftOut.NO_RIGHTS: 1}


@pytest.mark.parametrize("name", ["winter", "77", "9" * 30])
def test_no_such_distillation(archive, fetch, name):
    with pytest.raises(SetupError, match="begin with `globetag curate plan`"):
        from_distillation(archive.engine, name, fetch, Limits(), Target.KM_25)


# --- the command ---


def test_the_command_says_what_there_is_and_refuses_too_little(archive, database, monkeypatch):
    archive.distil((0, "a", RIGHT), (1, "a", WRONG))
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    ran = CliRunner().invoke(command, ["reward", "--recipe", "globe_rm_7b", "--from", "summer", "--dry-run"])
    assert "2 samples of 2 photographs, 1 yes and 1 no; 2 by outcome" in ran.output
    assert isinstance(ran.exception, SetupError)
    assert "too little to train a reward model: 1 yes and 1 no, at least 40 of each are needed" in str(
        ran.exception
    )
