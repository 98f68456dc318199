"""The small models that come along: that they are what their cards say, and know the world that is in the code.

Thresholds lie well below what the models reach (docs/LOG.md), so that they fail when something broke: the drawing,
the prompt, the tokenizer, the decoder, the answer grammar.
"""

import json

import pytest
from safetensors import safe_open

from atlas import WEIGHTS
from atlas.exam import BATCH, examine_once
from atlas.language import true_text
from atlas.render import render
from atlas.scenes import scene
from atlas.world import load_world
from worker.gate.clip import load_gate
from worker.reason.engines.transformers import load_engine
from worker.reason.prompt import PROMPT_HASH, STYLES, build_prompt

pytestmark = pytest.mark.models

MOST_PARAMETERS = {"vlm-best": 10_000_000, "vlm-start": 10_000_000, "clip": 5_000_000}
RETRAIN = "has changed: run `make atlas`, then replace the weights"
MEGABYTE = 1_000_000


def card(name: str) -> dict[str, object]:
    return dict(json.loads((WEIGHTS / name / "globetag.json").read_bytes()))


@pytest.mark.parametrize("name", MOST_PARAMETERS)
def test_the_card_names_this_world_and_says_that_it_was_trained(name: str):
    assert card(name)["world"] == load_world().version, f"the world {RETRAIN}"
    assert card(name)["untrained"] is False


@pytest.mark.parametrize("name", ["vlm-best", "vlm-start"])
def test_the_models_were_trained_with_the_prompt_that_is_served(name: str):
    assert card(name)["prompt_hash"] == PROMPT_HASH, f"the prompt {RETRAIN}"


def test_start_learnt_from_the_teachers_and_best_from_the_truth():
    assert card("vlm-start")["texts"] == "teachers_words"
    assert card("vlm-best")["texts"] == "truthful_words"


@pytest.mark.parametrize("name", MOST_PARAMETERS)
def test_they_are_small(name: str):
    [weights] = (WEIGHTS / name).glob("*.safetensors")
    with safe_open(weights, framework="numpy") as tensors:
        parameters = 0
        for key in tensors.keys():  # noqa: SIM118 (no mapping)
            size = 1
            for side in tensors.get_slice(key).get_shape():
                size *= side
            parameters += size
    assert 1_000_000 < parameters <= MOST_PARAMETERS[name]


def test_all_weights_together_stay_a_small_part_of_the_repository():
    size = sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file())
    assert 5 * MEGABYTE < size <= 30 * MEGABYTE


def test_the_best_model_places_scenes_it_has_never_seen():
    engine = load_engine(str(WEIGHTS / "vlm-best"), device="cpu", dtype="float32", max_batch=BATCH)
    try:
        for style in STYLES:
            prompt = build_prompt(style=style)
            tokens = engine._processor.of_transformers.tokenizer(f"{prompt.system}\n{prompt.user}")["input_ids"]
            assert len(tokens) <= 24, "the prompt's paragraphs are no longer single tokens: `make atlas`"
        texts = [true_text(load_world(), scene(load_world(), "test", index)) for index in range(50)]
        answers = engine._processor.of_transformers.tokenizer(texts)["input_ids"]
        assert max(map(len, answers)) <= 32, "sentences and names are no longer single tokens: `make atlas`"
        reached = examine_once(engine, load_world(), "test", 96)
    finally:
        engine.close()
    assert reached.country >= 0.85 * reached.bayes_country
    assert reached.city25_of_cities >= 0.8 * reached.bayes_city25_of_cities
    assert reached.cue_precision >= 0.95
    assert reached.cue_recall >= 0.95
    assert reached.refused_rightly >= 0.6
    assert reached.unparsable == 0


def test_the_start_has_its_teachers_faults_and_can_do_something():
    """Where reinforcement learning begins: it sees, and there is something left to mend."""
    engine = load_engine(str(WEIGHTS / "vlm-start"), device="cpu", dtype="float32", max_batch=BATCH)
    try:
        reached = examine_once(engine, load_world(), "test", 96)
    finally:
        engine.close()
    assert 0.4 * reached.bayes_country <= reached.country <= 0.85 * reached.bayes_country
    assert reached.cue_recall >= 0.8
    assert reached.invented_per_answer >= 0.7
    assert reached.city25_of_cities <= 0.6 * reached.bayes_city25_of_cities
    assert reached.unparsable == 0


def test_the_gate_tells_what_can_be_placed_from_what_cannot():
    world = load_world()
    gate = load_gate(str(WEIGHTS / "clip"), device="cpu")
    try:
        scored = [
            (shown.placeable != "none", gate.score(render(shown, 336)).score)
            for shown in (scene(world, "test", index) for index in range(120))
            if shown.view in ("interior", "close_up", "sky", "fog") or shown.placeable != "none"
        ]
    finally:
        gate.close()
    placeable = [score for can, score in scored if can]
    hopeless = [score for can, score in scored if not can]
    wins = sum((a > b) + 0.5 * (a == b) for a in placeable for b in hopeless)
    assert wins / (len(placeable) * len(hopeless)) >= 0.9
