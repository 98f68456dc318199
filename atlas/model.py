"""Builds the tiny untrained models: real checkpoint folders that cost no download and no GPU.

    python -m atlas.model FOLDER

They carry the whole pipeline end to end. What they say about a photograph is noise, and their card
(`globetag.json`) says so.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlas.tiny_clip import save_tiny_clip
from atlas.tiny_vlm import save_tiny_vlm

CARD_NAME = "globetag.json"
BUILDER = "atlas.model/4"
"""Name and version of the recipe: a folder that an older recipe built is built again."""


def build(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Makes sure that `folder` holds both untrained models; returns the folders of the VLM and of the CLIP.

    Returns at once when they are there. Safe to run twice at the same time.
    """
    return build_vlm(folder / "vlm-untrained", seed), build_clip(folder / "clip-untrained", seed)


def build_vlm(folder: Path, seed: int = 0) -> Path:
    """Makes sure that `folder` holds the untrained Qwen2.5-VL of this seed; returns `folder`."""
    return _ensure(folder, seed, save_tiny_vlm)


def build_clip(folder: Path, seed: int = 0) -> Path:
    """Makes sure that `folder` holds the untrained CLIP of this seed; returns `folder`."""
    return _ensure(folder, seed, save_tiny_clip)


def _ensure(folder: Path, seed: int, save: Callable[[Path, int], int]) -> Path:
    """Builds beside `folder` and renames, card last: a folder under this name is always complete.

    Replaces what an older recipe or another seed left there. Raises `FileExistsError` when `folder` holds
    anything else, such as a model that somebody trained.
    """
    if _is_built(folder, seed):
        return folder
    if folder.exists() and not _card(folder).get("untrained"):
        raise FileExistsError(f"{folder} holds something that this builder did not make; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        parameters = save(made, seed)
        card = {"untrained": True, "seed": seed, "parameters": parameters, "built_by": BUILDER}
        made.joinpath(CARD_NAME).write_text(json.dumps(card, indent=2) + "\n")
        try:
            if folder.exists() and not _is_built(folder, seed):
                folder.rename(Path(scratch, "outdated"))
            made.rename(folder)
        except OSError:
            # Another builder may have been faster; its models are as good as these.
            if not _is_built(folder, seed):
                raise
    return folder


def _is_built(folder: Path, seed: int) -> bool:
    card = _card(folder)
    return bool(card) and (card["built_by"], card["seed"]) == (BUILDER, seed)


def _card(folder: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(folder.joinpath(CARD_NAME).read_bytes())
    except FileNotFoundError:
        return {}
    return card


def main(arguments: list[str]) -> int:
    """Builds into the one folder given; prints where the models are."""
    if len(arguments) != 1:
        print("usage: python -m atlas.model FOLDER", file=sys.stderr)  # noqa: T201
        return 2
    for path in build(Path(arguments[0])):
        print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
