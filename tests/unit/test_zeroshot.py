import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gate.zeroshot import (
    DEFAULT_THRESHOLD,
    NOT_PLACEABLE,
    PLACEABLE,
    POSITIVE_P,
    PROMPTS,
    ZeroShotHead,
    prompts_version,
)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def _axes_head(logit_scale: float = 100.0) -> ZeroShotHead:
    """Four prompts along the axes of a space of five dimensions; the first two are positive."""
    return ZeroShotHead(np.eye(4, 5, dtype=np.float32), np.array([True, True, False, False]), logit_scale)


def test_an_image_like_a_positive_prompt_scores_one_and_like_a_negative_one_zero():
    axes = np.eye(5, dtype=np.float32)
    assert _axes_head().score(axes[0]) == pytest.approx(1.0)
    assert _axes_head().score(axes[3]) == pytest.approx(0.0)


def test_an_image_like_no_prompt_scores_a_half_and_passes():
    score = _axes_head().score(np.eye(5, dtype=np.float32)[4])
    assert score == pytest.approx(0.5)
    assert score > DEFAULT_THRESHOLD


def test_score_is_the_softmax_mass():
    embedding = _unit(np.array([3.0, 1.0, 2.0, 0.5, 1.0]))
    weights = np.exp(10.0 * embedding[:4].astype(np.float64))
    assert _axes_head(10.0).score(embedding) == pytest.approx(weights[:2].sum() / weights.sum(), abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1), logit_scale=st.floats(0.0, 1e4))
def test_scores_are_finite_shares_and_the_two_kinds_share_the_whole(seed: int, logit_scale: float):
    generator = np.random.default_rng(seed)
    vectors, embedding = _unit(generator.normal(size=(6, 16))), _unit(generator.normal(size=16))
    positive = np.array([True, False, True, False, False, True])
    score = ZeroShotHead(vectors, positive, logit_scale).score(embedding)
    other = ZeroShotHead(vectors, ~positive, logit_scale).score(embedding)
    assert 0.0 <= score <= 1.0
    assert score + other == pytest.approx(1.0)


@pytest.mark.parametrize("positive", [[True] * 4, [False] * 4, [True, False]])
def test_masks_that_make_no_sense_are_refused(positive: list[bool]):
    with pytest.raises(ValueError, match=r"prompts|vectors"):
        ZeroShotHead(np.eye(4, 5, dtype=np.float32), np.array(positive), 100.0)


def test_prompt_sets_are_balanced_and_distinct():
    assert len(PLACEABLE) == len(NOT_PLACEABLE) >= 8
    assert len(set(PROMPTS)) == len(PROMPTS)
    assert [bool(flag) for flag in POSITIVE_P] == [prompt in PLACEABLE for prompt in PROMPTS]


def test_version_changes_with_any_prompt():
    assert prompts_version() == prompts_version(PROMPTS)
    assert prompts_version() != prompts_version(PROMPTS[:-1])
    assert prompts_version() != prompts_version((*PROMPTS[:-1], PROMPTS[-1] + " at all"))
