"""The gate: open_clip image embeddings, scored by a trained head or, without one, by the zero-shot head.

A tag such as `ViT-B-32:laion2b_s34b_b79k` stands for a repository on the hub, and that for a folder with
`open_clip_config.json` and weights: whatever the operator names is loaded from a folder, with the architecture,
activation and preprocessing that lie beside the weights. Axes: B batch, P prompts, D embedding dimensions.
"""

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL.Image import Image

from schema.reasons import Reason
from worker.batcher import Batcher, BatcherClosed, Fatal
from worker.checkpoints import Checkpoint, cannot_load, one_line, resolve
from worker.errors import JobError, SetupError
from worker.gate import GateScore
from worker.gate.head import Head, load_head
from worker.gate.reference import reference_pictures
from worker.gate.shrink import shrink
from worker.gate.zeroshot import DEFAULT_THRESHOLD, POSITIVE_P, PROMPTS, ZeroShotHead, prompts_version
from worker.identity import ModelIdentity

log = logging.getLogger(__name__)

VARIABLE = "GLOBETAG_CLIP"
CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
"""The names under which open_clip's own repositories keep their weights, safest first."""

LONGEST_TO_SHORTEST = 4
"""Sides beyond this ratio are cropped before the shortest side is resized: 5000x1 would become 1,120,000x224."""


def load_gate(
    clip: str, *, head: Path | None = None, device: str | None = None, max_batch: int = 32
) -> "ClipGate":
    """Returns a ready `worker.gate.Gate`.

    `clip` is a folder with `open_clip_config.json` and weights, a tag of open_clip as `MODEL:PRETRAINED`, or a hub
    repository as `hf-hub:OWNER/NAME`. `head` is the folder of a trained head (see `worker.gate.head`), None the
    zero-shot head. `device` None takes the GPU when there is one. Raises `SetupError` with one line that says what
    to do, also where the head was fitted on another backbone.
    """
    trained = None if head is None else load_head(head)
    checkpoint = _find(clip)
    on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        gate = ClipGate(checkpoint, on, max_batch, trained)
    except Exception as error:
        hint = f"{VARIABLE} must name an open_clip checkpoint: {CONFIG_NAME} and matching weights"
        raise cannot_load(VARIABLE, clip, error, hint) from error
    if trained is None:
        log.info("the gate scores with the zero-shot head, which nobody has fitted to outcomes")
        return gate
    try:
        trained.check(gate.reference_embeddings(), clip)
    except BaseException:
        gate.close()
        raise
    return gate


def _find(clip: str) -> Checkpoint:
    folder = clip.removeprefix("local-dir:")
    if folder and Path(folder).expanduser().is_dir():
        return resolve(folder, variable=VARIABLE, chosen=clip)
    if clip.startswith("hf-hub:"):
        repository = clip.removeprefix("hf-hub:")
    else:
        model, _, tag = clip.partition(":")
        known = open_clip.get_pretrained_cfg(model, tag)
        if not known:
            raise SetupError(
                f"{VARIABLE}={clip}: neither a folder nor a tag of open_clip; set {VARIABLE} to a folder with"
                f" {CONFIG_NAME} and weights, to MODEL:PRETRAINED as in ViT-B-32:laion2b_s34b_b79k, or to"
                " hf-hub:OWNER/NAME"
            )
        owner, name, *_file = known["hf_hub"].split("/")
        repository = f"{owner}/{name}"
    return resolve(repository, variable=VARIABLE, chosen=clip, wanted=_wanted)


def _wanted(names: Collection[str]) -> Collection[str]:
    """One file of weights, and the small files: configuration and tokenizer."""
    weights = [name for name in WEIGHTS_NAMES if name in names][:1]
    return [*weights, *(name for name in names if name.endswith((".json", ".txt", ".model")))]


class ClipGate:
    """See `worker.gate.Gate`. Pictures are resized on the callers' threads and encoded on the owner's."""

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, max_batch: int, head: Head | None = None
    ) -> None:
        name = f"local-dir:{checkpoint.folder}"
        self._device = device
        self._model: Any = open_clip.create_model(name, device=device, require_pretrained=True).eval()
        self._crop = PreprocessCfg(**self._model.visual.preprocess_cfg)
        self._transform = image_transform_v2(self._crop, is_train=False)
        self._tokenizer = open_clip.get_tokenizer(name)
        self.zero_shot = ZeroShotHead(self.encode_texts(PROMPTS), POSITIVE_P, self.logit_scale)
        self._head = head
        self.threshold = DEFAULT_THRESHOLD if head is None else head.card.threshold
        """Below this score the head finds too little to go by."""
        self.identity = _identity(checkpoint, head)
        self._batcher: Batcher[torch.Tensor, NDArray[np.float32]] = Batcher(
            self._embed, max_size=max_batch, name="gate"
        )

    def score(self, image: Image) -> GateScore:
        try:
            pixels = self._transform(self._smaller(self._trim(image)))
            embedding_D = self._batcher.submit(pixels)
        except BatcherClosed:
            raise
        except Exception as error:
            raise JobError(Reason.MODEL_ERROR, f"the gate failed on this picture: {one_line(error)}") from error
        if self._head is None:
            return GateScore(self.zero_shot.score(embedding_D), embedding_D)
        p_within = self._head.p_within(embedding_D)
        return GateScore(p_within[self._head.card.radii_km[0]], embedding_D, p_within)

    def reference_embeddings(self) -> NDArray[np.float32]:
        """Of the reference pictures, L2-normalised, shape (P, D): by them a head knows its backbone."""
        return np.stack([self.score(picture).embedding_D for picture in reference_pictures()])

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """L2-normalised embeddings of captions, shape (T, D). For set-up and baselines: it does not batch."""
        with torch.inference_mode():
            tokens_T_L = self._tokenizer(list(texts)).to(self._device)
            vectors_T_D: NDArray[np.float32] = (
                self._model.encode_text(tokens_T_L, normalize=True).float().cpu().numpy()
            )
        return vectors_T_D

    @property
    def logit_scale(self) -> float:
        """What the backbone multiplies cosines by before it takes a softmax."""
        return float(self._model.logit_scale.exp().item())

    def close(self) -> None:
        self._batcher.close()
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _smaller(self, image: Image) -> Image:
        """Nearly as small as the transform makes it, at less cost; other transforms than the usual do it all."""
        sides_px = {self._crop.size} if isinstance(self._crop.size, int) else set(self._crop.size)
        if (self._crop.resize_mode, self._crop.interpolation, len(sides_px)) != ("shortest", "bicubic", 1):
            return image
        return shrink(image, sides_px.pop())

    def _trim(self, image: Image) -> Image:
        """Cuts the ends off an extreme panorama, which the centre crop that follows would cut off anyway."""
        longest = LONGEST_TO_SHORTEST * min(image.size)
        if self._crop.resize_mode != "shortest" or max(image.size) <= longest:
            return image
        left = max(0, image.width - longest) // 2
        top = max(0, image.height - longest) // 2
        return image.crop((left, top, image.width - left, image.height - top))

    def _embed(self, pictures: list[torch.Tensor]) -> list[NDArray[np.float32] | Exception]:
        try:
            with torch.inference_mode():
                batch = torch.stack(pictures).to(self._device)
                embeddings_B_D = self._model.encode_image(batch, normalize=True).float().cpu().numpy()
        except torch.AcceleratorError as error:
            raise Fatal("the accelerator failed; no later picture could be encoded") from error
        return [
            row_D.copy() if np.isfinite(row_D).all() else ValueError("the embedding is not finite")
            for row_D in embeddings_B_D
        ]


def _identity(checkpoint: Checkpoint, head: Head | None) -> ModelIdentity:
    """The gate's identity, and with a trained head the backbone's beside it.

    The backbone is the gate without a trained head: those rows exist in every database that has embeddings.
    """
    fingerprint = checkpoint.fingerprint()
    backbone = ModelIdentity(
        kind="gate",
        name=checkpoint.name,
        version=hashlib.sha256((fingerprint + prompts_version()).encode()).hexdigest()[:16],
        untrained=checkpoint.untrained,
    )
    if head is None:
        return backbone
    version = hashlib.sha256(f"{fingerprint} head {head.version}".encode()).hexdigest()[:16]
    return replace(backbone, version=version, backbone=backbone)
