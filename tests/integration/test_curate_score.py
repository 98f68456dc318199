"""A collection is scored from its originals, and the command does what it says: real database, random weights."""

import csv

import pytest
from click.testing import CliRunner

from tests.integration.test_curate_database import Archive
from tests.training.tiny_see import NAMES, save_encoder, save_segmenter
from trainer.commands.curate import command
from trainer.curate.locatability import Weights, read_weights, write_weights
from trainer.curate.originals import CHANGED
from trainer.curate.scoring import Failed, of_collection, score_all
from trainer.curate.see.seeing import open_eyes
from trainer.curate.see.segment import load_segmenter
from worker.errors import SetupError
from worker.intake.fetch import Fetcher
from worker.intake.limits import Limits
from worker.settings import Settings

pytestmark = pytest.mark.models
WEIGHTS = Weights({name: 0.1 * number for number, name in enumerate(NAMES)}, {})


@pytest.fixture(scope="module")
def segmenter_folder(tmp_path_factory):
    return save_segmenter(tmp_path_factory.mktemp("models") / "segformer", "segformer")


def test_a_collection_is_scored_and_changed_originals_are_told(database, tmp_path, segmenter_folder):
    archive = Archive(database, tmp_path)
    for _ in range(3):
        archive.add(held_by=("postcards", "other"))
    archive.add(held_by=("other",))
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "2.png").unlink()
    model = load_segmenter(str(segmenter_folder), device="cpu")
    with Fetcher() as fetcher:
        items = of_collection(database.engine, "postcards", fetcher.fetch, Limits())
        rows = {row.key.rsplit("/", 1)[1]: row.outcome for row in score_all(items, model, WEIGHTS)}
        with pytest.raises(SetupError, match="nowhere"):
            of_collection(database.engine, "nowhere", fetcher.fetch, Limits())
    assert rows.keys() == {"0.png", "1.png", "2.png"}
    assert 0 <= rows["0.png"].value <= WEIGHTS.largest_score
    assert {name: row.reason for name, row in rows.items() if isinstance(row, Failed)} == {
        "1.png": CHANGED, "2.png": "not_found",
    }  # fmt: skip


def test_weights_then_scores_by_command(tmp_path, monkeypatch, segmenter_folder):
    monkeypatch.setenv("GLOBETAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GLOBETAG_SEGMENTER", str(segmenter_folder))
    (tmp_path / "clues.csv").write_text("image,country,clue\na.jpg,Chile,The road is red. A car is on the road.\n")
    encoder = save_encoder(tmp_path / "encoder", ["the", "road", "red", "car", "sky", "tree", "wall", "building"])
    run = CliRunner().invoke
    weights = str(tmp_path / "w.json")
    given = ["weights", str(tmp_path / "clues.csv"), "--sentences", str(encoder), "--out", weights]
    made = run(command, [*given, "--segmenter", str(segmenter_folder)], catch_exceptions=False)
    assert made.exit_code == 0
    assert "random" in made.output
    assert read_weights(tmp_path / "w.json").by_class.keys() == set(NAMES)
    before = (tmp_path / "w.json").read_bytes()
    run(command, [*given, "--segmenter", str(segmenter_folder)], catch_exceptions=False)
    assert (tmp_path / "w.json").read_bytes() == before
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.effect_noise((40, 30), 90).convert("RGB").save(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "b.jpg").write_bytes(b"no picture")
    out = tmp_path / "s.csv"
    asked = ["score", str(tmp_path / "photos"), "--weights", weights, "--out", str(out)]
    told = run(command, asked, catch_exceptions=False)
    assert told.exit_code == 0
    assert "1 scored" in told.output
    assert "mean nothing" in told.output
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [bool(row["score"]) for row in rows] == [True, False]
    assert rows[1]["reason"]
    write_weights(tmp_path / "strange.json", Weights({"unicorn": 1.0}, {}))
    asked[3] = str(tmp_path / "strange.json")
    with pytest.raises(SetupError, match="names none of the classes"):
        run(command, asked, catch_exceptions=False, standalone_mode=False)


def test_eyes_are_opened_as_the_settings_say(tmp_path, segmenter_folder):
    nobody = open_eyes(Settings(), lambda _: b"")
    assert (nobody.similarity, nobody.visible, len(nobody.notes)) == (None, None, 2)
    encoder = save_encoder(tmp_path / "encoder", ["a", "red", "taxi"])
    eyes = open_eyes(
        Settings(segmenter=str(segmenter_folder), sentences=str(encoder), device="cpu"), lambda _: b""
    )
    assert eyes.similarity is not None
    assert eyes.similarity([("a red taxi", "a red taxi")]) == [pytest.approx(1.0)]
    assert eyes.visible is not None
    assert eyes.described.keys() == {"segmenter", "sentences"}
    assert [note for note in eyes.notes if "untrained" in note]
    eyes.close()
