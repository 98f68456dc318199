"""The JSON Schemas of events in the documentation are those of the models."""

import json

import pytest
from jsonschema import Draft202012Validator

from schema.events import DATA, PUBLISHED, schema_text
from tests.support import ROOT

FOLDER = ROOT / "docs/messages/events"
EVENTS_PAGE = (ROOT / "docs/events.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("type_", DATA)
def test_each_schema_is_current(type_):
    text = (FOLDER / f"{type_}.json").read_text(encoding="utf-8")
    assert text == schema_text(type_), "run: python -m schema.events docs/messages/events"
    Draft202012Validator.check_schema(json.loads(text))


def test_there_are_no_others():
    assert {path.name for path in FOLDER.iterdir()} == {f"{type_}.json" for type_ in DATA}
    assert set(PUBLISHED) < set(DATA)


@pytest.mark.parametrize("type_", DATA)
def test_each_event_and_each_of_its_fields_is_described(type_):
    assert f"`{type_}`" in EVENTS_PAGE
    for field in DATA[type_].model_fields:
        assert f"`{field}`" in EVENTS_PAGE, field


def test_receivers_may_meet_fields_of_tomorrow():
    for type_ in DATA:
        assert "additionalProperties" not in json.dumps(json.loads(schema_text(type_))["properties"]["data"])
