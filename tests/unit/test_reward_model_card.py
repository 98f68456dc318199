"""Calibration on places not seen, the card that keeps it, and the recipes that make and take a reward model."""

import json

import numpy as np
import pytest

from trainer.grpo.recipe import load_grpo_recipe
from trainer.grpo.rewards import PICTURE_COLUMN
from trainer.reward_model import card as cards
from trainer.reward_model.calibrate import calibrated, cross_calibrated
from trainer.reward_model.card import RewardCard
from trainer.reward_model.recipe import load_reward_recipe, names
from trainer.reward_model.train import words_of
from trainer.rewards.calibration import Calibration
from trainer.rewards.locatable import SYSTEM, JudgeLocatability
from worker.errors import SetupError

JUDGE = {
    "url": "http://127.0.0.1:1/v1", "model": "judge", "timeout_s": 5.0, "attempts": 1, "concurrency": 1,
    "api_key_variable": "",
}  # fmt: skip


def asked(count=2000, seed=0):
    """A judge that is three times too sure, of pictures in forty places."""
    rng = np.random.default_rng(seed)
    odds_N = rng.normal(0.4, 1.5, count)
    yes_N = rng.random(count) < 1 / (1 + np.exp(-odds_N))
    p_N = 1 / (1 + np.exp(-3 * odds_N))
    return p_N.tolist(), yes_N.tolist(), [f"c{rng.integers(40)}" for _ in range(count)]


# --- calibration ---


def test_too_sure_a_judge_is_calibrated_and_its_order_stays():
    p_N, yes_N, cells = asked()
    calibration, told = calibrated(p_N, yes_N, cells, seed=0)
    assert calibration.slope == pytest.approx(1 / 3, abs=0.05)
    assert told["raw"]["auroc"] == pytest.approx(told["calibrated"]["auroc"], abs=0.01)
    assert told["calibrated"]["ece"] < 0.04 < 0.1 < told["raw"]["ece"]
    assert told["calibrated"]["brier"] < told["raw"]["brier"]
    assert sum(each["count"] for each in told["calibrated"]["reliability"]) == told["samples"] == 2000


def test_no_place_calibrates_itself():
    p_N, yes_N, cells = asked(400)
    p_N, yes_N = np.array(p_N), np.array(yes_N)
    whole = cross_calibrated(p_N, yes_N, cells, seed=0)
    flipped = np.where([cell == "c3" for cell in cells], ~yes_N, yes_N)
    again = cross_calibrated(p_N, flipped, cells, seed=0)
    there = np.array([cell == "c3" for cell in cells])
    assert np.array_equal(whole[there], again[there])
    assert not np.array_equal(whole[~there], again[~there])


def test_who_says_neither_is_counted():
    p_N, yes_N, cells = asked(500)
    _, told = calibrated([None, *p_N[1:]], yes_N, cells, seed=0)
    assert (told["samples"], told["neither_yes_nor_no"]) == (500, 1)


def test_no_better_than_chance_is_refused():
    p_N, yes_N, cells = asked()
    with pytest.raises(SetupError, match="no better than"):
        calibrated([1 - p for p in p_N], yes_N, cells, seed=0)
    with pytest.raises(SetupError, match="placeable and other"):
        calibrated(p_N, [True] * len(p_N), cells, seed=0)


# --- the card ---

CARD = RewardCard("country", ("yes", "no"), "Say yes or no.", Calibration(0.5, -1.25), {"samples": 3})


@pytest.fixture
def folder(tmp_path):
    tmp_path.joinpath("globetag.json").write_text('{"untrained": false, "base": "b"}')
    cards.write(tmp_path, CARD)
    return tmp_path


def test_a_card_is_read_as_written_beside_what_was_there(folder):
    assert cards.read(folder) == CARD
    assert json.loads((folder / "globetag.json").read_text())["base"] == "b"
    assert [path.name for path in folder.iterdir()] == ["globetag.json"]


@pytest.mark.parametrize(
    "content", ["{}", '{"reward_model": {"calibration": {}}}', '{"reward_model": {"calibration": {"slope": "x"}}}']
)
def test_a_folder_that_is_no_reward_model_is_refused_in_one_line(tmp_path, content):
    tmp_path.joinpath("globetag.json").write_text(content)
    with pytest.raises(SetupError) as refused:
        cards.read(tmp_path)
    assert "\n" not in str(refused.value)


# --- recipes ---


def recipe_with(**decided):
    content = {"source": "judge", "overreach": 0.5, "slope": 1.0, "intercept": 0.0} | decided
    return load_grpo_recipe("archive_lora").but(rewards={"locatable": content, "judge": JUDGE})


def test_the_locatable_reward_takes_calibration_and_wording_from_the_folder(folder):
    recipe = recipe_with(reward_model=str(folder))
    reward = next(each for each in recipe.rewards.built(None, 512).rewards if each.name == "locatable")
    assert isinstance(reward.source, JudgeLocatability)
    assert (reward.source.calibration, reward.source.system) == (CARD.calibration, CARD.system)
    assert (reward.source.endpoint.url, reward.source.image_column) == (JUDGE["url"], PICTURE_COLUMN)


def test_without_one_it_is_asked_as_before():
    reward = next(
        each for each in recipe_with(slope=0.5).rewards.built(None, 512).rewards if each.name == "locatable"
    )
    assert (reward.source.calibration, reward.source.system) == (Calibration(0.5, 0.0), SYSTEM)


@pytest.mark.parametrize(
    ("decided", "told"),
    [
        ({"reward_model": "m", "slope": 2.0}, "its card has slope and intercept"),
        ({"reward_model": "m", "source": "column"}, "goes with source: judge"),
    ],
)
def test_two_calibrations_are_refused(decided, told):
    with pytest.raises(SetupError, match=told):
        recipe_with(**decided)


def test_a_folder_that_is_not_there_stops_the_run(tmp_path):
    with pytest.raises(SetupError, match="globetag train reward"):
        recipe_with(reward_model=str(tmp_path)).rewards.built(None, 512)


def test_the_published_hyper_parameters():
    """GLOBE's train_rm.sh; see the recipe."""
    recipe = load_reward_recipe("globe_rm_7b")
    assert (recipe.lora.rank, recipe.lora.alpha) == (16, 64)
    assert set(recipe.lora.targets) == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert recipe.freeze_vision
    assert recipe.precision == "bfloat16"
    assert (recipe.epochs, recipe.learning_rate, recipe.warmup_ratio) == (2, 1e-4, 0.05)
    assert recipe.batch_size * recipe.gradient_accumulation_steps == 128
    assert (recipe.max_length, recipe.max_pixels) == (2048, 1003520)


def test_recipes_are_called_by_their_names():
    assert {"globe_rm_7b", "atlas_rm"} <= set(names())
    for name in names():
        assert load_reward_recipe(name).name == name


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ({"yes", "no", "Yes", "No"}, ("yes", "no")),
        ({"Yes", "No"}, ("Yes", "No")),
        ({" yes", " no", "Yes"}, (" yes", " no")),
    ],
)
def test_the_words_are_single_tokens(tokens, found):
    def tokenizer(texts, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [[0] if text in tokens else [0, 1] for text in texts]}

    assert words_of(tokenizer) == found


def test_a_tokenizer_without_the_words_is_refused():
    with pytest.raises(SetupError, match="no single token"):
        words_of(lambda texts, add_special_tokens: {"input_ids": [[1, 2] for _ in texts]})
