"""A CLIP of 2.4 million parameters that open_clip loads from a folder (`local-dir:`).

Most of them are the embeddings of open_clip's own tokenizer, which comes with the package and needs no download.
"""

import json
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from open_clip.transform import PreprocessCfg
from safetensors.torch import save_file

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "width": 128, "head_width": 32, "layers": 4},
    "text_cfg": {"context_length": 77, "vocab_size": 49_408, "width": 32, "heads": 2, "layers": 2},
}


def save_tiny_clip(folder: Path, seed: int) -> int:
    """Writes an untrained checkpoint into `folder` and returns its number of parameters.

    The same seed and library versions give the same bytes; torch's global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**MODEL_CONFIG)
    standard = PreprocessCfg()
    preprocessing = {
        "mean": standard.mean,
        "std": standard.std,
        "interpolation": standard.interpolation,
        "resize_mode": standard.resize_mode,
    }
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": preprocessing}
    folder.joinpath("open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return sum(parameter.numel() for parameter in model.parameters())
