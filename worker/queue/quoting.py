"""Text of strangers on a terminal: nothing that moves the cursor, changes colours or turns letters around."""


def quoted(text: str, *, keep_lines: bool = False) -> str:
    """Returns `text` with everything unprintable written as an escape (`\\x1b`); lines stay apart if asked for."""
    return "".join(
        character if character.isprintable() or (keep_lines and character == "\n") else _escape(character)
        for character in text
    )


def quoted_bytes(data: bytes) -> str:
    """The same for bytes that may be text: what is no UTF-8 is written as `\\x` and two digits."""
    return quoted(data.decode("utf-8", "backslashreplace"), keep_lines=True)


def _escape(character: str) -> str:
    return (
        character.encode("ascii", "backslashreplace").decode() if ord(character) > 127 else repr(character)[1:-1]
    )
