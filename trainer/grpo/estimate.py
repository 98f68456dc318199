"""What a GRPO run would need, before anything is loaded: an estimate of memory, steps, tokens and hours.

Parameters are counted from the headers of the safetensors files, or from the configuration where there are no
weights yet. The rest is arithmetic with stated assumptions; real runs differ, by fragmentation, by the lengths of
answers, by what the kernels keep.
"""

import json
import math
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from trainer.grpo.recipe import GrpoRecipe
from worker.errors import SetupError

_GIB = 1 << 30
_LAYER_COPIES = 34
"""Activations of a layer without checkpointing, in 16-bit values per token and hidden unit: Korthikanti et al.
2022, arXiv 2205.05198, eq. 2 without the attention's square, which fused kernels do not keep."""


@dataclass(frozen=True, slots=True)
class Size:
    """A model's size: `parameters` of all parts, `vision` of its tower; widths and counts of its language model.

    `lora_per_rank` is how many parameters an adapter of rank 1 on a layer of each name adds, over all layers.
    """

    parameters: int
    vision: int
    hidden: int
    layers: int
    kv_width: int
    vocabulary: int
    lora_per_rank: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Estimate:
    """`memory` is in bytes by part, on each device. Tokens are of the whole run, pictures included."""

    parameters: int
    trained: int
    memory: Mapping[str, int]
    steps: int
    completions: int
    rollout_tokens: int
    training_tokens: int
    seconds: float
    counted_from: str


def estimate(folder: Path, recipe: GrpoRecipe, *, questions: int | None = None) -> Estimate:
    """Raises `SetupError` for a folder without a configuration that can be understood.

    `questions` is how many there are; None: as many as the recipe assumes.
    """
    size, counted_from = size_of(folder)
    assumed = recipe.assumed
    questions = questions or assumed.questions
    steps = recipe.steps or math.ceil(
        (recipe.epochs or 1) * (questions // recipe.questions_per_rollout) * recipe.steps_per_rollout
    )
    completions = math.ceil(steps / recipe.steps_per_rollout) * recipe.completions_per_rollout
    whole = assumed.prompt_tokens + assumed.picture_tokens + assumed.completion_tokens
    rollout_tokens = completions * assumed.completion_tokens
    training_tokens = steps * recipe.completions_per_step * whole
    trained = _trained(size, recipe)
    return Estimate(
        parameters=size.parameters,
        trained=trained,
        memory=_memory(size, trained, recipe, whole),
        steps=steps,
        completions=completions,
        rollout_tokens=rollout_tokens,
        training_tokens=training_tokens,
        seconds=rollout_tokens / assumed.rollout_tokens_per_s + training_tokens / assumed.training_tokens_per_s,
        counted_from=counted_from,
    )


def needed(names: Collection[str]) -> list[str]:
    """Of a checkpoint's files those that an estimate reads: a hub's model need not be fetched whole."""
    return [name for name in names if name == "config.json"]


def size_of(folder: Path) -> tuple[Size, str]:
    """The model in this folder, and what its parameters were counted from."""
    config = _config(folder)
    text, vision = config.get("text_config", config), config.get("vision_config", {})
    try:
        layers, hidden, inner = text["num_hidden_layers"], text["hidden_size"], text["intermediate_size"]
        heads = text["num_attention_heads"]
        kv_width = hidden // heads * text.get("num_key_value_heads", heads)
        counted, tower, source = *_from_config(config, text, vision, kv_width), "the configuration"
        vocabulary = text["vocab_size"]
    except (KeyError, TypeError) as error:
        raise SetupError(
            f"{folder}: its configuration states no {error}; choose a vision-language model"
        ) from error
    if headers := sorted(folder.glob("*.safetensors")):
        shapes = {name: shape for path in headers for name, shape in _shapes(path).items()}
        counted = sum(math.prod(shape) for shape in shapes.values())
        tower = sum(math.prod(shape) for name, shape in shapes.items() if "visual." in name)
        source = f"the headers of {len(headers)} safetensors files"
    widths = {
        "q_proj": (hidden, hidden), "k_proj": (hidden, kv_width), "v_proj": (hidden, kv_width),
        "o_proj": (hidden, hidden), "gate_proj": (hidden, inner), "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }  # fmt: skip
    per_rank = {name: layers * (into + out) for name, (into, out) in widths.items()}
    return Size(counted, tower, hidden, layers, kv_width, vocabulary, per_rank), source


def table(found: Estimate, recipe: GrpoRecipe) -> Table:
    """For a person: what stands in an estimate, and that it is one."""
    assumed = recipe.assumed
    devices = "1 device" if recipe.processes == 1 else f"{recipe.processes} devices"
    shown = Table(
        title=f"recipe {recipe.name}: an estimate",
        caption=f"Nothing was loaded. Parameters from {found.counted_from}; time from an assumed"
        f" {assumed.rollout_tokens_per_s:,g} tokens/s drawn and {assumed.training_tokens_per_s:,g} trained on"
        f" {devices}, with {assumed.completion_tokens:,} tokens"
        f" to an answer and {assumed.picture_tokens:,} to a picture. Real runs differ.",
    )
    shown.add_column("")
    shown.add_column("", justify="right")
    shown.add_row("parameters", f"{found.parameters:,}")
    shown.add_row("of these trained", f"{found.trained:,}", end_section=True)
    for part, used_bytes in found.memory.items():
        shown.add_row(f"memory, {part}", f"{used_bytes / _GIB:,.2f} GiB")
    shown.add_row("memory, each device", f"{sum(found.memory.values()) / _GIB:,.2f} GiB", end_section=True)
    shown.add_row("completions a step", f"{recipe.completions_per_step:,}")
    shown.add_row("questions a rollout", f"{recipe.questions_per_rollout:,} in groups of {recipe.group_size}")
    shown.add_row("steps", f"{found.steps:,}")
    shown.add_row("completions", f"{found.completions:,}")
    shown.add_row("tokens drawn", f"{found.rollout_tokens:,}")
    shown.add_row("tokens trained on", f"{found.training_tokens:,}", end_section=True)
    shown.add_row("time", _duration(found.seconds))
    return shown


def _trained(size: Size, recipe: GrpoRecipe) -> int:
    if recipe.lora is None:
        return size.parameters - (size.vision if recipe.freeze_vision else 0)
    return recipe.lora.rank * sum(size.lora_per_rank.get(name, 0) for name in recipe.lora.targets)


def _memory(size: Size, trained: int, recipe: GrpoRecipe, whole: int) -> dict[str, int]:
    """Bytes on each device. AdamW keeps two float32 moments for each trained parameter."""
    half = recipe.precision == "bfloat16"
    wide = 2 if half else 4  # of what is computed with
    shares = 1 if recipe.sharding == "none" else recipe.processes
    zero3 = recipe.sharding == "zero3"
    frozen = size.parameters - (trained if recipe.lora is None else 0)
    narrow = half and (recipe.lora is not None or zero3)
    weights = trained * (2 if zero3 else 4) + frozen * (2 if narrow else 4)
    optimizer = trained * (12 if zero3 else 8)  # ZeRO keeps the float32 copies with the moments
    reference = 0 if recipe.beta == 0 or recipe.lora is not None else size.parameters * (2 if narrow else 4)
    tokens = recipe.batch_size * whole
    kept = (2 if recipe.gradient_checkpointing else _LAYER_COPIES) * size.layers + _LAYER_COPIES
    activations = tokens * size.hidden * kept * wide // 2 + tokens * min(size.vocabulary, 8192) * 4
    drawn_at_once = recipe.batch_size * recipe.steps_per_generation
    longest = whole - recipe.assumed.completion_tokens + recipe.max_completion_tokens
    cache = 2 * size.layers * size.kv_width * wide * longest * drawn_at_once
    memory = {
        "weights": weights // shares,
        "gradients": trained * (2 if zero3 else 4) // shares,
        "optimizer": optimizer // shares,
        "reference": reference // shares,
        "activations, roughly": activations,
    }
    match recipe.rollout.vllm:
        case "off":
            memory["keys and values of the rollout"] = cache
        case "colocate":
            memory["vLLM's copy of the weights, and keys and values"] = (
                size.parameters * 2 // recipe.rollout.tensor_parallel + cache
            )
        case "server":
            pass  # on other devices
    return memory


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads(folder.joinpath("config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder}: no config.json that can be read; choose a model's folder") from error
    if not isinstance(config, dict):
        raise SetupError(f"{folder}: config.json is no JSON object; choose a model's folder")
    return config


def _from_config(
    config: Mapping[str, Any], text: Mapping[str, Any], vision: Mapping[str, Any], kv_width: int
) -> tuple[int, int]:
    """Parameters of a Qwen2.5-VL of this configuration, and of its vision tower with the merger."""
    hidden, inner, vocabulary = text["hidden_size"], text["intermediate_size"], text["vocab_size"]
    attention = 2 * hidden * hidden + 2 * hidden * kv_width + hidden + 2 * kv_width  # with biases on q, k and v
    layer = attention + 3 * hidden * inner + 2 * hidden
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    language = vocabulary * hidden * (1 if tied else 2) + text["num_hidden_layers"] * layer + hidden
    if not vision:
        return language, 0
    width, wide = vision["hidden_size"], vision["intermediate_size"]
    merged = width * vision.get("spatial_merge_size", 2) ** 2
    patch = 3 * vision.get("temporal_patch_size", 2) * vision["patch_size"] ** 2 * width
    block = 4 * width * width + 4 * width + 3 * width * wide + 2 * wide + width + 2 * width
    merger = width + merged * merged + merged + merged * vision["out_hidden_size"] + vision["out_hidden_size"]
    tower = patch + vision["depth"] * block + merger
    return language + tower, tower


def _shapes(path: Path) -> dict[str, list[int]]:
    """Of each tensor. Layout (safetensors format): u64 length of the header, header as JSON, data."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
