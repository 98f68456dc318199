"""The teachers' file: strict, and each fault named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.curate.distil.prompt import PROMPT_HASH
from trainer.curate.teachers import (
    GeoclipTeacher,
    LanguageTeacher,
    RecallTeacher,
    from_row,
    read_teachers,
)
from worker.errors import SetupError

GOOD = """
teachers:
  - {name: qwen-72b, kind: openai, url: "http://gpu:8000/v1/", model: Qwen/Qwen2.5-VL-72B-Instruct,
     key_variable: QWEN_KEY, concurrency: 8, requests_per_minute: 600, timeout_s: 120, price_in: 0.4,
     price_out: 1.2, max_tokens: 1024, temperature: 0.0}
  - {name: geoclip, kind: geoclip}
  - {name: archive, kind: recall}
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "teachers.yaml"
        path.write_text(text, encoding="utf-8")
        return read_teachers(path)

    return read


def test_the_example_is_read(read):
    qwen, geoclip, archive = read(GOOD)
    assert isinstance(qwen, LanguageTeacher)
    assert (qwen.url, qwen.requests_per_minute, qwen.sampling.max_tokens) == ("http://gpu:8000/v1", 600, 1024)
    assert geoclip == GeoclipTeacher(name="geoclip", kind="geoclip")
    assert archive == RecallTeacher(name="archive", kind="recall")


def test_what_is_stored_has_no_key_and_gives_the_teacher_back(read, monkeypatch):
    monkeypatch.setenv("QWEN_KEY", "sk-secret")
    for teacher in read(GOOD):
        assert "sk-secret" not in str(teacher.row())
        assert from_row(teacher.row()) == teacher
    assert read(GOOD)[0].row()["prompt_hash"] == PROMPT_HASH
    assert read(GOOD)[0].key() == "sk-secret"


LANGUAGE = '{name: a, kind: openai, url: "http://h/v1", model: m'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with `teachers:`"),
        ("- a", "must begin with `teachers:`"),
        ("teachers: []", "teachers: "),
        ("teachers: [", "not YAML"),
        ("teachers: [{name: a}]", r"teachers\.0"),
        ("teachers: [{name: a, kind: gpt}]", r"teachers\.0"),
        ("teachers: [{name: a, kind: openai, model: m}]", r"key teachers\.0\.openai\.url is missing"),
        (f"teachers: [{LANGUAGE}, tempreature: 1}}]", r"unknown key teachers\.0\.openai\.tempreature"),
        (f"teachers: [{LANGUAGE}, concurrency: 0}}]", r"teachers\.0\.openai\.concurrency"),
        (f"teachers: [{LANGUAGE}, requests_per_minute: .nan}}]", r"requests_per_minute"),
        (f"teachers: [{LANGUAGE}, price_in: -1}}]", r"price_in"),
        (f"teachers: [{LANGUAGE}, key_variable: sk-12}}]", r"key_variable"),
        (f"teachers: [{LANGUAGE}, name: b}}]", "key name stands twice"),
        (f"teachers: [{LANGUAGE}}}, {LANGUAGE}}}]", "two teachers are called a"),
        ('teachers: [{name: a, kind: openai, url: "http://u:p@h/v1", model: m}]', r"\.url: must hold no user"),
        ('teachers: [{name: a, kind: openai, url: "file:///etc", model: m}]', r"\.url: must look like http"),
        ("teachers: [{name: 'a b', kind: recall}]", r"teachers\.0\.recall\.name"),
        ("teachers: [{name: a, kind: recall, url: x}]", r"unknown key teachers\.0\.recall\.url"),
        ("teachers: [{name: a, kind: recall}]\nother: 1", "unknown key other"),
    ],
)
def test_each_fault_is_named_in_one_line(read, text, said):
    with pytest.raises(SetupError, match=said) as told:
        read(text)
    assert "\n" not in str(told.value)
    assert "u:p" not in str(told.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(SetupError, match="cannot be read"):
        read_teachers(tmp_path / "none.yaml")
    (tmp_path / "t.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SetupError, match="cannot be read as UTF-8"):
        read_teachers(tmp_path / "t.yaml")


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak"])
def test_a_key_that_is_none_names_its_variable_and_not_itself(read, key):
    teacher = read(GOOD)[0]
    with pytest.raises(SetupError, match="QWEN_KEY") as told:
        teacher.key({"QWEN_KEY": key})
    assert "words" not in str(told.value)


def nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), nested, max_leaves=8))
def test_any_yaml_is_read_or_refused(content):
    import tempfile
    from pathlib import Path

    import yaml

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.yaml"
        path.write_text(yaml.safe_dump({"teachers": content}), encoding="utf-8")
        with pytest.raises(SetupError):
            read_teachers(path)
