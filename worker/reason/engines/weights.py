"""Which files of a checkpoint an engine needs, and the setting that names it."""

from collections.abc import Collection
from pathlib import PurePosixPath

VARIABLE = "GLOBETAG_MODEL"
_KEPT = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})


def wanted(names: Collection[str]) -> list[str]:
    """Of a repository's files those to download: weights as safetensors, the tokenizer, configurations."""
    return [
        name
        for name in names
        if PurePosixPath(name).suffix in _KEPT and "/" not in name and not name.startswith("consolidated")
    ]
