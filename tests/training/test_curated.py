"""A curated data set goes into both kinds of training: SFT by the command, GRPO with the visual reward."""

import hashlib
import io

import pytest
import yaml
from click.testing import CliRunner

from tests.training.conftest import ASK, COUNTRIES, draw
from tests.training.test_grpo import small
from trainer.commands.train import command
from trainer.curate.opinions import CueSeen
from trainer.curate.output.read import questions
from trainer.curate.output.rows import Kept
from trainer.curate.output.write import write_dataset
from trainer.grpo.reinforce import reinforce
from worker.reason.answer import Answer, render

pytestmark = pytest.mark.models

CODES = {"France": "FR", "Japan": "JP"}


def kept(number, pictures):
    """Half the picture is red in France and blue in Japan."""
    buffer = io.BytesIO()
    draw(number).save(buffer, "PNG")
    pictures[f"mem://{number}"] = buffer.getvalue()
    country, seen = COUNTRIES[number % 2], ("a red half", "a blue half")[number % 2]
    return Kept(
        sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
        uri=f"mem://{number}",
        lat=48.0,
        lon=2.0,
        country_code=CODES[country],
        country=country,
        region=None,
        city=None,
        geoname_id=None,
        grouped_by=None,
        licence=None,
        label_id=None,
        teacher="one",
        model=None,
        prompt_hash=None,
        chosen=True,
        reasoning=f"There is {seen}.",
        answer=render(Answer(country=country)),
        cues=(CueSeen(seen, True),),
        entities=(seen,),
        agreeing=(),
        fates=(),
        measures={},
    )


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    folder, pictures = tmp_path_factory.mktemp("curated") / "set", {}
    write_dataset(folder, [kept(n, pictures) for n in range(16)], source="a test", fetch=pictures.__getitem__)
    return folder


def test_the_command_tunes_on_a_curated_data_set(curated, untrained, recipe, folder, tmp_path):
    own, output = tmp_path / "own.yaml", folder("commanded")
    own.write_text(yaml.safe_dump(recipe.but(steps=2, batch_size=4, reasons="required").model_dump(mode="json")))
    given = [
        "sft",
        "--recipe",
        own,
        "--model",
        untrained,
        "--data",
        curated,
        "--output",
        output,
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(command, list(map(str, given)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 steps on 16 rows" in done.output


def test_verified_things_are_what_the_visual_reward_judges_by(curated, untrained, folder):
    rewards = {"weights": {"globe_accuracy": 1.0, "visual": 0.5}, "visual": {"beta": 0.5}}
    asked = questions(curated, prompt=ASK)
    assert {tuple(each.columns["true_cues"]) for each in asked} == {("a red half",), ("a blue half",)}
    seen = []
    reinforce(
        untrained, asked, small(steps=2, rewards=rewards), folder("reinforced"), seed=0,
        on_step=lambda step, figures: seen.append(figures), device="cpu",
    )  # fmt: skip
    silent = [value for figures in seen for name, value in figures.items() if name.endswith("visual/cannot_judge")]
    assert silent and all(share == 0.0 for share in silent)
