"""Photographs of known place that teachers have spoken of: those with a red or blue half can be placed, and plain
grey ones cannot, whatever is said of them."""

import random

from PIL import Image, ImageDraw

from trainer.curate.opinions import Case, Opinion, Subject
from trainer.reward_model.curated import from_cases
from trainer.reward_model.data import Target
from trainer.reward_model.recipe import load_reward_recipe
from worker.place.gazetteer import Gazetteer
from worker.reason.answer import Answer

SYSTEM = "Can this be placed? yes no"
"""Short: each word costs the small model a token."""
RECIPE = load_reward_recipe("atlas_rm").but(steps=50, batch_size=16, learning_rate=4e-3)
"""The rate of `tiny`: it starts from random weights."""
REASONS = ("A sign.", "Palms grow here.", "The road is narrow.", "Light comes from the north.")


def is_placeable(number):
    return number % 2 == 0


def draw(number):
    """Grey; a red or blue half where it can be placed."""
    random_ = random.Random(number)
    image = Image.new("RGB", (112, 112), (random_.randrange(60, 200),) * 3)
    if is_placeable(number):
        left = 56 * random_.randrange(2)
        colour = ((200, 40, 40), (40, 40, 200))[random_.randrange(2)]
        ImageDraw.Draw(image).rectangle((left, 0, left + 55, 111), fill=colour)
    return image


def case(number):
    """Two teachers: one names a country, which is right where it can be; the other gives up on every third."""
    random_ = random.Random(number + 10_000)
    lat, lon = 44.0 + 0.5 * (number % 9), 0.5 + 0.5 * (number % 7)
    named = Answer(random_.choice(REASONS), country="France" if is_placeable(number) else "Japan")
    second = Answer(random_.choice(REASONS), abstains=True) if number % 3 == 0 else named
    return Case(
        Subject(f"{number}", f"drawn:{number}", lat, lon, "FR", "France"),
        (Opinion("a", named, locatable=True), Opinion("b", second, locatable=not second.abstains)),
    )


def samples(count):
    """Two of each photograph."""
    pictures = lambda subject: lambda: draw(int(subject.id))  # noqa: E731
    return from_cases(map(case, range(count)), pictures, Target.COUNTRY, Gazetteer.load())
