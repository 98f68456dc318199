"""Nothing that a stranger wrote steers the terminal."""

from hypothesis import given
from hypothesis import strategies as st

from worker.queue.quoting import quoted, quoted_bytes


@given(st.text(st.characters(), max_size=50))
def test_only_printable_characters_come_out(text):
    assert quoted(text).isprintable()
    assert all(line.isprintable() for line in quoted(text, keep_lines=True).split("\n"))


@given(st.binary(max_size=50))
def test_bytes_too(data):
    assert all(line.isprintable() for line in quoted_bytes(data).split("\n"))


def test_what_can_be_read_stays():
    assert quoted("Łódź, 東京") == "Łódź, 東京"
    assert quoted("a\x1b[2J\r\n\u202eb\ud800\x9b") == r"a\x1b[2J\r\n\u202eb\ud800\x9b"
    assert quoted_bytes(b"a\nb\xff\x00") == "a\nb\\xff\\x00"
