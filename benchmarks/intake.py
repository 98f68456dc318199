"""Intake: from bytes to what both models look at, against Pillow's full decode and open_clip's transform.

Ours is `decode` (the LVLM's picture and EXIF turn included) and the gate's transform of that picture (`shrink`,
then open_clip's own); theirs is Pillow's decode at full size and open_clip's transform. They take turns, and
medians of processor time are compared.

`cosine_min` asks whether the gate notices the reduced scale: the least cosine between open_clip's embeddings of
both, over the real photographs where their folder is there, else over the two made here. The model is a ViT-B-32
with seeded random weights, since no weights ship with this project, and random weights bring all embeddings
close together. Hence two stricter figures beside it: the least cosine of the mean-centred pixels that the model
is given, and of the embeddings after the mean embedding of all photographs was taken away. Photographs that
bare Pillow cannot read (HEIC) or clips to white (16 bits) have nothing to be compared with.
"""

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from benchmarks import harness
from worker.errors import JobError
from worker.gate.shrink import shrink
from worker.intake.picture import decode

_PHOTOS = Path(__file__).parents[2] / "shared" / "photos" / "real"
_SIZES_PX = {"12mp": (4000, 3000), "2mp": (1632, 1224)}
_GATE_PX = 224  # of ViT-B-32
_SEED = 7


def main() -> None:
    """Measures and reports."""
    quick = harness.arguments(__doc__).parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(_SEED)
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    model.eval()

    made = {name: photo_like_jpeg(width_px, height_px) for name, (width_px, height_px) in _SIZES_PX.items()}
    figures: dict[str, float | None] = {}
    for name, data in made.items():
        ours_s, theirs_s = interleaved_medians(
            [lambda data=data: _ours(data, transform), lambda data=data: _theirs(data, transform)],  # type: ignore[misc]
            rounds=7 if quick else 25,
        )
        print(f"{name}: {len(data):,} bytes, ours {1e3 * ours_s:.1f} ms, theirs {1e3 * theirs_s:.1f} ms")
        figures |= {f"speedup_{name}": theirs_s / ours_s, f"ms_{name}": 1e3 * ours_s}

    photos = [path.read_bytes() for path in sorted(_PHOTOS.iterdir())] if _PHOTOS.is_dir() else []
    figures |= _cosines(photos or list(made.values()), model, transform)
    units = {key: "ms" if key.startswith("ms_") else "photographs" if key == "n" else "1" for key in figures}
    harness.report("intake", figures, units)


def photo_like_jpeg(width_px: int, height_px: int) -> bytes:
    """A JPEG that costs a decoder what a photograph does: soft shapes, edges and sensor noise, seeded."""
    random = np.random.default_rng(_SEED)
    blobs = random.normal(128, 50, (height_px // 40 + 2, width_px // 40 + 2, 3)).clip(0, 255).astype(np.uint8)
    soft = np.asarray(Image.fromarray(blobs).resize((width_px, height_px), Image.Resampling.BICUBIC))
    noise = random.normal(0, 9, (height_px, width_px, 3))
    image = Image.fromarray((soft + noise).clip(0, 255).astype(np.uint8))
    out = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.7)).save(out, "JPEG", quality=88)
    return out.getvalue()


def interleaved_medians(runs: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of processor time of each, taken in turns, so that what else the machine does hits all alike.

    All threads of the process count: the figure is work for one core, however many it was spread over.
    """
    taken_s: list[list[float]] = [[] for _ in runs]
    for run in runs:  # libraries load and caches fill outside the measurement
        run()
    for _ in range(rounds):
        for run, times_s in zip(runs, taken_s, strict=True):
            start_s = time.process_time()
            run()
            times_s.append(time.process_time() - start_s)
    return [statistics.median(times_s) for times_s in taken_s]


def _ours(data: bytes, transform: Any) -> Any:
    return transform(shrink(decode(data).image, _GATE_PX))


def _theirs(data: bytes, transform: Any) -> Any:
    image = Image.open(io.BytesIO(data))
    if image.mode in ("I;16", "I", "F"):
        raise OSError(f"Pillow would clip {image.mode}")
    return transform(ImageOps.exif_transpose(image).convert("RGB"))


def _cosines(photos: list[bytes], model: Any, transform: Any) -> dict[str, float | None]:
    """Least cosines between ours and theirs, over the photographs that both decode."""
    ours, theirs = [], []
    for data in photos:
        try:
            pair = _ours(data, transform), _theirs(data, transform)
        except (JobError, OSError):  # nothing to compare
            continue
        ours.append(pair[0])
        theirs.append(pair[1])
    with torch.inference_mode():
        embedded = [
            torch.cat([model.encode_image(tensor[None]) for tensor in tensors]).numpy()
            for tensors in (ours, theirs)
        ]
    centre = embedded[1].mean(axis=0)
    pixels = [np.stack([(tensor - tensor.mean()).flatten().numpy() for tensor in t]) for t in (ours, theirs)]
    return {
        "cosine_min": _least_cosine(*embedded),
        "tensor_cosine_min": _least_cosine(*pixels),
        "centred_cosine_min": _least_cosine(embedded[0] - centre, embedded[1] - centre),
        "n": float(len(ours)),
    }


def _least_cosine(a_N_D: NDArray[np.float32], b_N_D: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(a_N_D, axis=1) * np.linalg.norm(b_N_D, axis=1)
    return float(np.min(np.sum(a_N_D * b_N_D, axis=1) / norms))


if __name__ == "__main__":
    main()
