"""The JSON Schemas and examples that producers are given, against the code that reads their messages."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from schema.export_messages import FOLDER, MESSAGES, schema_of, written
from schema.messages import Hints, LocateRequest
from worker.ingress.parts import Message
from worker.ingress.reading import read

PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- (\S+) -->\n```json\n(.*?)```", PAGE, re.DOTALL)
CONTENT_TYPES = {"geotag.image.submitted.v1": "application/cloudevents+json"}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_files_are_those_of_the_models(name):
    """Mend it with `python -m schema.export_messages`."""
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == written(name)


def test_there_is_no_file_without_a_model():
    ours = {f"{name}.json" for name in MESSAGES}
    assert ours <= {path.name for path in FOLDER.glob("*.json")}
    assert len(ours) >= 4


@pytest.mark.parametrize("name", MESSAGES)
def test_they_are_valid_schemas(name):
    schema = schema_of(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_each_message_has_an_example():
    assert {name for name, _ in EXAMPLES} == set(MESSAGES)


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_examples_are_valid_and_ask_for_a_photograph(name, example):
    jsonschema.Draft202012Validator(schema_of(name)).validate(json.loads(example))
    reading = read(Message(example.encode(), content_type=CONTENT_TYPES.get(name)))
    assert reading.refusal is None
    assert len(reading.wanted) == 1


def test_a_wrong_message_is_wrong_by_the_schema_too():
    validator = jsonschema.Draft202012Validator(schema_of("geotag.locate.v1"))
    for wrong in ({}, {"uri": ""}, {"uri": "x", "colour": 1}, {"uri": "x", "priority": 2}):
        assert not validator.is_valid(wrong)


def test_every_field_is_explained():
    for field in [*LocateRequest.model_fields, *Hints.model_fields]:
        assert re.search(rf"^\| `(hints\.)?{field}` \|", PAGE, re.MULTILINE), field


def test_every_recipe_is_named():
    recipes = {path.name for path in Path(FOLDER, "producers").iterdir() if path.name.startswith("submit")}
    assert len(recipes) >= 5
    for recipe in recipes:
        assert f"producers/{recipe}" in PAGE
