"""The store of the study of knowing: raw answers are kept as they were, and grow in portions."""

import json

import numpy as np
import pytest

from atlas.archive import camera_position, write_split
from atlas.scenes import scene
from atlas.world import load_world
from benchmarks.knowing.scenes import stored_scenes, true_scene
from benchmarks.knowing.store import ANSWERS, Models, Row, Store, add, whole_lines
from trainer.judge.read import read_truth
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.reason.engines import Completion

LYON = "<think>A town.</think><answer>country: France\ncity: Lyon</answer>"


def row(split: str, number: int) -> Row:
    """Number n has the log-probability -n."""
    answers = (
        Completion(LYON, "stop", 0, -float(number)),
        *[Completion("“cut”\n", "length", 0, None)] * (ANSWERS - 1),
    )
    return Row(f"{split}-{number:06d}", 0.5, (0.6, 0.8), answers)


class Scripted(Store):
    """Answers without a model, and notes in which order it was asked."""

    asked: list[tuple[str, int, int]] = []  # noqa: RUF012 (a test's own list)

    def _answer(self, split: str, start: int, count: int) -> list[Row]:
        self.asked.append((split, start, count))
        return [row(split, number) for number in range(start, start + count)]


@pytest.fixture
def store(tmp_path):
    Scripted.asked.clear()
    return Scripted(tmp_path / "deep", load_world(), Models())


def test_rows_are_read_as_they_were_written(tmp_path):
    add(tmp_path / "a.jsonl", 0, [row("test", 0), row("test", 1)])
    assert [Row.from_json(json.loads(line)) for line in whole_lines(tmp_path / "a.jsonl")] == [
        row("test", 0),
        row("test", 1),
    ]


def test_a_store_grows_in_portions_of_each_split_in_turn(store):
    store.draw({"calibration": 5, "test": 2}, portion=2, say=lambda _: None)
    assert store.asked == [("calibration", 0, 2), ("test", 0, 2), ("calibration", 2, 2), ("calibration", 4, 1)]
    store.asked.clear()
    store.draw({"calibration": 4, "test": 3}, portion=2, say=lambda _: None)
    assert store.asked == [("test", 2, 1)], "what is there is not asked again"
    assert [store.count(split) for split in ("calibration", "test", "shift")] == [5, 3, 0]
    assert [each.id for each in store.read("test", 2)] == ["test-000000", "test-000001"]


def test_a_line_that_was_cut_off_is_no_row_and_is_replaced(store):
    store.draw({"test": 2}, say=lambda _: None)
    file = store.file("test")
    file.write_text(file.read_text() + '{"id": "test-0000')
    assert store.count("test") == 2
    store.draw({"test": 3}, say=lambda _: None)
    assert [each.id for each in store.read("test")] == ["test-000000", "test-000001", "test-000002"]


def test_two_processes_add_a_portion_once(tmp_path):
    file = tmp_path / "a.jsonl"
    add(file, 0, [row("test", 0)])
    add(file, 0, [row("test", 0), row("test", 1)])
    assert len(whole_lines(file)) == 1
    with pytest.raises(SetupError, match="remove it"):
        add(file, 5, [row("test", 5)])


def test_other_weights_have_another_file(store):
    other = Models(vlm=store.models.vlm.with_name("vlm-start"))
    assert Store(store.folder, store.world, other).file("test") != store.file("test")


def test_stored_scenes_know_the_truth_and_only_the_scene_tells_it(store):
    store.draw({"test": 3}, say=lambda _: None)
    found = stored_scenes(store, "test")
    assert [case.truth for case in found.cases] == [true_scene(store.world, "test", n) for n in range(3)]
    assert [case.samples[0].completion.mean_logprob for case in found.cases] == [0.0, -1.0, -2.0]
    assert found.embedding_N_D == pytest.approx(np.array([[0.6, 0.8]] * 3))
    assert not found.cases[0].samples[1].is_placed
    assert found.part([2, 0]).cases == (found.cases[2], found.cases[0])


def test_answers_about_other_scenes_are_refused(store):
    add(store.file("test"), 0, [row("test", 1)])
    with pytest.raises(SetupError, match="line 1 is about test-000001"):
        stored_scenes(store, "test")


def test_a_camera_stands_where_the_archive_says(tmp_path):
    world = load_world()
    written = read_truth(write_split(tmp_path, world, "shift", 4, start=7, side_px=32), Gazetteer.load())
    for index, truth in enumerate(written, start=7):
        assert (truth.lat, truth.lon) == camera_position(scene(world, "shift", index))
        mine = true_scene(world, "shift", index)
        for name in ("id", "lat", "lon", "country_code", "geoname_id", "photographer", "placeable"):
            assert getattr(mine, name) == getattr(truth, name)
