"""From the name of a model to a folder with its files, and what that folder is: card and fingerprint.

A hub id is turned into a folder once, here, before anything is loaded; loaders only ever see folders. So there is
one place that talks to the hub, one place that says what to do when it cannot be reached, and no loader that
retries file by file (the hub's client takes 23 s for each file without a network).
"""

import hashlib
import json
import logging
import re
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from worker.errors import SetupError

log = logging.getLogger(__name__)

CARD_NAME = "globetag.json"
"""Card that our own builders write beside the weights: {"untrained": bool, ...}."""

HUB_TIMEOUT_S = 10.0
"""For the one question asked of the hub before a download: connecting, and reading the answer."""

MODEL_SUFFIXES = frozenset({".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"})
"""Weights, configuration, tokenizer, processor, chat template: the files that can change an output."""

WHOLE_FILE_BYTES = 64 << 20
TENSOR_SAMPLE_BYTES = 64 << 10

_HUB_ID = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?")


def one_line(error: BaseException) -> str:
    """The error in one line, short enough for a message to a person; without a traceback."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`name` is what the operator chose, `revision` the hub's commit, None for a folder."""

    name: str
    folder: Path
    revision: str | None

    @property
    def card(self) -> dict[str, Any]:
        """What `globetag.json` says; empty where there is none. Raises `SetupError` if it cannot be read."""
        path = self.folder / CARD_NAME
        if not path.is_file():
            return {}
        try:
            card = json.loads(path.read_bytes())
        except ValueError as error:
            raise SetupError(f"{path} is not JSON ({error}); remove or repair it") from error
        if not isinstance(card, dict):
            raise SetupError(f"{path} is not a JSON object; remove or repair it")
        return card

    @property
    def untrained(self) -> bool:
        return self.card.get("untrained") is True

    @property
    def version(self) -> str:
        """`model_version.version` of these weights: the first 16 digits of the fingerprint."""
        return self.fingerprint()[:16]

    def fingerprint(self) -> str:
        """Hexadecimal digest of what the files say: the hub's commit, or a hash over the folder's files.

        See `fingerprint_files` for how much of a large folder is read.
        """
        if self.revision is not None:
            return hashlib.sha256(self.revision.encode()).hexdigest()
        return fingerprint_files(path for path in self.folder.iterdir() if path.suffix in MODEL_SUFFIXES)


def resolve(
    name: str,
    *,
    variable: str,
    chosen: str | None = None,
    wanted: Callable[[Collection[str]], Collection[str]] = lambda names: names,
) -> Checkpoint:
    """Finds the folder, or downloads the hub's repository into the hub's own cache.

    `variable` is the setting behind `name`, and `chosen` what stands in it where that is not `name` itself.
    `wanted` picks among the repository's file names. Without a network a cached download serves. Raises
    `SetupError`; without a network within `HUB_TIMEOUT_S` or so.
    """
    shown = f"{variable}={chosen or name}"
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return Checkpoint(chosen or name, folder, None)
    if not _HUB_ID.fullmatch(name):
        raise SetupError(f"{shown}: no such folder; set {variable} to a hub id or an existing folder")

    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        known = HfApi().model_info(name, timeout=HUB_TIMEOUT_S)
        names = {sibling.rfilename for sibling in known.siblings or ()}
        path = snapshot_download(name, revision=known.sha, allow_patterns=sorted(wanted(names)))
    except GatedRepoError as error:
        raise SetupError(
            f"{shown}: the hub asks for a licence agreement; accept it there and set HF_TOKEN"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise SetupError(f"{shown}: neither a folder here nor a model on the hub; correct {variable}") from error
    except (OSError, RuntimeError, httpx.HTTPError) as unreachable:
        log.debug("hub not reachable", exc_info=unreachable)
        cached = _cached(name)
        if cached is None:
            raise SetupError(
                f"{shown}: the hub could not be reached ({one_line(unreachable)}) and no download is cached;"
                f" connect to the hub, or set {variable} to a folder that holds the model"
            ) from unreachable
        log.warning("hub not reachable, using the cached download of %s at %s", name, cached)
        path = cached
    return Checkpoint(chosen or name, Path(path), Path(path).name)


def _cached(name: str) -> str | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return str(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def cannot_load(variable: str, name: str, error: Exception, hint: str) -> SetupError:
    """The `SetupError` for a checkpoint that was found and could not be loaded. `hint` says what to do."""
    return SetupError(f"{variable}={name}: the model could not be loaded ({one_line(error)}); {hint}")


def fingerprint_files(files: Iterator[Path]) -> str:
    """Hexadecimal digest over names, sizes and contents; the same for a copy elsewhere.

    Files up to 64 MiB are read whole. Of a larger safetensors file the header is read and 64 KiB from the middle
    of every tensor: a training step that leaves all of these untouched is not a training step, and 15 GB take a
    second instead of a minute. Other large files are read whole.
    """
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        size_bytes = path.stat().st_size
        digest.update(f"{path.name}\0{size_bytes}\0".encode())
        if path.suffix == ".safetensors" and size_bytes > WHOLE_FILE_BYTES:
            for block in _tensor_samples(path):
                digest.update(block)
        else:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _tensor_samples(path: Path) -> Iterator[bytes]:
    """The header, then a block of each tensor. Layout (safetensors format): u64 header length, JSON, data."""
    with path.open("rb") as stream:
        (header_bytes,) = struct.unpack("<Q", stream.read(8))
        header = stream.read(header_bytes)
        yield header
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        for name in sorted(tensors):
            start, end = tensors[name]["data_offsets"]
            middle = max(start, (start + end - TENSOR_SAMPLE_BYTES) // 2)
            stream.seek(8 + header_bytes + middle)
            yield stream.read(min(TENSOR_SAMPLE_BYTES, end - middle))
