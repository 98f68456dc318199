"""The pure parts of the closed loop's benchmark."""

import pytest

from atlas.archive import write_split
from atlas.scenes import scene
from atlas.world import load_world
from benchmarks.loop import interval, points, scene_number, turns, where
from worker.intake.uri import file_uri


def test_a_written_file_leads_back_to_its_scene(tmp_path):
    world = load_world()
    write_split(tmp_path, world, "train", 2, start=30_000_007, side_px=32)
    files = sorted(tmp_path.glob("*.jpg"))
    assert [scene_number(file_uri(path)) for path in files] == [30_000_007, 30_000_008]
    for path in files:
        assert scene(world, "train", scene_number(file_uri(path))).id == path.stem


@pytest.mark.parametrize("name", ["test-000001.jpg", "truth.csv", "000001.jpg"])
def test_other_files_are_no_scenes_to_learn_from(name):
    with pytest.raises(ValueError):
        scene_number(f"file:///pictures/{name}")


def test_versions_are_named_once_for_each_time_they_serve():
    assert turns([1, 1, 4, 4, 4, 1]) == [1, 4, 1]
    assert turns([1, 4, 1, 4]) == [1, 4, 1, 4], "an answer of the old version after the new one's shows"
    assert turns([]) == []


def test_where_a_run_stands_is_told_every_ten_steps():
    assert where({}) == "starting"
    assert where({"stage": "comparing", "step": 20}) == "comparing"
    assert where({"stage": "training"}) == "training"
    assert where({"stage": "training", "step": 9}) == where({"stage": "training", "step": 1})
    assert where({"stage": "training", "step": 10}) == "training, step 10"


def test_figures_are_told_in_points_and_what_is_not_known_as_a_dash():
    assert points(0.4301) == "43.0"
    assert interval({"difference": -0.05, "low": -0.1, "high": 0.012}) == "-5.0 (-10.0 to 1.2)"
    assert interval({"difference": 0.05, "low": None, "high": None}) == "5.0 (- to -)"
