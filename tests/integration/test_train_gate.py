"""`globetag train gate` on a real database, and the head that it writes behind a real backbone."""

import json
import uuid
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import insert, select

from atlas.model import build_clip
from benchmarks.null_models import NullEngine, NullGate
from schema import queries
from schema.reasons import LabelSource, Reason
from schema.tables import image, job, label, model_version, prediction
from tests.support import write_pictures
from trainer.commands.train import command
from worker.assemble import Models, assemble
from worker.errors import SetupError
from worker.gate.clip import load_gate
from worker.gate.head import CARD_NAME
from worker.place.sphere import destination
from worker.reason.prompt import PROMPT_HASH

pytestmark = pytest.mark.models

MODEL = "models/some-vlm"
PICTURE = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 60).convert("RGB")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return build_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture(scope="module")
def gate(clip):
    loaded = load_gate(str(clip), device="cpu")
    yield loaded
    loaded.close()


class Archive:
    """Photographs with known places, embeddings and predictions: the first dimension tells who is placed."""

    def __init__(self, engine, backbone):
        self.engine = engine
        with engine.begin() as connection:
            columns = {name: getattr(backbone, name) for name in ("kind", "name", "version", "untrained")}
            self.gate_id = connection.execute(queries.models.ENSURE_MODEL_VERSION, columns).one().id
            lvlm = {"kind": "lvlm", "name": MODEL, "version": "v1", "untrained": False}
            self.model_id = connection.execute(queries.models.ENSURE_MODEL_VERSION, lvlm).one().id
            self.collection_id = connection.execute(
                queries.collections.ENSURE_COLLECTION, {"name": "postcards"}
            ).scalar_one()

    def fill(self, count, *, embedding_model_id=None, reason=None):
        rng = np.random.default_rng(count)
        vectors = rng.normal(size=(count, 64)) + 2 * rng.normal(size=(count, 1)) * np.eye(64)[0]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        near = rng.random(count) < 1 / (1 + np.exp(-25 * vectors[:, 0]))
        cells = [(10.0 * (cell % 6), 20.0 * (cell // 6)) for cell in rng.integers(0, 30, count)]
        with self.engine.begin() as connection:
            ids = [
                connection.execute(
                    insert(image)
                    .values(
                        sha256=uuid.uuid4().hex * 2,
                        format="png",
                        width_px=8,
                        height_px=8,
                        size_bytes=1,
                        embedding=vector.tolist(),
                        embedding_model_id=embedding_model_id or self.gate_id,
                    )
                    .returning(image.c.id)
                ).scalar_one()
                for vector in vectors
            ]
            held = {"collection_id": self.collection_id, "state": "done", "outcome": "known"}
            connection.execute(
                insert(job), [held | {"id": str(uuid.uuid4()), "uri": f"file:///{i}", "image_id": i} for i in ids]
            )
            connection.execute(
                insert(label),
                [
                    {"image_id": i, "source": LabelSource.EXIF, "lat": lat, "lon": lon}
                    for i, (lat, lon) in zip(ids, cells, strict=True)
                ],
            )
            for image_id, (lat, lon), is_near in zip(ids, cells, near.tolist(), strict=True):
                there = destination(lat, lon, 90.0, 5.0 if is_near else 2000.0)
                self._predict(connection, image_id, there, reason)

    def _predict(self, connection, image_id, point, reason):
        located = {"status": "located", "lat": point[0], "lon": point[1]}
        refused = {"status": "not_locatable", "reason": reason}
        connection.execute(
            insert(prediction).values(
                image_id=image_id,
                pipeline_version="p",
                request_hash="r",
                model_version_id=self.model_id,
                gate_version_id=self.gate_id,
                prompt_hash=PROMPT_HASH,
                sampling={},
                gazetteer_version="g",
                code_version="0",
                **(refused if reason else located),
            )
        )

    def consent(self):
        with self.engine.begin() as connection:
            given = {"name": "postcards", "granted": True, "granted_by": "anna"}
            connection.execute(queries.collections.SET_TRAINING_CONSENT, given)


@pytest.fixture
def archive(database, gate):
    return Archive(database.engine, gate.identity)


@pytest.fixture
def train(database, clip, monkeypatch, tmp_path):
    """Runs the command; returns its exit code, what it printed, and what it raised."""
    monkeypatch.setenv("GLOBETAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    monkeypatch.setenv("GLOBETAG_CLIP", str(clip))
    monkeypatch.setenv("GLOBETAG_MODEL", MODEL)
    monkeypatch.setenv("GLOBETAG_DEVICE", "cpu")

    def run(*arguments):
        return CliRunner().invoke(command, ["gate", *map(str, arguments)])

    return run


def test_a_head_is_trained_written_and_served(archive, train, clip, gate, tmp_path):
    archive.fill(500)
    archive.consent()
    done = train("--max-risk", "0.25", "--output", tmp_path / "head")
    assert done.exit_code == 0, done.output + str(done.exception)
    assert "500 photographs in" in done.output
    assert f"GLOBETAG_GATE_HEAD={tmp_path / 'head'}" in done.output
    card = json.loads((tmp_path / "head" / CARD_NAME).read_text())
    assert card["backbone"] == str(clip)
    assert card["metrics"]["within_km"]["25"]["auroc"] > 0.75
    assert MODEL in card["pipeline"]

    served = load_gate(str(clip), head=tmp_path / "head", device="cpu")
    try:
        score, plain = served.score(PICTURE), gate.score(PICTURE)
    finally:
        served.close()
    assert score.p_within is not None
    assert list(score.p_within) == [25, 200, 750]
    assert score.score == score.p_within[25] <= score.p_within[200] <= score.p_within[750]
    assert served.threshold == card["threshold"]
    assert plain.p_within is None
    assert score.embedding_D == pytest.approx(plain.embedding_D, abs=1e-5)
    assert served.identity.version != gate.identity.version
    assert served.identity.backbone == gate.identity
    assert gate.identity.backbone is None

    other = build_clip(tmp_path / "other", seed=1)
    with pytest.raises(SetupError, match="GLOBETAG_GATE_HEAD") as refused:
        load_gate(str(other), head=tmp_path / "head", device="cpu")
    assert "\n" not in str(refused.value)
    again = train("--max-risk", "0.25", "--output", tmp_path / "head")
    assert "not empty" in str(again.exception)


def _refusal(done) -> str:
    assert isinstance(done.exception, SetupError), done.output + repr(done.exception)
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_what_cannot_be_learnt_from_is_counted(archive, train, tmp_path):
    with archive.engine.begin() as connection:
        other = {"kind": "gate", "name": "another", "version": "x", "untrained": False}
        other_id = connection.execute(queries.models.ENSURE_MODEL_VERSION, other).one().id
    archive.fill(30)
    said = _refusal(train("--output", tmp_path / "head"))
    assert "0 photographs" in said
    assert "left out 30: a collection that holds it has not consented to training" in said
    archive.consent()
    archive.fill(210, embedding_model_id=other_id)
    archive.fill(5, reason=Reason.GATE_BELOW_THRESHOLD)
    archive.fill(7, reason=Reason.NO_PLACE_STATED)
    said = _refusal(train("--output", tmp_path / "head"))
    assert "too few outcomes" in said
    assert "37 photographs in" in said
    assert "left out 210: its embedding is another backbone's" in said
    assert "left out 5: the model that serves was not asked" in said
    assert "left out 5: kept back by the gate" in said
    assert "zero-shot head stays" in said
    assert not (tmp_path / "head").exists()
    assert "no collection 'maps'" in _refusal(train("--collection", "maps"))


def test_a_model_that_has_not_answered_is_named(train):
    assert f"GLOBETAG_MODEL={MODEL} has not answered" in _refusal(train())


class _HeadedGate(NullGate):
    """The null gate with another head: another gate on the same backbone."""

    @property
    def identity(self):
        return replace(super().identity, version="with a head", backbone=super().identity)


def test_embeddings_belong_to_the_backbone_and_predictions_to_the_gate(line, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 3)
    versions = []
    for number, gate in enumerate((NullGate(), _HeadedGate())):
        with assemble(line.settings, line.database, Models(gate, NullEngine(), 0.5), dispatch=True) as worker:
            line.enqueue(paths[: number + 2])
            worker.runner.start()
            line.wait_until_settled(number + 2)
            worker.runner.stop(drain_s=30)
            versions.append(worker.versions)
    plain, headed = versions
    assert headed.embedding_model_id == plain.embedding_model_id == plain.gate_version_id
    assert headed.gate_version_id != plain.gate_version_id
    assert headed.pipeline_version != plain.pipeline_version
    with line.database.engine.connect() as connection:
        of_images = connection.execute(select(image.c.embedding_model_id)).scalars().all()
        of_last = connection.execute(
            select(prediction.c.gate_version_id).order_by(prediction.c.id.desc())
        ).scalars()
        assert of_images == [plain.embedding_model_id] * 3
        assert next(iter(of_last)) == headed.gate_version_id
        names = connection.execute(select(model_version.c.version).where(model_version.c.kind == "gate")).scalars()
        assert set(names) == {"1", "with a head"}
