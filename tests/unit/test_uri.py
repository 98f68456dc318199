"""Addresses that survive any file name, and messages that leak nothing."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.intake.uri import file_uri, local_path, scheme_of, shown

file_names = st.binary(min_size=1, max_size=40).filter(
    lambda name: not {b"/", b"\0"} & {bytes([b]) for b in name} and name not in {b".", b".."}
)


@given(file_names)
def test_any_file_name_round_trips_through_ascii(name: bytes) -> None:
    path = os.fsdecode(b"/archive/" + name)
    uri = file_uri(path)
    assert uri.isascii()
    assert local_path(uri) == path


@given(st.text(max_size=60), st.sampled_from(["", "file:", "file://", "file:///", "http://", "s3://", "/"]))
def test_strangers_text_never_breaks_reading_or_showing(text: str, start: str) -> None:
    path = local_path(start + text)
    if path is not None:
        assert path.startswith("/")
        os.fsencode(path)
    line = shown(start + text)
    assert len(line) <= 300
    line.encode()
    assert not {"\n", "\r", "\x1b", "\u202e", "\u2028"} & set(line)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/plain/a#b?c 100%.jpg", "/plain/a#b?c 100%.jpg"),
        ("file:///a/b#1?.jpg", "/a/b#1?.jpg"),
        ("file:///a/50%25%20off.jpg", "/a/50% off.jpg"),
        ("file:///a/%FF.jpg", "/a/\udcff.jpg"),
        ("FILE://localhost/a", "/a"),
        ("file:/a", "/a"),
        ("file://elsewhere/a", None),
        ("file:a", None),
        ("a/relative.jpg", None),
        ("/a%00b", "/a%00b"),
        ("/a\0b", None),
        ("file:///a%00b", None),
        ("/half\ud800pair", None),
        ("https://host/a", None),
    ],
)
def test_local_paths(uri: str, path: str | None) -> None:
    assert local_path(uri) == path


def test_dot_dot_follows_links_as_the_kernel_does(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/inner")
    assert file_uri(tmp_path / "link/../a.jpg") == f"{(tmp_path / 'real').as_uri()}/a.jpg"
    assert file_uri(tmp_path / "link/a.jpg") == f"{tmp_path.as_uri()}/link/a.jpg"


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("https://user:secret@host/a.jpg?X-Amz-Signature=secret#secret", "https://host/a.jpg"),
        ("https://user:secret@evil@host/", "https://host/"),
        ("http:user:secret@host/a", "http:host/a"),
        ("http://user:secret\\@host/a", "http://host/a"),
        ("ftp://user:secret@host/a", "ftp://host/a"),
        ("file://user:secret@host/a", "file://host/a"),
        ("file:///a%20b%0Ac.jpg", "/a b\N{REPLACEMENT CHARACTER}c.jpg"),
        ("s3://bucket/a?b#c@d", "s3://bucket/a?b#c@d"),
        ("photos/IMG_?.jpg", "photos/IMG_?.jpg"),
    ],
)
def test_shown_leaves_secrets_out(uri: str, line: str) -> None:
    assert shown(uri) == line


def test_schemes() -> None:
    assert scheme_of("HTTPS://host") == "https"
    assert scheme_of("/a:b") == ""
    assert scheme_of("2019:a.jpg") == ""
