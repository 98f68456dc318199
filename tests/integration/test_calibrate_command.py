"""`globetag train calibrate` on published predictions: the same machinery, and an honest word on the outcome."""

import csv
import re

import numpy as np
import pytest
from click.testing import CliRunner

from trainer.commands.train import command
from worker.errors import SetupError
from worker.place.sphere import destination


@pytest.fixture
def files(tmp_path):
    """Writes truth and predictions of `count` images, 8 of a photographer; `confidence` gives each image's."""

    def write(count, confidence, *, photographers=None):
        rng = np.random.default_rng(3)
        truth, predictions = [], []
        for number in range(count):
            sure = float(rng.random())
            right = rng.random() < sure
            lat, lon = float(rng.uniform(40, 55)), float(rng.uniform(0, 20))
            km = rng.uniform(0, 5) if right else rng.uniform(100, 2000)
            said = destination(lat, lon, 360 * rng.random(), float(km))
            by = f"user{number // 8 if photographers is None else number % photographers}"
            truth.append({"id": f"{number}.jpg", "lat": lat, "lon": lon, "photographer": by})
            predictions.append({"id": f"{number}.jpg", "lat": said[0], "lon": said[1], **confidence(number, sure)})
        paths = tmp_path / "predictions.csv", tmp_path / "truth.csv"
        for path, rows in zip(paths, (predictions, truth), strict=True):
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        return ["calibrate", "--predictions", str(paths[0]), "--truth", str(paths[1])]

    return write


def run(arguments, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner().invoke(command, arguments)


def test_confidences_that_tell_something_carry_a_radius(files, monkeypatch):
    said = run(files(900, lambda _, sure: {"confidence": sure}), monkeypatch)
    assert said.exit_code == 0, said.exception
    assert "calibration was possible: 900 answers, 113 photographers or places" in said.output
    assert "one radius for all" in said.output
    assert "less than the 90%" not in said.output


@pytest.mark.parametrize(
    ("confidence", "photographers", "told"),
    [
        (lambda number, sure: {"note": "x"}, None, "none with a confidence"),
        (lambda number, sure: {"confidence": 0.5}, None, "are the same and tell nothing"),
        (
            lambda number, sure: {"confidence": sure if number % 3 else ""},
            None,
            r"100 of 300 answers .* no confidence",
        ),
        (
            lambda number, sure: {"confidence": sure},
            5,
            "not possible: 300 located photographs of 5 places or series",
        ),
    ],
    ids=["none", "constant", "some", "few photographers"],
)
def test_where_it_is_not_possible_it_says_why(files, monkeypatch, confidence, photographers, told):
    said = run(files(300, confidence, photographers=photographers), monkeypatch)
    assert isinstance(said.exception, SetupError)
    assert said.exception.args
    assert re.search(told, str(said.exception))


def test_a_file_without_its_truth_is_a_usage_error(files, monkeypatch):
    said = run(files(30, lambda _, sure: {"confidence": sure})[:3], monkeypatch)
    assert said.exit_code == 2
    assert "belong together" in said.output
