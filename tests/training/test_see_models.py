"""The models that look at pictures and texts: plumbing with random weights, and what a trained CLIP can tell.

Models of random weights say nothing about a picture; what is tested with them is that each architecture loads,
that batches and shapes change no figure, and that bad checkpoints are refused.
"""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from atlas.cues import KIND_BY_NAME
from atlas.language import cue_phrase
from atlas.render import render
from atlas.scenes import scene
from atlas.world import load_world
from tests.training.tiny_see import ARCHITECTURES, NAMES, save_encoder, save_segmenter
from trainer.curate.opinions import Case, Opinion, Subject
from trainer.curate.see.embed import load_embedder
from trainer.curate.see.looker import Looker
from trainer.curate.see.match import load_matcher
from trainer.curate.see.segment import load_segmenter, wanted_files
from worker.errors import SetupError
from worker.reason.answer import Answer

pytestmark = pytest.mark.models


def noise(width_px, height_px):
    return Image.effect_noise((width_px, height_px), 90).convert("RGB")


PICTURES = [
    Image.new("RGB", (100, 64), (10, 200, 30)),
    noise(64, 100),
    noise(100, 64),
    noise(1, 1),
    noise(400, 30),
]


@pytest.fixture(autouse=True)
def _one_thread():
    """Several take sums in another order, and masked attention makes a yes or no of the last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def segmenters(tmp_path_factory):
    root = tmp_path_factory.mktemp("segmenters")
    return {name: load_segmenter(str(save_segmenter(root / name, name)), device="cpu") for name in ARCHITECTURES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_shares_of_the_picture(segmenters, architecture):
    segmenter = segmenters[architecture]
    assert segmenter.labels == tuple(NAMES)
    assert segmenter.checkpoint.untrained
    together = segmenter.shares(PICTURES)
    for picture, areas in zip(PICTURES, together, strict=True):
        assert sum(areas.values()) == pytest.approx(1.0)
        assert areas.keys() <= set(NAMES)
        assert segmenter.shares([picture]) == [pytest.approx(areas, abs=1e-3)]
    assert segmenter.shares([]) == []


def test_a_hub_id_finds_a_download(segmenters, tmp_path, monkeypatch):
    """Without a network here: as the hub's own client lays a download out."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "c" * 40
    repository = tmp_path / "models--nvidia--segformer-tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    save_segmenter(repository / "snapshots" / commit, "segformer")
    found = load_segmenter("nvidia/segformer-tiny", device="cpu")
    assert found.checkpoint.revision == commit
    assert found.shares(PICTURES) == segmenters["segformer"].shares(PICTURES)
    files = ["config.json", "model.safetensors", "pytorch_model.bin", "modeling.py", "tokenizer.json", "x.pkl"]
    assert wanted_files(files) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_another_seed_segments_otherwise(segmenters, tmp_path):
    other = load_segmenter(str(save_segmenter(tmp_path / "other", "segformer", seed=1)), device="cpu")
    assert other.shares(PICTURES) != segmenters["segformer"].shares(PICTURES)


def test_checkpoints_that_cannot_be_trusted_are_refused(tmp_path):
    with pytest.raises(SetupError, match="no such folder"):
        load_segmenter(str(tmp_path / "nowhere"))
    nameless = save_segmenter(tmp_path / "nameless", "segformer")
    config = json.loads((nameless / "config.json").read_text())
    config["id2label"] = {number: f"LABEL_{number}" for number in config["id2label"]}
    (nameless / "config.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match="does not name its classes"):
        load_segmenter(str(nameless))
    pickled = save_segmenter(tmp_path / "pickled", "segformer")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(SetupError, match="could not be loaded"):
        load_segmenter(str(pickled))
    half = save_segmenter(tmp_path / "half", "segformer")
    config = json.loads((half / "config.json").read_text())
    config["decoder_hidden_size"] = 8
    (half / "config.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match="could not be loaded"):
        load_segmenter(str(half))


def test_sentences_with_words_in_common_are_more_alike(tmp_path):
    embedder = load_embedder(
        str(save_encoder(tmp_path / "encoder", ["a", "red", "blue", "taxi", "palm"])), device="cpu"
    )
    same, near, far = embedder.similarity(
        [("a red taxi", "a red taxi"), ("a red taxi", "a blue taxi"), ("a red taxi", "palm palm")]
    )
    assert same == pytest.approx(1.0)
    assert 1 > near > far
    assert math.isnan(embedder.similarity([("", "a red taxi")])[0])
    assert embedder.similarity([]) == []
    alone = embedder.embed(["a red taxi"])
    again = load_embedder(str(tmp_path / "encoder"), device="cpu").embed(["palm", "a red taxi", "a " * 500])
    assert np.allclose(alone[0], again[1], atol=1e-5)  # batches and padding change nothing
    assert np.allclose(np.linalg.norm(again, axis=1), 1.0)


def test_pooling_is_the_checkpoints_own(tmp_path):
    folder = save_encoder(tmp_path / "encoder", ["a", "red", "taxi"])
    mean = load_embedder(str(folder), device="cpu").embed(["a red taxi"])
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    assert not np.allclose(load_embedder(str(folder), device="cpu").embed(["a red taxi"]), mean)
    pooling.write_text(json.dumps({"pooling_mode_lasttoken": True}))
    with pytest.raises(SetupError, match="choose mean or first token"):
        load_embedder(str(folder))


# ------------------------------------------------------------ what a trained model can tell


WORLD = load_world()
SCENES = [shown for number in range(120) if (shown := scene(WORLD, "test", number)).visible]


@pytest.fixture(scope="module")
def matcher():
    from importlib.resources import files

    found = load_matcher(str(files("atlas") / "weights" / "clip"), device="cpu")
    yield found
    found.close()


@pytest.fixture(scope="module")
def embedded(matcher):
    return [matcher.picture(render(shown)) for shown in SCENES]


def test_a_trained_clip_knows_a_drawn_cue_from_the_others_of_its_kind(matcher, embedded):
    """Each visible landmark, plant and horizon against the other values of its kind."""
    right = chance = of = 0.0
    for shown, picture_D in zip(SCENES, embedded, strict=True):
        for cue in shown.visible:
            if cue.kind not in {"landmark", "vegetation", "relief"}:
                continue
            values = KIND_BY_NAME[cue.kind].values
            said = {value: cue_phrase(cue.kind, value, 0) for value in values}
            scores = {value: matcher.score(picture_D, text, list(said.values())) for value, text in said.items()}
            right += max(scores, key=scores.__getitem__) == cue.value
            chance += 1 / len(values)
            of += 1
    assert of > 50
    assert right / of > 0.6 > 4 * chance / of  # 0.73 as measured, where guessing gives 0.09


def test_a_trained_clip_ranks_what_is_there_before_what_is_invented(matcher, embedded):
    """AUROC of visible cues against the typical value of kinds that the picture does not show."""
    there, invented = [], []
    for shown, picture_D in zip(SCENES, embedded, strict=True):
        visible = {cue.kind: cue.value for cue in shown.visible}
        others = [cue_phrase(kind.name, value, 0) for kind in WORLD.kinds for value in kind.values]
        for kind, value in WORLD.typical(shown.city).items():
            stands = matcher.standing(picture_D, cue_phrase(kind, visible.get(kind, value), 0), others)
            (there if kind in visible else invented).append(stands)
    auroc = np.mean([[(one > other) + 0.5 * (one == other) for other in invented] for one in there])
    assert auroc > 0.8


def test_a_looker_puts_real_models_together(segmenters, matcher):
    shown = next(one for one in SCENES if any(cue.kind == "taxi" for cue in one.visible))
    own = Opinion("t", Answer('There is a taxi. A church stands out. It reads "Beach Road".', "France"))
    case = Case(Subject(shown.id, "memory:", 0.0, 0.0), (own,))
    looker = Looker(lambda _: render(shown), segmenters["segformer"], matcher)
    (cues,) = looker([(case, own)])
    assert {cue.text for cue in cues} == {"taxi", "church", '"Beach Road"'}
    assert {cue.text: cue.by for cue in cues}["taxi"] == "segmentation+matching"
    assert looker([(case, own)]) == [cues]
