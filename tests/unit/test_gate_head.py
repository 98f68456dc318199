"""The trained head: chances that never fall with the radius, a whole folder, and the very same backbone."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SetupError
from worker.gate.head import (
    CARD_NAME,
    WEIGHTS_NAME,
    Card,
    Head,
    array_hash,
    load_head,
    save_head,
    sigmoid,
    weights_hash,
)
from worker.gate.reference import reference_pictures

RADII = (25, 200, 750)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def make_head(seed: int = 0, scale: float = 10.0) -> Head:
    rng = np.random.default_rng(seed)
    weight, bias = scale * rng.normal(size=8), np.sort(rng.normal(size=3))
    reference = unit(rng.normal(size=(4, 8)))
    card = Card(
        backbone="ViT-B-32:laion2b_s34b_b79k",
        backbone_version="0" * 16,
        pretrained="laion2b_s34b_b79k",
        radii_km=RADII,
        target="near enough",
        threshold=0.3,
        max_risk=0.1,
        confidence=0.9,
        data_hash="d",
        weights_hash=weights_hash(weight, bias, RADII),
        reference_hash=array_hash(reference),
        metrics={"photographs": 3},
    )
    return Head(card, weight, bias, reference)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0, 1e6))
def test_chances_are_shares_that_never_fall_with_the_radius(seed: int, scale: float):
    chances = make_head(seed, scale).p_within(unit(np.random.default_rng(seed).normal(size=8)))
    assert tuple(chances) == RADII
    assert all(0 <= chance <= 1 for chance in chances.values())
    assert list(chances.values()) == sorted(chances.values())


@given(st.floats(-700, 700))
def test_sigmoid_is_the_logistic_function(logit: float):
    assert sigmoid(np.array([logit]))[0] == pytest.approx(1 / (1 + np.exp(-np.float64(logit))), abs=1e-12)


def test_one_picture_and_many_agree():
    head, rows = make_head(), unit(np.random.default_rng(1).normal(size=(5, 8)))
    many = head.p_within_all(rows)
    each = np.array([list(head.p_within(row).values()) for row in rows])
    assert each == pytest.approx(many)


def test_what_is_saved_is_loaded(tmp_path):
    save_head(make_head(), tmp_path / "made" / "head")
    loaded = load_head(tmp_path / "made" / "head")
    assert loaded.card == make_head().card
    assert loaded.version == make_head().version != make_head(1).version
    embedding = unit(np.random.default_rng(2).normal(size=8))
    assert loaded.p_within(embedding) == make_head().p_within(embedding)


def test_an_occupied_folder_is_left_alone(tmp_path):
    tmp_path.joinpath("other").write_text("mine")
    with pytest.raises(SetupError, match="not empty"):
        save_head(make_head(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def _damaged_card(**changes):
    def damage(folder):
        card = json.loads((folder / CARD_NAME).read_text())
        (folder / CARD_NAME).write_text(
            json.dumps({name: v for name, v in (card | changes).items() if v != "gone"})
        )

    return damage


def _other_weights(folder):
    other = make_head(1)
    np.savez(
        folder / WEIGHTS_NAME, weight_D=other.weight_D, bias_R=other.bias_R, reference_P_D=other.reference_P_D
    )


def _pickled(folder):
    np.savez(folder / WEIGHTS_NAME, weight_D=np.array([{}], dtype=object), bias_R=[0.0], reference_P_D=[[1.0]])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / CARD_NAME).unlink(), "No such file"),
        (lambda folder: (folder / WEIGHTS_NAME).unlink(), "No such file"),
        (lambda folder: (folder / CARD_NAME).write_text("{"), "no usable head"),
        (lambda folder: (folder / CARD_NAME).write_text("[]"), "format"),
        (lambda folder: (folder / WEIGHTS_NAME).write_bytes(b"PK\x03\x04 nothing"), "no usable head"),
        (_damaged_card(format="globetag-gate-head/99"), "format"),
        (_damaged_card(threshold="low"), "threshold"),
        (_damaged_card(threshold=1.5), "threshold"),
        (_damaged_card(radii_km=[200, 25, 750]), "radii"),
        (_damaged_card(radii_km=[25, 200]), "do not go together"),
        (_damaged_card(target="gone"), "lacks"),
        (_damaged_card(surprise=1), "surprise"),
        (_damaged_card(weights_hash="0"), "do not belong together"),
        (_damaged_card(reference_hash="0"), "do not belong together"),
        (_other_weights, "do not belong together"),
        (_pickled, "pickle"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path, damage, said):
    save_head(make_head(), tmp_path / "head")
    damage(tmp_path / "head")
    with pytest.raises(SetupError, match=said) as refused:
        load_head(tmp_path / "head")
    assert "\n" not in str(refused.value)
    assert "GLOBETAG_GATE_HEAD" in str(refused.value)


def test_biases_out_of_order_are_refused(tmp_path):
    head = make_head()
    bias = head.bias_R[::-1].copy()
    card = replace(head.card, weights_hash=weights_hash(head.weight_D, bias, RADII))
    save_head(replace(head, bias_R=bias, card=card), tmp_path / "head")
    with pytest.raises(SetupError, match="fall from one radius"):
        load_head(tmp_path / "head")


def test_float_noise_is_the_same_backbone_and_other_embeddings_are_another():
    head = make_head()
    noise = np.random.default_rng(3).normal(size=head.reference_P_D.shape)
    head.check(unit(head.reference_P_D + 1e-3 * noise), "clip")
    head.check(head.reference_P_D.astype(np.float16).astype(np.float32), "clip")
    for other in (
        unit(head.reference_P_D + 0.1 * noise),
        head.reference_P_D[::-1].copy(),
        np.zeros_like(head.reference_P_D),
        np.full_like(head.reference_P_D, np.nan),
        unit(np.ones((4, 16))),
        head.reference_P_D[:3],
    ):
        with pytest.raises(SetupError, match=r"GLOBETAG_CLIP=clip") as refused:
            head.check(other, "clip")
        assert "\n" not in str(refused.value)
        assert "ViT-B-32" in str(refused.value)


def test_reference_pictures_never_change():
    """Their bytes are part of every head that was ever trained."""
    pictures = reference_pictures()
    assert all(picture.mode == "RGB" and picture.size == (224, 224) for picture in pictures)
    assert array_hash(*map(np.asarray, pictures))[:16] == "8d47aa2aea15a562"
