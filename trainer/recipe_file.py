"""Reads a recipe's YAML and says what is wrong with it: shared by all kinds of recipes."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from worker.errors import SetupError

RECIPES = Path(__file__).parent / "recipes"
"""A folder for each kind of training."""

T = TypeVar("T", bound=BaseModel)


def read(name: str, folder: Path) -> tuple[dict[str, Any], Path]:
    """Keys and values of the recipe of this name in `folder`, or of this YAML file; and the file.

    Raises `SetupError` with one line that names the file.
    """
    known = names(folder)
    path = folder / f"{name}.yaml" if name in known else Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            f"recipe {name}: no such file that can be read; name one, or one of {', '.join(known)}"
        ) from error
    try:
        content = parsed(text)
    except yaml.YAMLError as error:
        raise SetupError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise SetupError(f"{path}: must hold keys and values, as the recipes that come along do")
    return content, path


def parsed(text: str) -> Any:
    """What this YAML says. Raises `yaml.YAMLError`, also where a key stands twice."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)


def names(folder: Path) -> list[str]:
    """Names of the recipes in this folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def checked(kind: type[T], content: dict[str, Any], where: str) -> T:
    """The recipe of this content. Raises `SetupError` with all faults at once, keys with dots between levels."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_fault(one["loc"], one["type"], one["msg"]) for one in error.errors())
        raise SetupError(f"{where}: {faults}") from error


def _fault(location: tuple[int | str, ...], kind: str, message: str) -> str:
    key = ".".join(map(str, location))
    match kind:
        case "extra_forbidden":
            return f"unknown key {key}"
        case "missing":
            return f"key {key} is missing"
        case _:
            said = message.removeprefix("Value error, ")
            return f"{key}: {said}" if key else said


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a key that stands twice, where YAML libraries silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key} stands twice", key_node.start_mark)
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping
