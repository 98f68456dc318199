"""A dearer model that says the same: the tiny Qwen2.5-VL with many more layers, whose weights are random.

Each further layer works out its attention and its products in full and then adds nothing: its two output
projections are zero, so what came in goes on (the identity of residual networks, arXiv 1603.05027). The cost
of an image is that of the deeper model, and its answers stay words that the worker can read, so that all its
later steps have their work too.
"""

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from worker.reason.engines.processor import no_progress_bar

_ADDS = ("self_attn.o_proj", "mlp.down_proj")
"""What a layer adds to its input passes through these."""


def deepen(source: Path, folder: Path, *, layers: int, seed: int = 0) -> Path:
    """Writes the checkpoint of `source` with `layers` layers of text into `folder`; returns `folder`.

    Raises `ValueError` where it has more already.
    """
    config = AutoConfig.from_pretrained(source, local_files_only=True)
    text = config.get_text_config()
    own = text.num_hidden_layers
    if own > layers:
        raise ValueError(f"{source} has {own} layers, more than {layers}")
    text.num_hidden_layers = layers
    text.layer_types = [text.layer_types[0]] * layers
    with no_progress_bar(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        given = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32, local_files_only=True)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        missing, unknown = model.load_state_dict(given.state_dict(), strict=False)
        if unknown or not all(_layer(name) >= own for name in missing):
            raise ValueError(f"{source} is built otherwise than expected: {[*unknown, *missing][:1]}")
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if _layer(name) >= own and any(adds in name for adds in _ADDS):
                    weights.zero_()
        model.generation_config = given.generation_config
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
        model.save_pretrained(folder)
    return folder


def _layer(name: str) -> int:
    """The number of the layer of text that a weight belongs to; -1: it belongs to none."""
    _, found, rest = name.partition("language_model.layers.")
    return int(rest.partition(".")[0]) if found else -1
