"""A picture on its way to the gate's size: most of the way by averaging, the rest as open_clip does it.

open_clip's transform resamples the whole picture with a bicubic filter whose support grows with the scale, which
costs more than the picture took to decode. Averaging whole blocks of pixels down to at least twice the wanted size
first leaves that filter a fraction of the work; the tensors keep a cosine above 0.998 to open_clip's own.
"""

from PIL.Image import Image, Resampling

_GAP = 2.0
"""How much larger than wanted the averaged picture is at least."""


def shrink(image: Image, side_px: int) -> Image:
    """The picture with a shorter side of `side_px`; pictures that are not much larger come back unchanged.

    The size is the one that torchvision's `Resize(side_px)` makes, so that it finds nothing left to do.
    """
    shorter_px, longer_px = sorted(image.size)
    if shorter_px < 2 * _GAP * side_px:
        return image
    along_px = int(side_px * longer_px / shorter_px)
    size_px = (side_px, along_px) if image.width <= image.height else (along_px, side_px)
    return image.resize(size_px, Resampling.BICUBIC, reducing_gap=_GAP)
