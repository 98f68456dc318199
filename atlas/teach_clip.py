"""Teaches the tiny CLIP what can be seen in the Atlas: contrastive learning from nothing, on scenes drawn once.

CLIP's own loss (Radford et al. 2021, arXiv 2103.00020, section 2.3; open_clip's `ClipLoss`) takes each picture's
caption as the only true one in the batch. Here that would be wrong for most pairs: of 64 scenes some twenty show
cars that keep to the right, and share that sentence. But the Atlas has a closed list of 429 captions
(`atlas.captions`), each known to be true, false or undecided of each scene. So every batch is compared with the
whole list, and each true pair is told apart from the false ones alone: other true captions do not compete with it,
and undecided ones take no part. Each caption is encoded once a batch, which costs less than captions drawn for
each picture would.

Axes: B scenes of a batch, T captions.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from open_clip import SimpleTokenizer
from open_clip.model import CLIP
from open_clip.transform import image_transform_v2
from torch.nn import functional

from atlas.captions import FAMILIES, captions, truth
from atlas.render import render
from atlas.scenes import Scene, scene
from atlas.tiny_clip import MODEL_CONFIG, PREPROCESSING, save_clip
from atlas.world import World
from trainer.merge import made_beside
from worker.checkpoints import CARD_NAME
from worker.errors import SetupError

BUILDER = "atlas.teach_clip/1"
BATCH_SIZE = 64
LEARNING_RATE = 1.5e-3
WEIGHT_DECAY = 0.05
WARM_UP = 0.1
"""The share of the steps in which the learning rate rises; then it falls along a cosine."""
LARGEST_GRADIENT = 1.0
LARGEST_SCALE = 100.0
"""Of the logits, as in the paper."""
SIDES_PX = (112, 112, 168, 224)
"""Scenes are drawn at several sizes, since what the preprocessing makes of a large picture is a little softer."""

OnStep = Callable[[int, float], None]


def teach_clip(
    world: World, folder: Path, *, steps: int, seed: int, on_step: OnStep | None = None
) -> dict[str, float]:
    """Trains a CLIP from random weights on `steps` batches of the split `train` and writes it to `folder`.

    The folder is a complete checkpoint with card, its weights in float16; it appears whole or not at all. Returns
    `steps`, `parameters`, `first_loss` and `last_loss` (the mean of the last ten steps; nats), and `logit_scale`.
    `on_step` is called after each step with its number from 1 on and its loss.

    The same world, steps, seed, library versions and number of threads give the same weights; torch's global
    random state is left as it was. float32 throughout: bfloat16 autocast was no faster on a CPU that has it.

    Raises `SetupError` where `folder` is not empty, or when the loss is no longer a number.
    """
    if steps < 1:
        raise SetupError(f"steps is {steps}; at least 1 is needed")
    with made_beside(folder) as made:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = CLIP(**MODEL_CONFIG)
        losses = _train(model.train(), world, steps, on_step)
        parameters = save_clip(model, made, torch.float16)
        card = {
            "untrained": False,
            "built_by": BUILDER,
            "world": world.version,
            "seed": seed,
            "steps": steps,
            "parameters": parameters,
        }
        made.joinpath(CARD_NAME).write_text(json.dumps(card, indent=2) + "\n")
    last = losses[-10:]
    return {
        "steps": steps,
        "parameters": parameters,
        "first_loss": losses[0],
        "last_loss": sum(last) / len(last),
        "logit_scale": model.logit_scale.exp().item(),
    }


def _train(model: Any, world: World, steps: int, on_step: OnStep | None) -> list[float]:
    """Trains in place; returns the loss of each step."""
    known = captions(world)
    tokens_T_L = SimpleTokenizer(context_length=MODEL_CONFIG["text_cfg"]["context_length"])(list(known.texts))
    families_T = torch.tensor(known.families)
    optimizer = _optimizer(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: _rate(done / steps))
    losses = []
    for step in range(steps):
        shown = [scene(world, "train", step * BATCH_SIZE + row) for row in range(BATCH_SIZE)]
        true_B_T, false_B_T = truth_masks(world, shown)
        images_B_D = model.encode_image(pixels(shown), normalize=True)
        texts_T_D = model.encode_text(tokens_T_L, normalize=True)
        logits_B_T = model.logit_scale.exp() * images_B_D @ texts_T_D.T
        loss = contrastive_loss(logits_B_T, true_B_T, false_B_T, families_T)
        if not math.isfinite(loss.item()):
            raise SetupError(f"the training failed: its loss is {loss.item()} in step {step + 1}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, math.log(LARGEST_SCALE))
        losses.append(loss.item())
        if on_step is not None:
            on_step(step + 1, losses[-1])
    _forget_unread(model, tokens_T_L)
    return losses


def pixels(shown: Sequence[Scene]) -> torch.Tensor:
    """The scenes drawn, and prepared as the gate prepares photographs: shape (B, 3, height, width), float32."""
    prepare = image_transform_v2(PREPROCESSING, is_train=False)
    return torch.stack([prepare(render(one, SIDES_PX[one.seed % len(SIDES_PX)])) for one in shown])


def truth_masks(world: World, shown: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
    """Which captions are true and which are false of which scene; two masks of shape (B, T)."""
    true_B_T = torch.zeros(len(shown), len(captions(world).texts), dtype=torch.bool)
    false_B_T = torch.ones_like(true_B_T)
    for row, one in enumerate(shown):
        said = truth(world, one)
        true_B_T[row, list(said.true)] = True
        false_B_T[row, list(said.true + said.undecided)] = False
    return true_B_T, false_B_T


def contrastive_loss(
    logits_B_T: torch.Tensor, true_B_T: torch.Tensor, false_B_T: torch.Tensor, families_T: torch.Tensor
) -> torch.Tensor:
    """The mean over scenes of -log softmax of their true captions, each among itself and what competes with it.

    These are, by halves, the false captions of the scene and the scenes that the caption is false of. The families
    of captions that are true of a scene weigh the same, and so do the captions of a family: a scene names its
    place in three captions at most and its cues in sixteen.
    """
    members_F_T = functional.one_hot(families_T, len(FAMILIES)).T
    true_F_B_T = true_B_T * members_F_T[:, None, :]
    weights_B_T = (true_F_B_T / true_F_B_T.sum(-1, keepdim=True).clamp(min=1)).sum(0)
    weights_B_T = weights_B_T / weights_B_T.sum(1, keepdim=True)
    # A finite stand-in for minus infinity: a caption that is false of no scene must not make the sum undefined.
    rivals_B_T = logits_B_T.masked_fill(~false_B_T, -1e4)
    among_captions_B_T = functional.softplus(rivals_B_T.logsumexp(1, keepdim=True) - logits_B_T)
    among_scenes_B_T = functional.softplus(rivals_B_T.logsumexp(0, keepdim=True) - logits_B_T)
    return ((among_captions_B_T + among_scenes_B_T) / 2 * weights_B_T).sum(1).mean()


def _optimizer(model: Any) -> torch.optim.Optimizer:
    """AdamW as in the paper: gains, biases and the logit scale do not decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [each for each in parameters if each.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))


def _rate(done: float) -> float:
    """The learning rate after a share of the steps, as a share of the largest."""
    if done < WARM_UP:
        return 0.04 + 0.96 * done / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1.0 - WARM_UP))


def _forget_unread(model: Any, tokens_T_L: torch.Tensor) -> None:
    """Zeroes the embeddings of tokens that no caption holds: noise, which would mislead and cannot be packed."""
    unread = torch.ones(model.token_embedding.num_embeddings, dtype=torch.bool)
    unread[tokens_T_L.unique()] = False
    with torch.no_grad():
        model.token_embedding.weight[unread] = 0.0
