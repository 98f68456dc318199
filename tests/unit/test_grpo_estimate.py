"""The dry run: parameters exactly, memory and time by stated arithmetic, nothing loaded."""

import json
import struct

import pytest
from rich.console import Console

from atlas import WEIGHTS
from trainer.grpo.estimate import estimate, size_of, table
from trainer.grpo.recipe import load_grpo_recipe
from worker.errors import SetupError

QWEN_7B = {
    "text_config": {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064,
    },
    "tie_word_embeddings": False,
    "vision_config": {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2,
    },
}  # fmt: skip
"""Qwen2.5-VL-7B-Instruct."""
PARAMETERS_7B = 8_292_166_656
"""As its model card's files count."""


@pytest.fixture
def qwen(tmp_path):
    tmp_path.joinpath("config.json").write_text(json.dumps(QWEN_7B))
    return tmp_path


def test_parameters_of_qwen_from_the_configuration_alone(qwen):
    size, source = size_of(qwen)
    assert size.parameters == PARAMETERS_7B
    assert source == "the configuration"


def test_headers_and_configuration_agree_on_a_real_checkpoint(tmp_path):
    folder = WEIGHTS / "vlm-start"
    from_headers, source = size_of(folder)
    assert source == "the headers of 1 safetensors files"
    tmp_path.joinpath("config.json").write_bytes(folder.joinpath("config.json").read_bytes())
    from_config, _ = size_of(tmp_path)
    assert (from_config.parameters, from_config.vision) == (from_headers.parameters, from_headers.vision)


def test_headers_are_read_without_the_weights(qwen):
    header = json.dumps({
        "visual.a": {"dtype": "BF16", "shape": [10, 3], "data_offsets": [0, 60]},
        "b": {"dtype": "BF16", "shape": [7], "data_offsets": [60, 74]},
        "__metadata__": {"format": "pt"},
    }).encode()  # fmt: skip
    qwen.joinpath("model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    size, _ = size_of(qwen)
    assert (size.parameters, size.vision) == (37, 30)


def test_memory_of_all_parameters_under_zero3(qwen):
    """2 bytes a weight and gradient, 12 for Adam's moments and the float32 copy, by device."""
    recipe = load_grpo_recipe("globe_7b").but(freeze_vision=False)
    memory = estimate(qwen, recipe).memory
    assert memory["weights"] == memory["gradients"] == memory["reference"] == PARAMETERS_7B * 2 // 6
    assert memory["optimizer"] == PARAMETERS_7B * 12 // 6
    assert not any("rollout" in part or "vLLM" in part for part in memory)  # a server holds them
    frozen = estimate(qwen, load_grpo_recipe("globe_7b"))
    assert frozen.trained == PARAMETERS_7B - size_of(qwen)[0].vision
    assert frozen.memory["optimizer"] < memory["optimizer"]


def test_lora_costs_its_adapters_alone(qwen):
    """Rank 32 on all linear layers of 28 layers."""
    found = estimate(qwen, load_grpo_recipe("archive_lora"))
    widths = 2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944)
    assert found.trained == 28 * 32 * widths
    assert found.memory["reference"] == 0
    assert found.memory["gradients"] == 4 * found.trained
    assert found.memory["weights"] == 2 * PARAMETERS_7B + 4 * found.trained
    assert "keys and values of the rollout" in found.memory


def test_steps_tokens_and_time(qwen):
    """GLOBE's epoch: 33,721 questions, six to a step; its own script comes to some 5,620 steps."""
    recipe = load_grpo_recipe("globe_7b")
    found = estimate(qwen, recipe)
    assert found.steps == 5620
    assert found.completions == 5620 * 96
    assert found.rollout_tokens == found.completions * recipe.assumed.completion_tokens
    drawn_s = found.rollout_tokens / recipe.assumed.rollout_tokens_per_s
    trained_s = found.training_tokens / recipe.assumed.training_tokens_per_s
    assert found.seconds == pytest.approx(drawn_s + trained_s)
    assert estimate(qwen, recipe, questions=600).steps == 100


def test_a_rollout_that_is_used_more_than_once_draws_fewer(qwen):
    recipe = load_grpo_recipe("globe_7b").but(epochs=None, steps=100, iterations=2)
    found = estimate(qwen, recipe)
    assert found.completions == 50 * 96
    assert found.training_tokens == estimate(qwen, recipe.but(iterations=1)).training_tokens


def test_the_table_says_that_it_is_an_estimate(qwen):
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as capture:
        recipe = load_grpo_recipe("globe_7b")
        console.print(table(estimate(qwen, recipe), recipe))
    said = capture.get()
    assert "an estimate" in said
    assert "8,292,166,656" in said
    assert "5,620" in said


@pytest.mark.parametrize("content", [None, "[]", "{", "{}", '{"text_config": {"hidden_size": 8}}'])
def test_what_is_no_model_is_refused(tmp_path, content):
    if content is not None:
        tmp_path.joinpath("config.json").write_text(content)
    with pytest.raises(SetupError, match="choose a"):
        estimate(tmp_path, load_grpo_recipe("globe_7b"))
