"""Figures of a run: plain names, a file that survives a kill, and the page with their curves."""

import itertools
import json
import math
import re
from xml.etree import ElementTree

import pytest

from trainer.grpo.figures import History, plain
from trainer.grpo.plot import Curve, curves_of, diagram, page

LOGS = {
    "loss": 0.1, "grad_norm": 0.5, "learning_rate": 1e-6, "reward": 1.2, "reward_std": 0.3, "kl": 0.01,
    "entropy": 0.8, "clip_ratio/region_mean": 0.02, "frac_reward_zero_std": 0.25, "completions/mean_length": 20.0,
    "completions/clipped_ratio": 0.1, "reward_part/geo/mean": 0.4, "reward_part/geo/std": 0.2,
    "reward_part/geo/cannot_judge": 0.5, "num_tokens": 1e6, "step_time": 2.0, "rewards/reward_set/mean": None,
}  # fmt: skip


def test_names_are_plain():
    figures = plain(LOGS, 64, step_s=2.0, reward_s=0.01)
    assert figures == {
        "loss": 0.1, "grad_norm": 0.5, "learning_rate": 1e-6, "reward": 1.2, "reward_std": 0.3, "kl": 0.01,
        "entropy": 0.8, "clipped": 0.02, "zero_variance_groups": 0.25, "completion_tokens": 20.0, "cut": 0.1,
        "geo/mean": 0.4, "geo/std": 0.2, "geo/cannot_judge": 0.5, "step_s": 2.0, "reward_s": 0.01,
        "tokens_per_s": 640.0,
    }  # fmt: skip


def test_a_figure_that_a_step_does_not_have_is_left_out():
    figures = plain({"loss": 0.1, "kl": None}, 64, step_s=2.0, reward_s=0.0)
    assert figures == {"loss": 0.1, "step_s": 2.0, "reward_s": 0.0}


def test_a_resumed_run_goes_on_where_its_checkpoint_is(tmp_path):
    path = tmp_path / "steps.jsonl"
    first = History(path, 0)
    for step in range(6):
        first.add(step, {"reward": float(step)})
    with path.open("a") as stream:
        stream.write('{"step": 6.0, "rew')  # a kill in the middle of a line
    second = History(path, 4)
    assert [entry["step"] for entry in second.entries] == [0, 1, 2, 3, 4]
    second.add(5, {"reward": 50.0})
    assert [json.loads(line)["reward"] for line in path.read_text().splitlines()] == [0, 1, 2, 3, 4, 50]
    assert second.latest() == {"reward": 50.0}


def test_a_run_that_starts_anew_forgets(tmp_path):
    path = tmp_path / "steps.jsonl"
    History(path, 0).add(1, {"reward": 1.0})
    assert History(path, 0).entries == []
    assert path.read_text() == ""


def test_what_is_no_number_is_null_in_the_file(tmp_path):
    path = tmp_path / "steps.jsonl"
    History(path, 0).add(1, {"reward": math.nan})
    assert json.loads(path.read_text()) == {"step": 1.0, "reward": None}
    assert math.isnan(History(path, 1).entries[0]["reward"])


def test_latest_takes_each_name_from_where_it_was_last_said(tmp_path):
    history = History(tmp_path / "steps.jsonl", 0)
    history.add(1, {"reward": 1.0, "held_out/accuracy": 0.3})
    history.add(2, {"reward": 2.0})
    assert history.latest() == {"reward": 2.0, "held_out/accuracy": 0.3}


def entries(count: int):
    for step in range(1, count + 1):
        judged = {"held_out/accuracy": 0.2 + step / 1000, "held_out/invented": 3.0} if step % 10 == 0 else {}
        yield {"step": float(step), "reward": step / 100, "geo/mean": 0.3, "entropy": 0.8} | judged


def svgs(text: str):
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)]


def test_the_page_holds_the_parts_and_the_held_out_figures():
    text = page(list(entries(100)), title="run <1>")
    assert "run &lt;1&gt;" in text
    rewards, held_out, others, trouble = svgs(text)
    labels = lambda svg: {label.text for label in svg.iter("text")}  # noqa: E731
    assert {"reward 1", "geo 0.3"} <= labels(rewards)
    assert "accuracy 0.3" in labels(held_out)
    assert "invented 3" in labels(others)
    assert "entropy 0.8" in labels(trouble)
    assert "http" not in text  # needs nothing else


def test_a_page_without_figures_says_so():
    assert "There are no figures" in page([], title="none")


def test_curves_leave_out_what_is_no_number():
    found = curves_of([{"step": 1, "kl": math.nan}, {"step": 2, "kl": 0.5}, {"step": 3}], ["kl", "cut"])
    assert found == [Curve("kl", ((2, 0.5),))]


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [-3.0, 5.0], [0.0, 0.0, 0.0]])
def test_lines_stay_inside_their_axes(values):
    drawn = ElementTree.fromstring(diagram([Curve("one", tuple(enumerate(map(float, values), 1)))]))
    line = next(path for path in drawn.iter("path") if path.get("fill") == "none")
    points = [tuple(map(float, pair.split())) for pair in line.get("d")[1:].split("L")]
    assert len(points) == len(values)
    _, _, width, height = map(float, drawn.get("viewBox").split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    rising = [before[1] >= after[1] for before, after in itertools.pairwise(points)]
    assert all(rising) or values[0] > values[-1]


def test_a_long_run_is_thinned_to_means():
    curve = Curve("one", tuple((float(step), float(step % 2)) for step in range(1, 4001)))
    drawn = ElementTree.fromstring(diagram([curve]))
    line = next(path for path in drawn.iter("path") if path.get("fill") == "none")
    heights = {pair.split()[1] for pair in line.get("d")[1:].split("L")}
    assert line.get("d").count("L") < 400
    assert len(heights) == 1  # the mean of as many zeros as ones


def test_labels_do_not_cover_each_other():
    same = [Curve(str(number), ((1.0, 0.5), (2.0, 0.5))) for number in range(6)]
    drawn = ElementTree.fromstring(diagram(same))
    heights = sorted(float(text.get("y")) for text in drawn.iter("text") if text.get("style"))
    assert all(after - before >= 13.9 for before, after in itertools.pairwise(heights))
