"""The line that every benchmark ends with, and what is left of a full run."""

import json

import pytest

from benchmarks import harness

FIGURES = {"ratio": 1 / 3, "seconds": None}
UNITS = {"ratio": "1", "seconds": "s"}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(harness, "_quick", None)
    return tmp_path / "results"


def last_line(capsys):
    return json.loads(capsys.readouterr().out.strip().rpartition("\n")[2])


def test_the_last_line_is_the_result(results, capsys):
    harness.arguments("what it measures").parse_args(["--quick"])
    harness.report("thing", FIGURES, UNITS)
    line = last_line(capsys)
    assert set(line) == {"name", "figures", "units", "machine"}
    assert line["figures"] == {"ratio": 0.333333, "seconds": None}
    assert line["machine"]["cores"] >= 1


def test_a_full_run_is_kept_with_its_time_and_the_next_takes_its_place(results, capsys):
    harness.arguments("what it measures").parse_args([])
    for value in (1.0, 2.0):
        harness.report("thing", {"ratio": value}, {"ratio": "1"})
    line = last_line(capsys)
    kept = json.loads((results / "thing.json").read_text())
    assert {**line, "at": kept["at"], "options": kept["options"]} == kept
    assert kept["figures"] == {"ratio": 2.0}
    assert [file.name for file in results.iterdir()] == ["thing.json"]


def test_paths_and_passwords_are_not_kept(results, monkeypatch):
    monkeypatch.setattr("sys.argv", ["thing", "--rounds", "3", "--amqp", "amqp://me:secret@host//"])
    file = harness.keep(harness.result("thing", {"ratio": 1.0}, {"ratio": "1"}), results)
    assert json.loads(file.read_text())["options"] == ["--rounds", "3", "--amqp", "…"]


@pytest.mark.parametrize("options", [["--quick"], ["--qui"]])
def test_a_quick_run_leaves_nothing(results, capsys, options):
    harness.arguments("what it measures").parse_args(options)
    harness.report("thing", FIGURES, UNITS)
    assert not results.exists()


def test_a_run_that_measured_nothing_is_not_kept(results, capsys):
    harness.arguments("what it measures").parse_args([])
    harness.report("thing", {"ratio": None}, {"ratio": "1"})
    assert not results.exists()


def test_a_figure_without_its_unit_is_refused(results):
    with pytest.raises(ValueError, match="seconds"):
        harness.report("thing", FIGURES, {"ratio": "1"})
