"""Fixtures: the untrained tiny model, and a world of two countries that red and blue tell apart."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from atlas.model import build_vlm
from trainer.sft.examples import Example
from trainer.sft.recipe import Recipe, load_recipe
from worker.reason.answer import Answer, render
from worker.reason.engines import Prompt

ASK = Prompt("", "Where was this photograph taken?")
COUNTRIES = ("France", "Japan")


def draw(number: int) -> Image.Image:
    """A grey picture with one half red (even numbers) or blue (odd ones)."""
    random_ = random.Random(number)
    image = Image.new("RGB", (112, 112), (random_.randrange(60, 200),) * 3)
    left = 56 * random_.randrange(2)
    ImageDraw.Draw(image).rectangle((left, 0, left + 55, 111), fill=((200, 40, 40), (40, 40, 200))[number % 2])
    return image


def example(number: int, country: str | None = None, reasoning: str = "") -> Example:
    answer = Answer(reasoning, country or COUNTRIES[number % 2])
    return Example(str(number), lambda: draw(number), ASK, render(answer))


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_vlm(tmp_path_factory.mktemp("models") / "untrained")


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Small enough for a test of a few steps."""
    return load_recipe("tiny").but(steps=4, batch_size=8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Names of folders that do not exist yet."""
    return lambda name: tmp_path_factory.mktemp("made") / name
