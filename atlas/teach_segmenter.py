"""Teaches a small SegFormer what each pixel of an Atlas scene shows: what `make atlas` runs for `segmenter`.

SegFormer (Xie et al. 2021, arXiv 2105.15203) in a configuration of 0.8 M parameters at 112 px, trained from random
weights on masks that the drawing itself gives (`atlas.masks`). Scenes are drawn once and looked at a few times: to
draw them costs as much as to learn from them. The result is a checkpoint folder as transformers writes it, with
its labels and its image processor, so that whatever loads a segmentation model by folder loads this one.

Axes: B scenes of a batch, L labels, H rows, W columns.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from atlas.areas import GROUND
from atlas.masks import LABELS, label_map
from atlas.render import render
from atlas.scenes import scene
from atlas.world import World
from trainer.merge import made_beside
from worker.checkpoints import CARD_NAME
from worker.errors import SetupError

BUILDER = "atlas.teach_segmenter/1"
SIDE_PX = 112
STRIDE = 4
"""Of what comes out: one label for four by four pixels."""
CONFIG: dict[str, Any] = {
    "hidden_sizes": [32, 64, 96, 128],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 3, 4],
    "mlp_ratios": [2, 2, 2, 2],
    "strides": [STRIDE, 2, 2, 2],
    "decoder_hidden_size": 96,
    "drop_path_rate": 0.0,
    "classifier_dropout_prob": 0.0,
}
BATCH_SIZE = 32
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
WARM_UP = 0.08
LARGEST_GRADIENT = 1.0
CUE_WEIGHT = 3.0
"""Of a pixel that shows a cue, where one of sky, paving, hoarding or road has 1: cues are small."""
SCENES = 8000
FIRST = 60_000_000
"""Scenes of the split `train` from here on are seen by no other checkpoint."""
DRAWN_PX = (112, 168, 224, 336)
"""Scenes are drawn at several sizes, since what the processor makes of a large picture is a little softer."""

OnStep = Callable[[int, float], None]


def teach_segmenter(
    world: World, folder: Path, *, steps: int, seed: int, scenes: int = SCENES, on_step: OnStep | None = None
) -> dict[str, float]:
    """Trains on `steps` batches and writes a complete checkpoint to `folder`, its weights in float16.

    Returns `parameters`, `first_loss` and `last_loss` (mean of the last ten steps; nats for each pixel). The same
    world, seed, versions and threads give the same weights. Raises `SetupError` where `folder` is not empty, or
    when the loss is no number.
    """
    with made_beside(folder) as made:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = SegformerForSemanticSegmentation(
                SegformerConfig(num_labels=len(LABELS), id2label=dict(enumerate(LABELS)), **CONFIG)
            )
            losses = _train(model.train(), world, steps, seed, scenes, on_step)
        parameters = sum(each.numel() for each in model.parameters())
        model.half().save_pretrained(made)
        processor().save_pretrained(made)
        card = {
            "untrained": False,
            "built_by": BUILDER,
            "world": world.version,
            "seed": seed,
            "steps": steps,
            "parameters": parameters,
        }
        made.joinpath(CARD_NAME).write_text(json.dumps(card, indent=2) + "\n")
        for file in made.iterdir():
            file.chmod(0o644)  # safetensors leaves its files to their owner alone
    last = losses[-10:]
    return {"parameters": parameters, "first_loss": losses[0], "last_loss": sum(last) / len(last)}


def processor() -> SegformerImageProcessor:
    """What pictures go through on their way into the model."""
    return SegformerImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX})


def _train(model: Any, world: World, steps: int, seed: int, scenes: int, on_step: OnStep | None) -> list[float]:
    pictures_N_H_W_3, labels_N_H_W = _drawn(world, scenes)
    weights_L = torch.tensor([1.0 if label in GROUND else CUE_WEIGHT for label in LABELS])
    prepare = processor()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _rate(done / steps))
    rng, order, losses = Random(seed), list[int](), list[float]()
    for step in range(1, steps + 1):
        if len(order) < BATCH_SIZE:
            order = rng.sample(range(scenes), scenes)
        rows, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        pixels = prepare(list(pictures_N_H_W_3[rows]), do_resize=False, return_tensors="pt")["pixel_values"]
        with torch.autocast("cpu", torch.bfloat16):
            logits_B_L_H_W = model(pixel_values=pixels).logits
        target_B_H_W = torch.from_numpy(labels_N_H_W[rows]).long()
        loss = functional.cross_entropy(logits_B_L_H_W.float(), target_B_H_W, weight=weights_L)
        if not math.isfinite(loss.item()):
            raise SetupError(f"the training failed: its loss is {loss.item()} in step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, losses[-1])
    return losses


def _drawn(world: World, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures of `SIDE_PX`, shape (N, H, W, 3), and their labels, one for each `STRIDE` pixels."""
    out_px = SIDE_PX // STRIDE
    pictures = np.zeros((count, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    labels = np.zeros((count, out_px, out_px), dtype=np.uint8)
    for number in range(count):
        shown = scene(world, "train", FIRST + number)
        drawn = render(shown, DRAWN_PX[shown.seed % len(DRAWN_PX)])
        pictures[number] = np.asarray(drawn.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))
        # The label in the middle of each cell.
        labels[number] = label_map(shown, SIDE_PX)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    return pictures, labels


def _rate(done: float) -> float:
    """The learning rate after a share of the steps, as a share of the largest."""
    if done < WARM_UP:
        return 0.04 + 0.96 * done / WARM_UP
    return 0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1.0 - WARM_UP)))
