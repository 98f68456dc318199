"""Pictures by which a backbone is known again: the same everywhere, made by whole-number arithmetic alone.

Names do not do for that: one backbone is called a hub id here and a folder there, and a folder of the same
name may hold other weights. Nor does a hash of embeddings: their last bits differ between processors. So the
embeddings of these pictures are kept with a head (`worker.gate.head`) and compared by their cosine.
"""

import numpy as np
from PIL import Image

SIDE_PX = 224


def reference_pictures() -> list[Image.Image]:
    """Four RGB pictures that have little in common: a weave, rings, coloured squares and slanted stripes."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    squared = (x - 112) ** 2 + (y - 90) ** 2
    square = x // 32 + 7 * (y // 32)
    pictures = (
        (x, y, x ^ y),
        (squared >> 5, squared >> 6, 255 - (squared >> 7)),
        (37 * square, 101 * square, 59 * square),
        (2 * x + y, (x + 3 * y) // 2, 200 - x // 2),
    )
    return [Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8)) for bands in pictures]
