"""Tokens: what an entry says, who is let in, and that nothing tells the secret."""

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from worker.commands import settings as settings_command
from worker.errors import SetupError
from worker.http.tokens import caller_of, make_token, read_tokens
from worker.settings import load

SHA = hashlib.sha256(b"secret").hexdigest()
names = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)


def test_an_entry_names_a_caller_and_perhaps_collections():
    free, bound = read_tokens(f"shop:{SHA} reader:{SHA}:press,Zweite%20Halle%3A%20Glas")
    assert (free.name, free.caller.collections) == ("shop", None)
    assert bound.caller.collections == {"press", "Zweite Halle: Glas"}
    assert free.caller.may_use("anything")
    assert bound.caller.may_use("press")
    assert not bound.caller.may_use("default")


@pytest.mark.parametrize(
    "entry",
    [
        "shop",
        "shop:",
        f":{SHA}",
        f"shop:{SHA[1:]}",
        f"shop:{SHA.upper()}",
        f"a b:{SHA}x",
        f"shop:{SHA}:",
        f"s:{SHA}:a:b",
    ],
)
def test_what_is_no_entry_is_refused_without_being_repeated(entry):
    with pytest.raises(ValueError, match=r"entry \d") as caught:
        read_tokens(entry)
    assert SHA not in str(caught.value)


def test_a_secret_put_in_place_of_its_hash_is_not_told():
    with pytest.raises(SetupError) as caught:
        load({"GLOBETAG_HTTP_TOKENS": "shop:my-plain-secret"})
    assert "GLOBETAG_HTTP_TOKENS" in str(caught.value)
    assert "my-plain-secret" not in str(caught.value)


def test_settings_tell_who_not_what(monkeypatch):
    monkeypatch.setenv("GLOBETAG_HTTP_TOKENS", f"shop:{SHA}")
    told = io.StringIO()
    monkeypatch.setattr(settings_command, "Console", lambda: Console(file=told, width=300))
    settings_command.command.main([], standalone_mode=False)
    assert "shop" in told.getvalue()
    assert SHA not in told.getvalue()
    assert SHA not in repr(load()[0])


@given(names, st.lists(st.text(min_size=1).filter(str.strip), max_size=3, unique=True))
def test_a_made_token_lets_its_caller_in_and_nobody_else(name, collections):
    try:
        token, entry = make_token(name, tuple(collections))
    except UnicodeEncodeError:  # a lone surrogate is no name of a collection anyhow
        return
    other, _ = make_token("other")
    known = read_tokens(entry)
    caller = caller_of(token, known)
    assert caller is not None
    assert (caller.name, caller.collections) == (name, frozenset(collections) or None)
    assert caller_of(other, known) is None
    assert token not in entry


def test_two_tokens_of_a_name_are_one_caller():
    (old, first), (new, second) = make_token("shop"), make_token("shop")
    known = read_tokens(f"{first} {second}")
    assert caller_of(old, known) == caller_of(new, known)
    assert caller_of("", known) is None
