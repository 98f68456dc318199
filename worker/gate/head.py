"""The trained head: from a picture's embedding to the chance that this pipeline places it within 25, 200, 750 km.

A head is a folder: `head.npz` (plain arrays, read without pickle) and `card.json`, which says of which backbone's
embeddings it was fitted, to which outcomes, how well it did and for which risk its threshold was chosen. It is
fitted by `trainer.gate`; here it only scores, and it refuses embeddings of any other backbone.

Axes: D embedding dimensions, R radii, N pictures, P reference pictures.
"""

import hashlib
import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import SetupError

Floats = NDArray[np.float64]

VARIABLE = "GLOBETAG_GATE_HEAD"
WEIGHTS_NAME, CARD_NAME = "head.npz", "card.json"
FORMAT = "globetag-gate-head/1"
LEAST_COSINE = 0.999
"""Of a reference picture's embedding now and when the head was fitted. Embeddings that were rounded to half
precision stay far above it; those of other weights, or of other preprocessing, do not reach it."""


@dataclass(frozen=True, slots=True)
class Card:
    """`card.json`. `backbone` is what GLOBETAG_CLIP was, `pretrained` the tag in it if there is one.

    `threshold` is for `score`, the chance at the first radius: above it at most `max_risk` of the points that were
    given were farther off than that radius, with `confidence` (see `trainer.gate.risk`). `target` says in words
    what the chances are of, `pipeline` whose outcomes they were. Hashes are hexadecimal SHA-256.
    """

    backbone: str
    backbone_version: str
    radii_km: tuple[int, ...]
    target: str
    threshold: float
    max_risk: float
    confidence: float
    data_hash: str
    weights_hash: str
    reference_hash: str
    pretrained: str | None = None
    pipeline: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT


@dataclass(frozen=True, slots=True)
class Head:
    """P(error <= r) = sigmoid(w . x + b_r), one slope for all radii and biases that never fall.

    So the chances never fall from one radius to the next, whatever the embedding. `reference_P_D` are the
    backbone's embeddings of the reference pictures, by which it is known again.
    """

    card: Card
    weight_D: Floats
    bias_R: Floats
    reference_P_D: NDArray[np.float32]

    @property
    def version(self) -> str:
        """Hexadecimal digest of what changes a score; part of the gate's version."""
        return self.card.weights_hash[:16]

    def p_within(self, embedding_D: NDArray[np.float32]) -> dict[int, float]:
        """{radius in km: chance}, in the order of the card's radii. `embedding_D` is L2-normalised."""
        chances_R = self.p_within_all(embedding_D[None, :])[0]
        return {km: float(p) for km, p in zip(self.card.radii_km, chances_R, strict=True)}

    def p_within_all(self, embedding_N_D: NDArray[np.float32]) -> Floats:
        """The same of many, shape (N, R)."""
        return sigmoid((embedding_N_D.astype(np.float64) @ self.weight_D)[:, None] + self.bias_R)

    def check(self, reference_P_D: NDArray[np.float32], backbone: str) -> None:
        """Raises `SetupError` where these are not the embeddings of the backbone that the head was fitted on."""
        if reference_P_D.shape != self.reference_P_D.shape:
            fault = f"makes embeddings of {reference_P_D.shape[-1]} numbers, not {self.reference_P_D.shape[-1]}"
        else:
            cosine = float(_cosines(reference_P_D, self.reference_P_D).min())
            if cosine >= LEAST_COSINE:
                return
            fault = (
                f"sees the reference pictures otherwise (cosine {cosine:.3f}, at least {LEAST_COSINE} is needed)"
            )
        raise SetupError(
            f"{VARIABLE}: the head was fitted on {self.card.backbone}, and GLOBETAG_CLIP={backbone} {fault}; set"
            f" GLOBETAG_CLIP to the head's backbone, or unset {VARIABLE} and train anew with `globetag train gate`"
        )


def sigmoid(logit: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit))


def array_hash(*arrays: NDArray[Any]) -> str:
    """Hexadecimal SHA-256 over shapes, types and numbers."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def weights_hash(weight_D: Floats, bias_R: Floats, radii_km: Sequence[int]) -> str:
    """Of what a score hangs on."""
    return array_hash(weight_D, bias_R, np.array(radii_km, dtype=np.int64))


def save_head(head: Head, folder: Path) -> None:
    """Writes the folder; it appears whole or not at all. Raises `SetupError` where it is occupied."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SetupError(f"{folder} is not empty; choose another folder")
    buffer = io.BytesIO()
    np.savez(buffer, weight_D=head.weight_D, bias_R=head.bias_R, reference_P_D=head.reference_P_D)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        made.joinpath(WEIGHTS_NAME).write_bytes(buffer.getvalue())
        made.joinpath(CARD_NAME).write_text(json.dumps(asdict(head.card), indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        made.rename(folder)


def load_head(folder: Path) -> Head:
    """Reads the folder. Raises `SetupError` with one line that says what is wrong with it."""
    folder = folder.expanduser()
    try:
        card = _card(json.loads(folder.joinpath(CARD_NAME).read_bytes()))
        with np.load(io.BytesIO(folder.joinpath(WEIGHTS_NAME).read_bytes()), allow_pickle=False) as arrays:
            head = Head(
                card,
                np.asarray(arrays["weight_D"], dtype=np.float64),
                np.asarray(arrays["bias_R"], dtype=np.float64),
                np.asarray(arrays["reference_P_D"], dtype=np.float32),
            )
        _check_whole(head)
    except OSError as error:
        raise _unusable(folder, f"{error.strerror}: {Path(error.filename or folder).name}") from error
    except Exception as error:  # foreign bytes: zipfile, numpy and json raise what they like
        raise _unusable(folder, " ".join(str(error).split())[:200] or type(error).__name__) from error
    return head


def _unusable(folder: Path, fault: str) -> SetupError:
    return SetupError(
        f"{VARIABLE}={folder}: no usable head ({fault}); give a folder that `globetag train gate`"
        " wrote, or unset it"
    )


def _card(said: Any) -> Card:
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError(f"{CARD_NAME} is not of the format {FORMAT}")
    names = set(Card.__dataclass_fields__)
    if said.keys() - names:
        raise ValueError(f"{CARD_NAME} says more than is known here: {', '.join(sorted(said.keys() - names))}")
    try:
        card = Card(**{**said, "radii_km": tuple(said.get("radii_km", ()))})
    except TypeError as error:
        raise ValueError(f"{CARD_NAME} lacks something: {error}") from error
    if not (isinstance(card.threshold, int | float) and 0 <= card.threshold <= 1):
        raise ValueError(f"a threshold of {card.threshold!r} is no chance")
    radii = card.radii_km
    if not radii or not all(isinstance(km, int) and km > 0 for km in radii) or list(radii) != sorted(set(radii)):
        raise ValueError(f"radii of {radii} are not whole km in rising order")
    return card


def _check_whole(head: Head) -> None:
    shapes = head.weight_D.shape, head.bias_R.shape, head.reference_P_D.shape
    fits = (
        head.weight_D.ndim == 1
        and head.bias_R.shape == (len(head.card.radii_km),)
        and head.reference_P_D.ndim == 2
        and head.reference_P_D.shape[1:] == head.weight_D.shape
        and len(head.reference_P_D) > 0
    )
    if not fits:
        raise ValueError(f"arrays of {shapes} do not go together")
    if not all(np.isfinite(array).all() for array in (head.weight_D, head.bias_R, head.reference_P_D)):
        raise ValueError("the weights are not all finite")
    if (np.diff(head.bias_R) < 0).any():
        raise ValueError("the chances would fall from one radius to the next")
    if weights_hash(head.weight_D, head.bias_R, head.card.radii_km) != head.card.weights_hash:
        raise ValueError("weights and card do not belong together")
    if array_hash(head.reference_P_D) != head.card.reference_hash:
        raise ValueError("reference embeddings and card do not belong together")


def _cosines(one_P_D: NDArray[np.float32], other_P_D: NDArray[np.float32]) -> Floats:
    """Row by row; -1 for a row that is no direction."""
    one, other = one_P_D.astype(np.float64), other_P_D.astype(np.float64)
    length_P = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    dots_P = np.einsum("pd,pd->p", one, other)
    return np.array(
        [
            dot / length if length > 0 and math.isfinite(dot) else -1.0
            for dot, length in zip(dots_P, length_P, strict=True)
        ]
    )
