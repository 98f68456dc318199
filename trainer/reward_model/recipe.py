"""The recipes of reward models: those of any fine-tuning, kept apart by what they are for."""

from trainer import recipe_file
from trainer.sft.recipe import Recipe

REWARD_RECIPES = recipe_file.RECIPES / "reward"


def load_reward_recipe(name: str) -> Recipe:
    """The recipe of this name that comes along, or the one in this YAML file.

    Raises `SetupError` with one line that names the file and the key at fault.
    """
    content, path = recipe_file.read(name, REWARD_RECIPES)
    return recipe_file.checked(Recipe, content, str(path))


def names() -> list[str]:
    """Names of the recipes that come along."""
    return recipe_file.names(REWARD_RECIPES)
