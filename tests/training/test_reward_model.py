"""A reward model for real on the tiny model: it learns, it is calibrated, it is served over HTTP and rewards."""

import base64
import io
import json
from functools import partial

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from tests.chat_server import Server
from tests.training import reward_cases
from tests.training.reward_cases import RECIPE, SYSTEM, draw, is_placeable, samples
from trainer.commands.train import command
from trainer.grpo.recipe import load_grpo_recipe
from trainer.judge.ranking import Ranking
from trainer.reward_model import card as cards
from trainer.reward_model.data import Target, parted, with_outcomes
from trainer.reward_model.judge import TOP, Judge
from trainer.reward_model.make import ask, make
from trainer.reward_model.train import asked
from trainer.rewards.endpoint import as_sent
from trainer.rewards.locatable import SYSTEM as JUDGE_SYSTEM
from trainer.rewards.locatable import question
from worker.errors import SetupError
from worker.intake.picture import decode
from worker.reason.engines import Prompt
from worker.reason.engines.transformers import load_engine

pytestmark = pytest.mark.models

PHOTOGRAPHS = 240


@pytest.fixture(scope="session")
def sides():
    return parted(samples(PHOTOGRAPHS), held_out_share=0.25, seed=0)


@pytest.fixture(scope="session")
def made(untrained, sides, folder):
    told = []
    made = make(
        untrained, sides, RECIPE, folder("reward"), target=Target.COUNTRY, seed=0, system=SYSTEM,
        on_step=lambda step, loss: told.append(step), on_asked=lambda count, of: told.append((count, of)),
    )  # fmt: skip
    assert told[: RECIPE.steps] == list(range(1, RECIPE.steps + 1))
    graded = len(with_outcomes(sides.held_out))
    assert told[-1] == (graded, graded)
    return made


def auroc(folder, held_out):
    p = [0.5 if p is None else p for p in ask(folder, held_out, max_pixels=10**6, system=SYSTEM)]
    return Ranking(np.array(p), np.array([sample.locatable for sample in held_out])).auroc()


def answer(judge, body):
    """What vLLM would answer to a chat completion, by transformers in this process."""
    system, user = body["messages"]
    picture, text = user["content"]
    data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
    [tokens] = judge.first_tokens(
        [Prompt(system["content"], text["text"])], [Image.open(io.BytesIO(data)).convert("RGB")]
    )
    top = [{"token": token, "logprob": logprob} for token, logprob in tokens[: body["top_logprobs"]]]
    logprobs = {"content": [{**top[0], "top_logprobs": top}]}
    return 200, {"choices": [{"index": 0, "message": {"content": top[0]["token"]}, "logprobs": logprobs}]}


@pytest.fixture(scope="module")
def server(made):
    with Judge(made.folder) as judge, Server(partial(answer, judge)) as server:
        server.first = server.reply  # a judge is asked for one token, as the test server's own test is
        yield server


# --- learning ---


def test_it_learns_which_photographs_can_be_placed(untrained, made, sides):
    trained, before = (auroc(each, with_outcomes(sides.held_out)) for each in (made.folder, untrained))
    assert trained > 0.9
    assert trained > before + 0.2
    assert made.card.held_out["raw"]["auroc"] == pytest.approx(trained, abs=1e-6)


def test_the_folder_is_a_complete_checkpoint_with_its_calibration(untrained, made, sides):
    assert {path.name for path in made.folder.iterdir()} == {path.name for path in untrained.iterdir()}
    load_engine(str(made.folder), device="cpu").close()
    card = json.loads((made.folder / "globetag.json").read_text())
    assert (card["recipe"], card["rows"], card["untrained"]) == ("atlas_rm", len(sides.train), False)
    assert cards.read(made.folder) == made.card
    assert (made.card.system, made.card.target) == (SYSTEM, "country")
    held_out = made.card.held_out
    graded = with_outcomes(sides.held_out)
    assert held_out["samples"] == len(graded)
    assert sum(each["count"] for each in held_out["raw"]["reliability"]) == len(graded)


def test_p_yes_is_that_of_the_engine_that_serves(made, sides):
    """The served engine's own logits of the next token, against the judge's batch."""
    engine, judge = load_engine(str(made.folder), device="cpu"), Judge(made.folder)
    some = sides.held_out[:5]
    prompts = [asked(sample.reasoning, SYSTEM) for sample in some]
    images = [decode(as_sent(sample.image())).image for sample in some]
    together = judge.first_tokens(prompts, images)
    decoded = engine._processor.of_transformers.tokenizer.decode
    for prompt, image, tokens in zip(prompts, images, together, strict=True):
        logits = engine._model(**engine._prepare(prompt, image)).logits[0, -1]
        direct = logits.log_softmax(-1).detach()
        assert len(tokens) == TOP
        value, place = direct.max(0)
        assert tokens[0] == (decoded([int(place)]), pytest.approx(float(value), abs=1e-4))
    engine.close()


def test_an_interrupted_calibration_is_made_up_for(made, untrained, sides, folder):
    card = json.loads((made.folder / "globetag.json").read_text())
    calibrated = card.pop("reward_model")
    (made.folder / "globetag.json").write_text(json.dumps(card))
    weights = (made.folder / "model.safetensors").read_bytes()
    again = make(
        untrained, sides, RECIPE, made.folder, target=Target.COUNTRY, seed=0, system=SYSTEM,
        on_step=lambda *_: pytest.fail("it trains again"),
    )  # fmt: skip
    assert again.was_trained
    assert again.card == made.card
    assert json.loads((made.folder / "globetag.json").read_text())["reward_model"] == calibrated
    assert (made.folder / "model.safetensors").read_bytes() == weights
    with pytest.raises(SetupError, match="holds a calibrated reward model already"):
        make(untrained, sides, RECIPE, made.folder, target=Target.COUNTRY, seed=0, system=SYSTEM)


# --- serving ---


def reward(made, server):
    recipe = load_grpo_recipe("archive_lora").but(
        rewards={
            "weights": {"locatable": 1.0},
            "locatable": {
                "source": "judge", "overreach": 0.5, "slope": 1.0, "intercept": 0.0,
                "reward_model": str(made.folder),
            },
            "judge": {"url": server.url, "model": "rm", "timeout_s": 60.0, "attempts": 1, "concurrency": 4,
                      "api_key_variable": ""},
        }
    )  # fmt: skip
    return recipe.rewards.built(None, 512).rewards[0]


def asked_as_in_grpo(reward, completions, numbers):
    return reward(
        completions,
        id=[str(number) for number in numbers],
        picture=[draw(number) for number in numbers],
        completion_ids=[[1, 2, 3]] * len(completions),
    )


def test_served_over_http_it_is_the_locatability_reward(made, server):
    """What a GRPO run gets for answering and for abstaining, against the calibrated P(yes) of the weights."""
    numbers = range(5000, 5024)
    abstains = {number: number % 3 == 0 for number in numbers}
    completions = [
        f"<think>A sign.</think><answer>country: {'unknown' if abstains[number] else 'France'}</answer>"
        for number in numbers
    ]
    found = asked_as_in_grpo(reward(made, server), completions, numbers)
    with Judge(made.folder) as judge:
        images = [decode(as_sent(draw(number))).image for number in numbers]
        raw = judge.p_yes([asked("A sign.", SYSTEM)] * len(images), images)
    for number, score, p in zip(numbers, found, raw, strict=True):
        chance = made.card.calibration(p)
        assert score == pytest.approx(1 - chance if abstains[number] else chance, abs=1e-4)
    decided_well = [score for number, score in zip(numbers, found, strict=True)
                    if is_placeable(number) != abstains[number]]  # fmt: skip
    assert np.mean(decided_well) > 0.7
    body = server.asked[0]
    assert body["messages"][0]["content"] == SYSTEM
    assert body["messages"][1]["content"][1]["text"] == question("A sign.")
    assert (body["max_tokens"], body["logprobs"], body["temperature"]) == (1, True, 0.0)


def test_reasons_that_were_judged_once_are_not_asked_about_again(made, server):
    before = len(server.asked)
    said = "<think>B.</think><answer>country: France</answer>"
    scores = reward(made, server)([said] * 4, id=["1"] * 4, picture=[draw(1)] * 4, completion_ids=[[1]] * 4)
    assert len(set(scores)) == 1
    assert len(server.asked) == before + 1


# --- by the command ---


def written(tmp_path, count=4):
    """An archive's files: pictures, known places, and raw answers, of which some give up."""
    rows, said = ["id,lat,lon,country_code,country"], []
    for number in range(count):
        draw(number).save(tmp_path / f"{number}.jpg")
        one = reward_cases.case(number)
        rows.append(f"{number}.jpg,{one.subject.lat},{one.subject.lon},FR,France")
        answer = one.opinions[0].answer
        place = "unknown" if number % 10 == 1 else answer.country
        raw = f"<think>{answer.reasoning}</think><answer>country: {place}</answer>"
        said.append({"id": f"{number}.jpg", "prediction": raw})
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    return ["reward", "--truth", str(tmp_path / "truth.csv"), "--predictions", str(tmp_path / "said.jsonl")]


def test_the_command_trains_from_files(made, tmp_path):
    """From a model that has learnt it in other words, so that a few steps suffice."""
    content = RECIPE.model_dump(mode="json") | {"name": "own", "steps": 8, "learning_rate": 5e-4}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    given = [*written(tmp_path, 160), "--recipe", str(tmp_path / "own.yaml"), "--model", str(made.folder)]
    given += ["--held-out-share", "0.4"]
    dry = CliRunner().invoke(command, [*given, "--dry-run"], catch_exceptions=False)
    assert "160 samples of 160 photographs, 80 yes and 80 no; 144 by outcome; 16 by verdicts" in dry.output
    assert "nothing was trained (--dry-run)" in dry.output
    output = tmp_path / "made"
    ran = CliRunner().invoke(command, [*given, "--output", str(output)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert "AUROC" in ran.output
    assert f"rewards.locatable.reward_model: {output}" in ran.output
    card = cards.read(output)
    assert (card.target, card.words, card.system) == ("country", (" yes", " no"), JUDGE_SYSTEM)
    assert card.held_out["raw"]["auroc"] > 0.7
    assert card.held_out["by"]["verdicts"] == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["--from", "archive"], "give one source"),
        (["--collection", "c"], "--collection goes with"),
        (["--output", "x", "--dry-run"], "either --output or --dry-run"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, changes, told):
    given = [*written(tmp_path), "--recipe", "atlas_rm"]
    refused = CliRunner().invoke(command, [*given, *changes])
    assert refused.exit_code == 2
    assert told in refused.output
