"""Semantic segmentation: how much of a picture belongs to which class.

Any checkpoint that transformers knows as a semantic or a universal segmenter: SegFormer, MaskFormer, Mask2Former,
OneFormer and their like, by hub id or folder. Weights are read from safetensors only, and no code of the
checkpoint is run. The classes are the checkpoint's own (`id2label`); published ones for scenes have the 150 of
ADE20K (Zhou et al., CVPR 2017).

Axes: B batch, C channels, H height, W width.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    AutoTokenizer,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
from transformers.utils import logging as transformers_logging

from trainer.curate.see.classes import class_name
from worker.checkpoints import Checkpoint, cannot_load, resolve
from worker.errors import SetupError
from worker.reason.engines.processor import no_progress_bar

VARIABLE = "GLOBETAG_SEGMENTER"
MAX_SIDE_PX = 1280
"""Pictures are made no larger than this first: no published checkpoint looks at more, and shares hardly change."""

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_TASK = "the task is semantic"
"""What OneFormer is told (Jain et al., CVPR 2023)."""


def load_segmenter(name: str, *, device: str | None = None, max_batch: int = 4) -> "Segmenter":
    """`name` is a hub id or a folder; `device` None takes the GPU when there is one.

    Raises `SetupError` with one line that says what to do.
    """
    checkpoint = resolve(name, variable=VARIABLE, wanted=wanted_files)
    on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        return Segmenter(checkpoint, on, max_batch)
    except SetupError:
        raise
    except Exception as error:
        hint = f"{VARIABLE} must name a semantic or universal segmentation checkpoint with safetensors weights"
        raise cannot_load(VARIABLE, name, error, hint) from error


def wanted_files(names: Collection[str]) -> Collection[str]:
    """What is fetched of a repository: safetensors and small text files, no pickles and no code."""
    return [name for name in names if name.endswith((".safetensors", ".json", ".txt", ".model"))]


class Segmenter:
    """`labels` are the class names, `checkpoint` tells which weights these are."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, max_batch: int) -> None:
        folder = checkpoint.folder
        config = AutoConfig.from_pretrained(folder, **_LOCAL)
        universal = type(config) in MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
        kind = AutoModelForUniversalSegmentation if universal else AutoModelForSemanticSegmentation
        self.checkpoint = checkpoint
        self.labels = _labels(checkpoint.name, config.id2label)
        self._model = load_weights(kind, folder).to(device).eval()
        # OneFormer's would fetch a list of class names from the hub, which only its training needs.
        own = {"class_info_file": None} if config.model_type == "oneformer" else {}
        self._processor: Any = AutoImageProcessor.from_pretrained(folder, **_LOCAL, **own)
        self._task_tokens = _task_tokens(folder, config) if config.model_type == "oneformer" else None
        self._device = device
        self._max_batch = max_batch

    def shares(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]:
        """For each picture the share of its area by class, of sum 1; classes without any area are left out."""
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        pixels = [self._pixels(picture) for picture in pictures]
        for index, pixels_C_H_W in enumerate(pixels):
            by_shape[tuple(pixels_C_H_W.shape)].append(index)
        found: dict[int, dict[str, float]] = {}
        # Only pictures of one shape go together: padding would be counted as area.
        for indices in by_shape.values():
            for start in range(0, len(indices), self._max_batch):
                batch = indices[start : start + self._max_batch]
                maps = self._maps(torch.stack([pixels[index] for index in batch]))
                found.update(zip(batch, map(self._areas, maps), strict=True))
        return [found[index] for index in range(len(pictures))]

    def _pixels(self, picture: Image.Image) -> torch.Tensor:
        picture = picture.convert("RGB")
        picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=2.0)
        more = {} if self._task_tokens is None else {"task_inputs": ["semantic"]}
        pixels: torch.Tensor = self._processor(images=picture, return_tensors="pt", **more)["pixel_values"][0]
        return pixels

    def _maps(self, pixels_B_C_H_W: torch.Tensor) -> list[torch.Tensor]:
        count, _, height_px, width_px = pixels_B_C_H_W.shape
        given = {"pixel_values": pixels_B_C_H_W.to(self._device)}
        if self._task_tokens is not None:
            given["task_inputs"] = self._task_tokens.expand(count, -1).to(self._device)
        with torch.inference_mode():
            outputs = self._model(**given)
            maps: list[torch.Tensor] = self._processor.post_process_semantic_segmentation(
                outputs, target_sizes=[(height_px, width_px)] * count
            )
        return maps

    def _areas(self, map_H_W: torch.Tensor) -> dict[str, float]:
        ids, pixels = map_H_W.flatten().unique(return_counts=True)
        total = map_H_W.numel()
        areas: dict[str, float] = defaultdict(float)
        for number, count in zip(ids.tolist(), pixels.tolist(), strict=True):
            areas[self.labels[number]] += count / total
        return dict(areas)


def load_weights(kind: Any, folder: Path, *, unused: str | None = None) -> Any:
    """The model. Raises where transformers would fill in missing weights with random ones.

    `unused` begins the names of weights that nobody will look at.
    """
    with no_progress_bar(), _quiet():
        model, loaded = kind.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **_LOCAL
        )
    parameters = {name for name, _ in model.named_parameters() if not (unused and name.startswith(unused))}
    missing = sorted([*parameters.intersection(loaded["missing_keys"]), *map(str, loaded["mismatched_keys"])])
    if missing:
        raise ValueError(f"{len(missing)} weights are missing or of another shape, first {missing[0]}")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' table of what is missing: what matters of it is raised."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _labels(name: str, id2label: dict[int, str]) -> tuple[str, ...]:
    labels = [class_name(id2label[number]) for number in range(len(id2label))]
    if all(label.startswith("label ") for label in labels):
        raise SetupError(f"{VARIABLE}={name}: the checkpoint does not name its classes; choose one that does")
    return tuple(labels)


def _task_tokens(folder: Path, config: Any) -> torch.Tensor:
    """Shape (1, L). Padding is 0, whatever the tokenizer pads with, as `OneFormerProcessor` has it."""
    tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    told = tokenizer(
        [_TASK], padding="max_length", max_length=config.task_seq_len, truncation=True, return_tensors="pt"
    )
    tokens_1_L: torch.Tensor = told["input_ids"] * told["attention_mask"]
    return tokens_1_L
