"""`globetag evaluate --model` with a real engine: the small untrained model, on drawn photographs."""

import json

import pytest
from click.testing import CliRunner

from tests.support import write_pictures
from trainer.commands.evaluate import command

pytestmark = pytest.mark.models


def test_a_model_is_asked_judged_and_kept(tiny_models, tmp_path, monkeypatch):
    pictures = write_pictures(tmp_path / "pictures", 6)
    lines = [f"{path.name},{10 + number},{20 + number}" for number, path in enumerate(pictures)]
    (tmp_path / "truth.csv").write_text("\n".join(["id,lat,lon", *lines]))
    monkeypatch.setenv("GLOBETAG_MAX_TOKENS", "4")
    monkeypatch.setenv("GLOBETAG_HOME", str(tmp_path / "home"))
    given = ["--truth", tmp_path / "truth.csv", "--folder", tmp_path / "pictures", "--model", tiny_models[0],
             "--save", tmp_path / "said.jsonl", "--json", tmp_path / "f.json"]  # fmt: skip
    done = CliRunner().invoke(command, [str(each) for each in given], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.exception
    found = json.loads((tmp_path / "f.json").read_text())
    assert sum(found["outcomes"].values()) == found["n"] == 6
    assert found["outcomes"]["unparsable"] == 6  # four tokens of an untrained model are no answer
    assert found["canary"]["pictures"] == 6
    assert "UNTRAINED" in found["name"]
    kept = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert sorted(each["id"] for each in kept) == [path.name for path in pictures]

    # What was kept is judged again without the model, and comes to the same.
    given = [
        "--truth",
        tmp_path / "truth.csv",
        "--predictions",
        tmp_path / "said.jsonl",
        "--json",
        tmp_path / "g.json",
    ]
    assert CliRunner().invoke(command, [str(each) for each in given]).exit_code == 0
    again = json.loads((tmp_path / "g.json").read_text())
    assert again["outcomes"] == found["outcomes"]
    assert again["figures"] == found["figures"]
