"""Recipes of reinforcement learning: figures of those that come along, all faults of an own one, batch sizes."""

import copy
import pickle
import re

import pytest
import yaml

from trainer.grpo.recipe import ACCELERATE, GRPO_RECIPES, grpo_names, load_grpo_recipe
from trainer.rewards.cues import PhraseReader
from trainer.rewards.weights import PRESETS
from worker.errors import SetupError

READER = PhraseReader(frozenset({"palm"}))


def written(tmp_path, **changes):
    """A file like `archive_lora` with some keys changed (a dot leads into a mapping); `...` takes one out."""
    content = yaml.safe_load((GRPO_RECIPES / "archive_lora.yaml").read_text())
    for key, value in changes.items():
        *path, last = key.split(".")
        inner = content
        for part in path:
            inner = inner[part]
        if value is ...:
            inner.pop(last)
        else:
            inner[last] = value
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def refusal(name) -> str:
    with pytest.raises(SetupError) as refused:
        load_grpo_recipe(name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_those_that_come_along_are_read_and_called_by_their_name():
    assert {"globe_7b", "archive_lora", "atlas_cpu"} <= set(grpo_names())
    for name in grpo_names():
        recipe = load_grpo_recipe(name)
        assert recipe.name == name
        assert recipe.reward_set(READER).weights


def test_globe_has_the_figures_of_its_script():
    recipe = load_grpo_recipe("globe_7b")
    assert (recipe.group_size, recipe.learning_rate, recipe.beta) == (16, 1e-6, 0.001)
    assert (recipe.clip_low, recipe.clip_high) == (0.2, 0.2)
    assert (recipe.temperature, recipe.top_p, recipe.top_k) == (1.0, 0.9, 50)
    assert (recipe.completions_per_step, recipe.questions_per_rollout, recipe.iterations) == (96, 6, 1)
    assert (recipe.weight_decay, recipe.adam_beta2, recipe.warmup_ratio) == (0.1, 0.95, 0.01)
    assert (recipe.lora, recipe.sharding, recipe.max_completion_tokens) == (None, "zero3", 1024)


def test_the_archive_s_increment_is_held_near_its_start():
    recipe = load_grpo_recipe("archive_lora")
    assert recipe.lora is not None
    assert recipe.beta > 0
    assert recipe.processes == 1


def test_every_kind_of_sharding_has_its_file():
    for name in ("zero3", "fsdp"):
        assert yaml.safe_load((ACCELERATE / f"{name}.yaml").read_text())["mixed_precision"] == "bf16"


def test_most_figures_of_those_that_come_along_say_where_they_come_from():
    for name in grpo_names():
        lines = (GRPO_RECIPES / f"{name}.yaml").read_text().splitlines()
        assert sum("#" in line for line in lines) > len(lines) / 4, name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rat": 1}, "unknown key learning_rat"),
        ({"learning_rate": ...}, "key learning_rate is missing"),
        ({"beta": -1}, "beta: Input should be greater than or equal to 0"),
        ({"beta": float("nan")}, "beta: "),
        ({"clip_low": 1.0}, "clip_low: "),
        ({"loss": "ppo"}, "loss: Input should be 'grpo', 'bnpo', 'dr_grpo' or 'dapo'"),
        ({"rollout.vllm": "on"}, "rollout.vllm: Input should be 'off', 'colocate' or 'server'"),
        ({"rollout.vllm": "server"}, "server_url is given where vllm is server"),
        ({"rollout.server_url": "http://localhost:8000"}, "server_url is given where vllm is server"),
        ({"sharding": "zero3"}, "sharding zero3 needs more than one of processes"),
        ({"epochs": None}, "either epochs or steps"),
        ({"steps": 10}, "either epochs or steps"),
        ({"group_size": 1}, "group_size: Input should be greater than or equal to 2"),
        ({"keep_checkpoints": 1}, "keep_checkpoints: Input should be greater than or equal to 2"),
        ({"alarms.window": 0}, "alarms.window: "),
        ({"alarms.judgements": ...}, "key alarms.judgements is missing"),
        ({"lora.rank": 0}, "lora.rank: "),
        ({"rewards.weights": "globe"}, "no preset is named globe; there are globetag, globe_readme"),
        ({"rewards.weights": {"geography": 1.0}}, "there is no reward geography; there are geo, visual"),
        ({"rewards.weights": {"geo": -1.0}}, "weights.geo: must be at least 0"),
        ({"rewards.weights": {"geo": 0.0}}, "none is above 0"),
        ({"rewards.geo": None}, "geo: has a weight, so its figures must be given"),
        ({"rewards.locatable.source": "judge"}, "judge: a reward asks one"),
        ({"rewards.weights": {"globe_locatability": 1.0}}, "judge: a reward asks one"),
    ],
)
def test_a_slip_is_named_with_its_file_key_and_what_is_allowed(tmp_path, changes, said):
    path = written(tmp_path, **changes)
    assert refusal(path).startswith(path)
    assert said in refusal(path)


def test_all_faults_come_at_once(tmp_path):
    said = refusal(written(tmp_path, learning_rat=1, loss="ppo", beta=-1, seed=0, group_size=...))
    for fault in ("learning_rat", "loss: ", "beta: ", "unknown key seed", "group_size is missing"):
        assert fault in said


def test_all_faults_of_rewards_and_of_batches_come_at_once(tmp_path):
    rewards = refusal(written(tmp_path, **{"rewards.weights": {"geography": 1.0, "format": -1.0}}))
    assert "geography" in rewards
    assert "weights.format" in rewards
    batches = refusal(written(tmp_path, epochs=None, group_size=7, steps_per_generation=6))
    assert "either epochs" in batches
    assert "no whole groups" in batches
    assert "no whole steps" in batches


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"group_size": 12},
            "batch_size 8 x processes 1 x steps_per_generation 4 = 32 completions, which are no whole groups of"
            " group_size 12; steps_per_generation 3 would do",
        ),
        ({"batch_size": 3, "group_size": 8}, "steps_per_generation 8 would do"),
        ({"steps_per_generation": 6}, "no whole steps of gradient_accumulation_steps 4"),
        ({"steps_per_generation": 8}, "save_every_steps 25 would save in the middle of a rollout, which feeds 2"),
        ({"iterations": 2}, "choose a multiple of 2"),
    ],
)
def test_batch_arithmetic_is_said_in_words(tmp_path, changes, said):
    assert said in refusal(written(tmp_path, **changes))


def test_what_the_arithmetic_suggests_would_do(tmp_path):
    said = refusal(written(tmp_path, batch_size=6, group_size=16, gradient_accumulation_steps=1))
    passes = int(re.search(r"steps_per_generation (\d+) would do", said)[1])
    recipe = load_grpo_recipe(
        written(tmp_path, batch_size=6, group_size=16, gradient_accumulation_steps=1, steps_per_generation=passes,
                save_every_steps=80)
    )  # fmt: skip
    assert recipe.completions_per_rollout % 16 == 0


def test_counts_of_a_step():
    recipe = load_grpo_recipe("globe_7b").but(steps_per_generation=4, iterations=2, save_every_steps=8)
    assert recipe.completions_per_rollout == 8 * 6 * 4
    assert recipe.completions_per_step == 8 * 6 * 2
    assert recipe.questions_per_rollout == 12
    assert recipe.steps_per_rollout == 4


@pytest.mark.parametrize("name", PRESETS)
def test_presets_by_name_are_built_with_the_recipe_s_figures(name):
    judge = {
        "url": "http://localhost:1/v1", "model": "m", "timeout_s": 1.0, "attempts": 1, "concurrency": 1,
        "api_key_variable": "",
    }  # fmt: skip
    recipe = load_grpo_recipe("archive_lora").but(rewards={"weights": name, "judge": judge})
    built = recipe.reward_set(READER)
    names = [reward.name for reward in built.rewards]
    assert dict(zip(names, built.weights, strict=True)) == PRESETS[name]
    assert pickle.loads(pickle.dumps(built)) == built


def test_figures_of_rewards_come_from_the_recipe():
    recipe = load_grpo_recipe("atlas_cpu").but(
        rewards={
            "geo": {"scale_km": 100.0, "distance_weight": 1.0, "country_weight": 0.0, "region_weight": 0.0,
                    "city_weight": 0.0},
            "visual": {"beta": 2.0},
        }
    )  # fmt: skip
    geo, visual = (reward for reward in recipe.reward_set(READER).rewards if reward.name in ("geo", "visual"))
    assert (geo.scale_km, geo.city_weight, visual.beta) == (100.0, 0.0, 2.0)
    assert geo.max_completion_tokens == recipe.max_completion_tokens


def test_a_visual_reward_needs_a_reader():
    with pytest.raises(SetupError, match="needs a reader of cues"):
        load_grpo_recipe("atlas_cpu").reward_set(None)


def test_a_change_in_code_is_checked_like_a_file():
    recipe = load_grpo_recipe("atlas_cpu")
    with pytest.raises(SetupError, match="recipe atlas_cpu: unknown key step"):
        recipe.but(step=3)
    assert recipe.but(alarms={"window": 3}).alarms.window == 3
    assert recipe.but(alarms={"window": 3}).alarms.judgements == recipe.alarms.judgements


def test_the_digest_is_of_what_changes_a_run():
    recipe = load_grpo_recipe("atlas_cpu")
    assert copy.deepcopy(recipe).digest == recipe.digest
    assert recipe.but(beta=recipe.beta + 0.01).digest != recipe.digest
    assert recipe.but(assumed={"rollout_tokens_per_s": 1.0}).digest == recipe.digest


def test_an_unknown_name_is_told_the_known_ones():
    assert "globe_7b" in refusal("globe")
