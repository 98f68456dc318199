"""Recipes: those that come along hold the published figures, and a slip in one is named, not guessed around."""

import pytest
import yaml

from trainer.sft.recipe import SFT_RECIPES, load_recipe, names
from worker.errors import SetupError


def written(tmp_path, **changes):
    """A file like `tiny` with some keys changed; None takes one out."""
    content = yaml.safe_load((SFT_RECIPES / "tiny.yaml").read_text())
    for key, value in changes.items():
        if value is ...:
            content.pop(key)
        else:
            content[key] = value
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def refusal(name) -> str:
    with pytest.raises(SetupError) as refused:
        load_recipe(name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_those_that_come_along_are_read_and_called_by_their_name():
    assert {"georeasoner-reasoning", "georeasoner-location", "globe-sft", "tiny"} <= set(names())
    for name in names():
        assert load_recipe(name).name == name


def test_georeasoner_has_the_figures_of_its_script():
    recipe = load_recipe("georeasoner-reasoning")
    assert recipe.lora is not None
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout) == (64, 16, 0.05)
    assert recipe.batch_size * recipe.gradient_accumulation_steps == 80
    assert (recipe.epochs, recipe.learning_rate, recipe.warmup_ratio) == (5, 1e-5, 0.01)
    assert (recipe.weight_decay, recipe.adam_beta2, recipe.max_length) == (0.1, 0.95, 2048)
    assert recipe.freeze_vision
    assert (recipe.reasons, load_recipe("georeasoner-location").reasons) == ("required", "dropped")


def test_globe_has_the_figures_of_its_script():
    recipe = load_recipe("globe-sft")
    assert recipe.lora is None
    assert recipe.freeze_vision
    assert recipe.batch_size * recipe.gradient_accumulation_steps == 64
    assert (recipe.epochs, recipe.learning_rate, recipe.max_length, recipe.max_pixels) == (2, 1e-5, 2048, 1003520)


def test_every_figure_of_those_that_come_along_says_where_it_comes_from():
    for name in names():
        lines = (SFT_RECIPES / f"{name}.yaml").read_text().splitlines()
        assert sum("#" in line for line in lines) > len(lines) / 3, name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rat": 1}, "unknown key learning_rat"),
        ({"learning_rate": ...}, "key learning_rate is missing"),
        ({"learning_rate": "fast"}, "learning_rate: "),
        ({"learning_rate": -1}, "learning_rate: "),
        ({"learning_rate": float("nan")}, "learning_rate: "),
        ({"lora": {"rank": 4}}, "key lora.alpha is missing"),
        ({"schedule": "sine"}, "schedule: "),
        ({"epochs": 1}, "either epochs or steps"),
        ({"steps": None}, "either epochs or steps"),
    ],
)
def test_a_slip_is_named_with_its_file_and_key(tmp_path, changes, said):
    path = written(tmp_path, **changes)
    assert refusal(path).startswith(path)
    assert said in refusal(path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "tiny", "a: [", "a: !!python/object/apply:os.getcwd []\n"])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    assert refusal(str(path)).startswith(str(path))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    """GLOBE's own script gives max_length twice, and the last one silently counts."""
    path = tmp_path / "own.yaml"
    path.write_text((SFT_RECIPES / "tiny.yaml").read_text() + "\nmax_length: 8192\n")
    assert "max_length stands twice" in refusal(str(path))


def test_an_unknown_name_is_told_the_known_ones(tmp_path):
    assert "georeasoner-location" in refusal("georeasonner")
    assert "tiny" in refusal(str(tmp_path))


def test_exponents_without_a_point_are_numbers(tmp_path):
    """YAML 1.1 takes 1e-5 for a text."""
    path = tmp_path / "own.yaml"
    path.write_text((SFT_RECIPES / "tiny.yaml").read_text().replace("4.0e-3", "1e-5"))
    assert load_recipe(str(path)).learning_rate == 1e-5


def test_the_digest_is_of_the_figures_alone(tmp_path):
    tiny = load_recipe("tiny")
    assert load_recipe(written(tmp_path)).digest == tiny.digest
    assert tiny.but(steps=301).digest != tiny.digest
    assert tiny.but().digest == tiny.digest


def test_a_change_in_code_is_checked_like_a_file():
    with pytest.raises(SetupError, match="recipe tiny: unknown key step"):
        load_recipe("tiny").but(step=3)
