"""From outcomes to a head with a card, and every reason why not, with counts."""

import numpy as np
import pytest

from tests.unit.test_gate_fit import made
from trainer.gate.outcomes import Outcomes
from trainer.gate.train import RADII_KM, pretrained_tag, train_head
from worker.errors import SetupError
from worker.gate.head import load_head, save_head
from worker.identity import ModelIdentity

BACKBONE = ModelIdentity("gate", "ViT-B-32:laion2b_s34b_b79k", "1234")
REFERENCE = np.eye(4, 12, dtype=np.float32)


def outcomes(
    seed: int = 0, n: int = 1200, cells: int | tuple[str, ...] = 40, signal: float = 4.0, **more
) -> Outcomes:
    x, km, names = made(seed, n=n, cells=cells if isinstance(cells, int) else 40, signal=signal)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    ids = tuple(f"{number:04}" for number in range(n))
    return Outcomes(
        ids,
        more.get("x", x),
        more.get("km", km),
        cells if isinstance(cells, tuple) else tuple(names),
        "atlas",
        {"no rights": 7},
    )


def train(given: Outcomes, max_risk: float = 0.2, **more):
    return train_head(given, backbone=BACKBONE, reference_P_D=REFERENCE, max_risk=max_risk, **more)


def refusal(given: Outcomes, **more) -> str:
    with pytest.raises(SetupError) as refused:
        train(given, **more)
    said = str(refused.value)
    assert "\n" not in said
    assert "zero-shot head stays" in said
    return said


def test_a_head_with_its_card(tmp_path):
    given = outcomes()
    head = train(given, zero_shot_N=np.linspace(0, 1, 1200))
    card = head.card
    assert (card.backbone, card.pretrained, card.radii_km) == (BACKBONE.name, "laion2b_s34b_b79k", RADII_KM)
    assert card.metrics["within_km"]["25"]["auroc"] > 0.8
    assert card.metrics["zero_shot_auroc"] == pytest.approx(0.5, abs=0.1)
    assert card.metrics["threshold"]["upper"] <= 0.2 == card.max_risk
    passed = head.p_within_all(given.embedding_N_D)[:, 0] >= card.threshold
    points = passed & np.isfinite(given.km_N)
    assert (given.km_N[points] > 25).mean() < 0.2 < (given.km_N[np.isfinite(given.km_N)] > 25).mean()
    save_head(head, tmp_path / "head")
    assert load_head(tmp_path / "head").card == card


def test_the_data_and_nothing_else_change_the_hash():
    assert train(outcomes()).card == train(outcomes()).card
    assert outcomes().data_hash == outcomes().data_hash != outcomes(1).data_hash
    km = outcomes().km_N.copy()
    km[np.isfinite(km).argmax()] += 1
    assert outcomes(km=km).data_hash != outcomes().data_hash


def test_a_stricter_risk_lets_fewer_pass():
    loose, strict = train(outcomes(), 0.3).card, train(outcomes(), 0.15).card
    assert strict.threshold > loose.threshold
    assert strict.metrics["threshold"]["coverage"] < loose.metrics["threshold"]["coverage"]


def test_too_few_are_refused_with_counts():
    said = refusal(outcomes(n=150))
    assert "too few outcomes" in said
    assert "150 photographs in" in said
    assert "left out 7: no rights" in said
    empty = Outcomes((), np.zeros((0, 0), np.float32), np.zeros(0), (), "atlas")
    assert "0 photographs in 0 cells" in refusal(empty)


def test_one_town_is_refused():
    assert "too few places" in refusal(outcomes(cells=1))
    assert "too few places" in refusal(outcomes(cells=9))
    nearly = ["here"] * 1160 + [f"c{number}" for number in range(40)]
    assert "the fullest cell holds 1,160" in refusal(outcomes(cells=tuple(nearly)))


def test_outcomes_that_are_all_alike_are_refused():
    assert "too much alike" in refusal(outcomes(km=np.full(1200, np.inf)))
    assert "too much alike" in refusal(outcomes(km=np.full(1200, 1.0)))


def test_embeddings_that_tell_nothing_are_refused():
    km = np.random.default_rng(0).permutation(outcomes().km_N)
    assert "tell nothing" in refusal(outcomes(x=np.ones((1200, 12), np.float32), km=km))


def test_a_risk_that_cannot_be_proven_is_refused_with_what_can():
    said = refusal(outcomes(signal=1.0), max_risk=0.01)
    assert "no threshold is proven" in said
    assert "choose a larger --max-risk" in said


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("ViT-B-32:laion2b_s34b_b79k", "laion2b_s34b_b79k"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", None),
        ("/models/clip", None),
        ("local-dir:clip", None),
    ],
)
def test_the_pretrained_tag_is_read_off_the_name(name, tag):
    assert pretrained_tag(name) == tag
