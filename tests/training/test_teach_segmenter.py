"""The small segmentation model: what comes along sees this world, and a short training makes one like it."""

import json

import pytest
import torch

from atlas import WEIGHTS
from atlas.cuts import write_cuts
from atlas.masks import LABELS
from atlas.render import render
from atlas.scenes import scene
from atlas.seeing import Matcher, Seer
from atlas.teach_segmenter import teach_segmenter
from atlas.visible import CUES, SEGMENTER_NAME, load_cuts
from atlas.world import load_world
from worker.errors import SetupError
from worker.gate.clip import load_gate

pytestmark = pytest.mark.models

WORLD = load_world()
SCENES = [scene(WORLD, "test", index) for index in range(120)]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    folder, losses = tmp_path_factory.mktemp("segmenter") / "taught", []
    state = torch.random.get_rng_state()
    result = teach_segmenter(
        WORLD, folder, steps=12, seed=0, scenes=64, on_step=lambda _, loss: losses.append(loss)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    return folder, result, losses


def test_a_short_training_lowers_the_loss_and_leaves_a_whole_checkpoint(taught):
    folder, result, losses = taught
    assert losses[-1] < losses[0] - 0.5
    assert result["parameters"] < 1_000_000
    card = json.loads((folder / "globetag.json").read_text())
    assert (card["untrained"], card["world"], card["steps"]) == (False, WORLD.version, 12)
    assert json.loads((folder / "config.json").read_text())["id2label"]["0"] == LABELS[0]
    [seen] = Seer(folder).look([render(SCENES[0], 336)])
    assert seen.evidence.keys() == set(CUES)
    assert all(0 <= each <= 1 for each in seen.evidence.values())


def test_cuts_of_both_models_are_written_beside_it(taught):
    folder, _, _ = taught
    cuts = write_cuts(WORLD, folder, WEIGHTS / "clip", scenes=200)
    assert cuts[SEGMENTER_NAME] == load_cuts(SEGMENTER_NAME, folder)
    assert all(kinds.keys() == {kind.name for kind in WORLD.kinds} for kinds in cuts.values())


def test_an_occupied_folder_is_left_alone(taught):
    with pytest.raises(SetupError):
        teach_segmenter(WORLD, taught[0], steps=1, seed=0, scenes=32)


def test_the_packaged_model_is_of_this_world():
    card = json.loads((WEIGHTS / "segmenter" / "globetag.json").read_text())
    assert card["world"] == WORLD.version, "the world has changed: run `make atlas`, then replace the weights"
    assert (WEIGHTS / "segmenter" / "model.safetensors").stat().st_size < 2_000_000


def test_the_packaged_model_sees_what_is_there_and_nothing_else():
    """Well below what it reaches (docs/curation.md)."""
    seen = Seer().look([render(shown, 336) for shown in SCENES])
    cuts = load_cuts()
    there = found = invented = hidden = 0
    for shown, looked in zip(SCENES, seen, strict=True):
        visible = {cue.kind: cue.value for cue in shown.visible}
        for cue in CUES:
            yes = looked.evidence[cue] >= cuts[cue[0]]
            if visible.get(cue[0]) == cue[1]:
                there, found = there + 1, found + yes
            else:
                hidden, invented = hidden + 1, invented + yes
    assert found / there > 0.95
    assert invented / hidden < 0.005


def test_the_matcher_tells_some_cues_from_their_absence():
    gate = load_gate(str(WEIGHTS / "clip"), device="cpu")
    seen = Matcher(gate).look([render(shown, 336) for shown in SCENES])
    gate.close()
    there = [looked.evidence[cue.kind, cue.value] for shown, looked in zip(SCENES, seen, strict=True)
             for cue in shown.visible]  # fmt: skip
    everywhere = [value for looked in seen for value in looked.evidence.values()]
    assert sum(there) / len(there) > sum(everywhere) / len(everywhere) + 0.1
