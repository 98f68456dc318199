"""The gate's picture: as small as the transform makes it, and nearly the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from worker.gate.shrink import shrink
from worker.intake.jpeg import scaled_size
from worker.intake.limits import reduced_size

SIDES_PX = st.integers(1, 20_000)


def _photograph(width_px, height_px):
    random = np.random.default_rng(3)
    blobs = Image.fromarray(random.integers(0, 256, (height_px // 30, width_px // 30, 3), dtype=np.uint8))
    soft = blobs.resize((width_px, height_px), Image.Resampling.BICUBIC)
    noise = random.normal(0, 9, (height_px, width_px, 3))
    return Image.fromarray((np.asarray(soft) + noise).clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(0.7)
    )


@pytest.mark.parametrize("size_px", [(1500, 1125), (1125, 1500), (1000, 1000), (2400, 900)])
def test_it_is_what_the_full_filter_makes_of_it(size_px):
    picture = _photograph(*size_px)
    small = shrink(picture, 224)
    whole = picture.resize(small.size, Image.Resampling.BICUBIC)
    a, b = (np.asarray(image, dtype=np.float64) - np.asarray(image).mean() for image in (small, whole))
    assert (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()) > 0.998


@pytest.mark.parametrize(
    ("size_px", "expected_px"), [((1500, 1125), (298, 224)), ((1125, 1500), (224, 298)), ((900, 900), (224, 224))]
)
def test_its_size_is_the_one_that_torchvision_makes(size_px, expected_px):
    assert shrink(Image.new("RGB", size_px), 224).size == expected_px


def test_a_picture_that_is_not_much_larger_is_left_alone():
    picture = Image.new("RGB", (1200, 895))
    assert shrink(picture, 224) is picture


@given(SIDES_PX, SIDES_PX)
def test_a_quicker_scale_is_never_too_small_and_never_much_too_large(width_px, height_px):
    target_px = reduced_size(width_px, height_px)
    found_px = scaled_size((width_px, height_px), target_px)
    assert found_px[0] >= target_px[0]
    assert found_px[1] >= target_px[1]
    assert found_px[0] * found_px[1] <= 2 * target_px[0] * target_px[1]
    assert found_px[0] <= width_px
    assert found_px[1] <= height_px


@pytest.mark.parametrize(
    ("size_px", "expected_px"),
    [
        ((1632, 1224), (1632, 1224)),  # two megapixels: whole, where six eighths would do
        ((3000, 2250), (1500, 1125)),
        ((4000, 3000), None),  # half of it would be three times too large
    ],
)
def test_a_scale_that_the_codec_is_quick_at_is_preferred(size_px, expected_px):
    target_px = reduced_size(*size_px)
    assert scaled_size(size_px, target_px) == (expected_px or target_px)
