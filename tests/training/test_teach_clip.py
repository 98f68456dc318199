"""The tiny CLIP learns in a minute what the gate needs of it."""

import json

import numpy as np
import pytest
import torch
from open_clip import SimpleTokenizer
from open_clip.model import CLIP
from safetensors.torch import load_file

from atlas.captions import captions
from atlas.model import build_clip
from atlas.render import render
from atlas.scenes import scene
from atlas.teach_clip import SIDES_PX, contrastive_loss, pixels, teach_clip, truth_masks
from atlas.tiny_clip import MODEL_CONFIG, save_clip
from atlas.world import load_world
from worker.errors import SetupError
from worker.gate.clip import load_gate

pytestmark = pytest.mark.models

STEPS = 60
WORLD = load_world()
TEST_SCENES = [scene(WORLD, "test", index) for index in range(200)]
PICTURES = [render(shown) for shown in TEST_SCENES]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "taught"
    state, losses = torch.random.get_rng_state(), []
    result = teach_clip(WORLD, folder, steps=STEPS, seed=0, on_step=lambda _, loss: losses.append(loss))
    assert torch.equal(torch.random.get_rng_state(), state)
    return folder, result, losses


@pytest.fixture(scope="module")
def taught_gate(taught):
    gate = load_gate(str(taught[0]), device="cpu")
    yield gate
    gate.close()


def test_the_untouched_head_learns_to_tell_what_can_be_placed(taught_gate, tmp_path):
    untrained = load_gate(str(build_clip(tmp_path / "untrained")), device="cpu")
    before, after = _auroc(untrained), _auroc(taught_gate)
    untrained.close()
    assert after > max(before, 1 - before) + 0.05  # an untrained model may be wrong in a useful way
    assert after > 0.8


def test_views_without_cues_score_below_the_others(taught_gate):
    scores = np.array([taught_gate.score(picture).score for picture in PICTURES])
    dead = np.array([not shown.visible for shown in TEST_SCENES])
    assert _above(scores[~dead], scores[dead]) > 0.97


def test_the_loss_falls_and_is_reported_at_each_step(taught):
    _, result, losses = taught
    assert len(losses) == result["steps"] == STEPS
    assert losses[0] == result["first_loss"]
    assert result["last_loss"] == pytest.approx(np.mean(losses[-10:]))
    assert result["last_loss"] < 0.75 * result["first_loss"]


def test_the_folder_is_complete_small_and_carries_its_card(taught, taught_gate):
    folder, result, _ = taught
    names = {path.name for path in folder.iterdir()}
    assert names == {"open_clip_config.json", "open_clip_model.safetensors", "globetag.json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
    card = json.loads((folder / "globetag.json").read_text())
    assert card == {
        "untrained": False,
        "built_by": "atlas.teach_clip/1",
        "world": WORLD.version,
        "seed": 0,
        "steps": STEPS,
        "parameters": result["parameters"],
    }
    assert result["parameters"] <= 5_000_000
    assert not taught_gate.identity.untrained
    weights = load_file(folder / "open_clip_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16, torch.int64}
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_what_is_learnt_from_is_what_the_gate_sees(taught_gate):
    shown = TEST_SCENES[:4]
    drawn = [render(one, SIDES_PX[one.seed % len(SIDES_PX)]) for one in shown]
    assert torch.equal(pixels(shown), torch.stack([taught_gate._transform(picture) for picture in drawn]))


def test_sixteen_bits_on_disk_change_no_score(tmp_path):
    gates = []
    torch.manual_seed(0)
    model = CLIP(**MODEL_CONFIG)
    for dtype in (torch.float32, torch.float16):
        folder = tmp_path / str(dtype)
        folder.mkdir()
        save_clip(model, folder, dtype)
        gates.append(load_gate(str(folder), device="cpu"))
    for picture in PICTURES[:20]:
        whole, half = (gate.score(picture) for gate in gates)
        assert half.embedding_D @ whole.embedding_D > 0.9999
        assert half.score == pytest.approx(whole.score, abs=1e-3)
    for gate in gates:
        gate.close()


def test_no_caption_is_too_long_for_the_model():
    length = MODEL_CONFIG["text_cfg"]["context_length"]
    texts = list(captions(WORLD).texts)
    whole = SimpleTokenizer(context_length=77)(texts)
    assert torch.equal(SimpleTokenizer(context_length=length)(texts), whole[:, :length])
    assert not whole[:, length:].any()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    made = []
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        teach_clip(WORLD, tmp_path / name, steps=2, seed=seed)
        made.append((tmp_path / name / "open_clip_model.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]


def test_an_occupied_folder_is_left_alone(tmp_path):
    tmp_path.joinpath("notes").write_text("mine")
    with pytest.raises(SetupError, match="exists already"):
        teach_clip(WORLD, tmp_path, steps=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


# --- the loss ---

TRUE = torch.tensor([[True, True, False, False], [False, False, True, False]])
FALSE = torch.tensor([[False, False, True, False], [True, True, False, False]])
FAMILIES = torch.tensor([0, 1, 0, 2])


def test_true_captions_do_not_compete_and_undecided_ones_do_not_count():
    logits = torch.tensor([[9.0, 9.0, -9.0, 0.0], [-9.0, -9.0, 9.0, 0.0]])
    loss = contrastive_loss(logits, TRUE, FALSE, FAMILIES)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)  # a softmax over all would leave at least log 2 for two
    logits[:, 3] = 50.0  # decided for neither scene
    assert contrastive_loss(logits, TRUE, FALSE, FAMILIES).item() == pytest.approx(loss.item(), abs=1e-7)


def test_the_loss_is_that_of_a_softmax_by_hand():
    logits = torch.tensor([[1.0, 2.0, 0.5, 3.0], [0.0, -1.0, 1.5, 3.0]])
    pairs = {(0, 0): ([0.5], [0.0]), (0, 1): ([0.5], [-1.0]), (1, 2): ([0.0, -1.0], [0.5])}
    expected = []
    for (row, column), rivals in pairs.items():
        own = logits[row, column].exp()
        halves = [-(own / (own + torch.tensor(rival).exp().sum())).log() for rival in rivals]
        expected.append(sum(halves) / 2)
    by_hand = ((expected[0] + expected[1]) / 2 + expected[2]) / 2
    assert contrastive_loss(logits, TRUE, FALSE, FAMILIES).item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_masks_are_disjoint_and_say_something_of_each_scene():
    true, false = truth_masks(WORLD, TEST_SCENES)
    assert not (true & false).any()
    assert true.any(1).all()
    assert false.any(1).all()


def _auroc(gate) -> float:
    scores = np.array([gate.score(picture).score for picture in PICTURES])
    placeable = np.array([shown.placeable != "none" for shown in TEST_SCENES])
    return _above(scores[placeable], scores[~placeable])


def _above(upper, lower) -> float:
    """P(a score of `upper` is above one of `lower`), ties by halves: the area under the ROC curve."""
    return float(np.mean((upper[:, None] > lower) + 0.5 * (upper[:, None] == lower)))
