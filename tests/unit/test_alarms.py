"""Alarms on series of figures: each goes off where it should, and nothing else does."""

import math
import random

import pytest

from trainer.grpo.alarms import Limits, RunStopped, Watch
from worker.errors import SetupError

LIMITS = Limits(
    window=5,
    entropy_below=0.01,
    entropy_share_of_start=0.1,
    zero_variance_share=0.9,
    accuracy_fall=0.05,
    reward_rise=0.1,
    judgements=2,
)


def off(**changes):
    figures = {name: getattr(LIMITS, name) for name in Limits.__slots__}
    return Limits(**(figures | changes))


def healthy(step: int, rng: random.Random) -> dict[str, float]:
    return {
        "loss": rng.gauss(0, 0.02),
        "grad_norm": 0.5,
        "reward": 1 + step / 200 + rng.gauss(0, 0.1),
        "entropy": 0.8 - step / 300 + rng.gauss(0, 0.02),
        "zero_variance_groups": rng.random() / 2,
    }


def fed(watch: Watch, series) -> int:
    """The step at which the watch stops; raises what it raises."""
    for step, figures in enumerate(series, 1):
        watch.see(step, figures)
    return len(series)


def stopped(limits: Limits, series) -> RunStopped:
    with pytest.raises(RunStopped) as stop:
        fed(Watch(limits), series)
    return stop.value


def test_a_healthy_run_goes_on():
    rng = random.Random(0)
    watch = Watch(LIMITS)
    watch.see(0, {"held_out/accuracy": 0.3})
    for step in range(1, 200):
        held_out = {"held_out/accuracy": 0.3 + step / 1000 + rng.gauss(0, 0.01)} if step % 20 == 0 else {}
        watch.see(step, healthy(step, rng) | held_out)


def test_entropy_that_falls_below_the_floor_is_collapse():
    stop = stopped(LIMITS, [{"entropy": 0.05}] * 9 + [{"entropy": 0.002}] * 9)
    assert stop.reason == "entropy_collapse"
    assert "at step 14 " in stop.detail  # four of five are 0.002: their mean is 0.0116; with the fifth 0.002
    assert "below 0.01" in stop.detail


def test_entropy_that_falls_to_a_small_share_of_its_start_is_collapse():
    stop = stopped(LIMITS, [{"entropy": 2.0}] * 5 + [{"entropy": 0.1}] * 9)
    assert stop.reason == "entropy_collapse"
    assert "0.1 of the 2 at the start" in stop.detail


def test_one_step_of_low_entropy_is_none():
    series = [{"entropy": 0.5}] * 5 + [{"entropy": 0.0}] + [{"entropy": 0.5}] * 5
    assert fed(Watch(LIMITS), series) == 11


def test_groups_without_variance():
    few = [{"zero_variance_groups": 0.8}] * 20
    assert fed(Watch(LIMITS), few) == 20
    stop = stopped(LIMITS, [*few, *[{"zero_variance_groups": 1.0}] * 9])
    assert stop.reason == "no_variance"
    assert "at step 23 " in stop.detail  # 0.8, 0.8, 1, 1, 1 is 0.92


def hacked(reward_gain: float, accuracies, watch=None) -> Watch:
    """Judged every five steps; the reward rises by `reward_gain` from one judgement to the next."""
    watch = watch or Watch(LIMITS)
    watch.see(0, {"held_out/accuracy": accuracies[0]})
    for number, accuracy in enumerate(accuracies[1:], 1):
        for step in range(5 * number - 4, 5 * number + 1):
            judged = {"held_out/accuracy": accuracy} if step % 5 == 0 else {}
            watch.see(step, {"reward": 1 + reward_gain * number} | judged)
    return watch


def test_reward_up_while_accuracy_falls_is_hacking():
    with pytest.raises(RunStopped) as stop:
        hacked(0.2, [0.4, 0.41, 0.42, 0.33, 0.32, 0.31])
    assert stop.value.reason == "reward_hacking"
    assert "at step 20 " in stop.value.detail
    assert "from 42.0% to 32.0%" in stop.value.detail
    assert "up from 1.4 at step 10" in stop.value.detail


@pytest.mark.parametrize(
    ("gain", "accuracies"),
    [
        (0.0, [0.4, 0.41, 0.3, 0.3, 0.3]),  # no reward gained: simply worse
        (0.2, [0.4, 0.41, 0.3, 0.41, 0.3, 0.42]),  # never twice in a row
        (0.2, [0.4, 0.41, 0.38, 0.37, 0.38]),  # within the noise of the judge
        (0.2, [0.4, 0.45, 0.5, 0.55]),
    ],
)
def test_what_is_no_hacking(gain, accuracies):
    hacked(gain, accuracies)


def test_hacking_from_the_first_step_is_seen_against_the_model_that_the_run_began_with():
    with pytest.raises(RunStopped) as stop:
        hacked(0.2, [0.4, 0.3, 0.2, 0.1, 0.1])
    assert stop.value.reason == "reward_hacking"
    assert "from 40.0%" in stop.value.detail


@pytest.mark.parametrize("name", ["loss", "grad_norm", "reward", "entropy"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_stops_at_once(name, value):
    with pytest.raises(SetupError, match=rf"{name} is {value} at step 3; lower learning_rate"):
        Watch(LIMITS).see(3, {name: value})


def test_an_alarm_that_is_switched_off_stays_silent():
    none = off(entropy_below=None, entropy_share_of_start=None, zero_variance_share=None, accuracy_fall=None)
    dead = [{"entropy": 0.0, "zero_variance_groups": 1.0, "reward": float(step)} for step in range(20)]
    assert fed(Watch(none), dead) == 20
    hacked(0.2, [0.4, 0.1, 0.1, 0.1], Watch(none))


def test_a_watch_that_is_fed_with_history_goes_on_where_it_stood():
    rng = random.Random(1)
    series = [healthy(step, rng) for step in range(1, 31)] + [{"entropy": 0.0, "reward": 1.0}] * 9
    whole = stopped(LIMITS, series)
    resumed = Watch(LIMITS)
    fed(resumed, series[:32])
    with pytest.raises(RunStopped) as stop:
        for step, figures in enumerate(series[32:], 33):
            resumed.see(step, figures)
    assert stop.value.detail == whole.detail
