"""GeoReasoner's locatability score (arXiv 2406.18572): the sum over classes of area share times class weight.

The areas are a segmentation model's. The weights come from texts alone: how often do the clues by which players of
a game know a place speak of a class? Nobody fitted them to where anything succeeds in locating a photograph, and
no CLIP is in the score. With the published weights it is nearly the share of road in the picture (r = 0.98 over a
sample of street views): see docs/curation.md before going by it.

How the published weights were reduced to one number for each class is not known. `derive` is our recipe, which
anybody can run again; the published ones may be loaded from a file of one's own (`read_weights`).

Axes: M sentences of clues, K classes, D embedding dimensions.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.curate.clues import read_clues
from trainer.curate.see.classes import class_name
from worker.errors import SetupError
from worker.reason.answer import split_cues

DEFAULT_THRESHOLD = 0.4
"""GeoReasoner's, found by trial on street views of Google: 0.7 left too few, 0.1 added noise."""
RECIPE = "centred-mean/1"
"""Names the reduction rule of `derive`; a file of weights says which one made it."""
TOP_CLASSES = 3

Floats = NDArray[np.float64]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""`trainer.curate.see.embed.Embedder.embed`: L2-normalised vectors."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each class, 0..1. `made` says where they come from: recipe, encoder, clue file."""

    by_class: Mapping[str, float]
    made: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.by_class:
            raise SetupError("weights of no class at all: nothing could be scored")
        for name, weight in self.by_class.items():
            if not (math.isfinite(weight) and 0.0 <= weight <= 1.0):
                raise SetupError(f"the weight of {name} is {weight}, and weights are 0..1; scale them first")

    @property
    def largest_score(self) -> float:
        """What no picture exceeds: a weighted mean is at most its largest weight."""
        return max(self.by_class.values())

    def able(self, threshold: float) -> list[str]:
        """The classes without any of which no picture reaches the threshold, the heaviest first."""
        heavy = [name for name, weight in self.by_class.items() if weight >= threshold]
        return sorted(heavy, key=lambda name: (-self.by_class[name], name))


@dataclass(frozen=True, slots=True)
class Score:
    """`value` 0..1; `top` are the classes that give most of it: (name, area share, contribution)."""

    value: float
    top: tuple[tuple[str, float, float], ...]


def score(areas: Mapping[str, float], weights: Weights) -> Score:
    """The score of one picture. `areas`: share of the picture by class; classes without a weight give nothing."""
    parts = [(name, share, share * weights.by_class.get(name, 0.0)) for name, share in areas.items()]
    parts.sort(key=lambda part: (-part[2], -part[1], part[0]))
    value = math.fsum(part[2] for part in parts)
    return Score(value, tuple(part for part in parts[:TOP_CLASSES] if part[1] > 0))


# ------------------------------------------------------------ where weights come from


def sentences_of(clue_file: Path) -> tuple[list[str], int]:
    """The sentences of all clues, each once and in the order of letters, and how many rows could not be used.

    Reads what `trainer.curate.clues` reads; no picture needs to be there. Raises `SetupError` for no sentence.
    """
    read = read_clues(clue_file, texts_only=True)
    sentences = sorted({sentence for clue in read.clues for sentence in split_cues(clue.reasons)})
    if not sentences:
        raise SetupError(f"{clue_file}: no row has a clue that could be read")
    return sentences, len(read.unusable)


def reduce_similarity(similarity_M_K: Floats) -> Floats:
    """From the cosine of each sentence with each class name to one weight for each class, shape (K,).

    Each sentence's cosines are centred on their mean, for some sentences are near to every short text. What is
    above it counts, averaged over the sentences: a class weighs the more, the more clues speak of it, and the more
    plainly. Then min-max scaling, so that the weights run from 0 to 1 as the published ones do.
    """
    above_M_K = np.maximum(similarity_M_K - similarity_M_K.mean(axis=1, keepdims=True), 0.0)
    return min_max(above_M_K.mean(axis=0))


def min_max(values_K: Floats) -> Floats:
    """Scaled so that the least is 0 and the largest 1. Raises `SetupError` where all are alike."""
    low, high = float(values_K.min()), float(values_K.max())
    if not (math.isfinite(low) and math.isfinite(high)) or high - low < 1e-12:
        raise SetupError("all classes came to the same weight: the encoder tells the clues from nothing")
    scaled_K: Floats = (values_K - low) / (high - low)
    return scaled_K


def derive(sentences: Sequence[str], classes: Iterable[str], embed: Embed, made: Mapping[str, Any]) -> Weights:
    """Weights for these classes. The same sentences, classes and encoder give the same weights.

    `made`: what else the weights are to say of themselves, such as the encoder and the clue file.
    """
    names = sorted({class_name(name) for name in classes})
    similarity_M_K = embed(list(sentences)).astype(np.float64) @ embed(names).astype(np.float64).T
    weights_K = np.round(reduce_similarity(similarity_M_K), 6)
    about = {"recipe": RECIPE, "sentences": len(sentences), **made}
    return Weights(dict(zip(names, weights_K.tolist(), strict=True)), about)


# ------------------------------------------------------------ files


def write_weights(path: Path, weights: Weights) -> None:
    """As JSON: {"made": {…}, "weights": {class: weight}}."""
    said = {"made": dict(weights.made), "weights": dict(sorted(weights.by_class.items()))}
    path.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_weights(path: Path) -> Weights:
    """From JSON (as `write_weights` writes it, or a plain object of class and weight) or CSV (`class,weight`).

    Class names are compared in small letters; of "a;b" the first counts. Raises `SetupError` for anything else,
    and for a class that comes twice.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    made: Mapping[str, Any] = {}
    if path.suffix.lower() == ".csv":
        rows = _csv_rows(path, text)
    else:
        rows, made = _json_rows(path, text)
    by_class: dict[str, float] = {}
    for name, given in rows:
        key = class_name(name)
        if key in by_class:
            raise SetupError(f"{path}: the class {key} comes twice")
        try:
            if isinstance(given, bool):
                raise TypeError
            by_class[key] = float(given)
        except (TypeError, ValueError) as error:
            raise SetupError(f"{path}: the weight of {key} is {given!r:.40}, not a number") from error
    try:
        digest = hashlib.sha256(data).hexdigest()[:16]
        return Weights(by_class, {**made, "file": path.name, "file_sha256": digest})
    except SetupError as error:
        raise SetupError(f"{path}: {error}") from error


def _csv_rows(path: Path, text: str) -> list[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        header = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        if not {"class", "weight"} <= set(header):
            raise SetupError(f"{path}: the header must have the columns class and weight")
        reader.fieldnames = header
        return [(row["class"] or "", row["weight"]) for row in reader]
    except csv.Error as error:
        raise SetupError(f"{path}: line {reader.line_num} is not CSV ({error})") from error


def _json_rows(path: Path, text: str) -> tuple[list[tuple[str, Any]], Mapping[str, Any]]:
    try:
        given = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{path}: not JSON ({error})") from error
    if not isinstance(given, _Pairs):
        raise SetupError(f"{path}: expected an object of class names and weights")
    found = dict(given)
    if isinstance(found.get("weights"), _Pairs):
        made = found.get("made")
        return list(found["weights"]), dict(made) if isinstance(made, _Pairs) else {}
    return list(given), {}


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with the keys that come twice."""
