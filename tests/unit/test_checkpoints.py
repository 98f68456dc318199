import json
import shutil
import struct
from pathlib import Path

import pytest

from worker import checkpoints
from worker.checkpoints import Checkpoint, cannot_load, fingerprint_files, resolve
from worker.errors import SetupError

TENSOR_BYTES = 1000


def _safetensors(path: Path, tensors: dict[str, bytes]) -> Path:
    """Writes the format by hand: u64 header length, JSON header, data."""
    header, end = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [end, end + len(data)]}
        end += len(data)
    encoded = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(tensors.values()))
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    _safetensors(folder / "model.safetensors", {name: name.encode() * TENSOR_BYTES for name in "abc"})
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("whole_file_bytes", [64 << 20, 0])
def test_a_fingerprint_follows_the_contents_and_not_the_place(folder, tmp_path, monkeypatch, whole_file_bytes):
    monkeypatch.setattr(checkpoints, "WHOLE_FILE_BYTES", whole_file_bytes)
    first = Checkpoint("m", folder, None).fingerprint()
    copy = Checkpoint("other name", Path(shutil.copytree(folder, tmp_path / "copy")), None)
    assert copy.fingerprint() == first
    (copy.folder / "README.md").write_text("says nothing to the model")
    assert copy.fingerprint() == first
    (copy.folder / "config.json").write_text('{"a": 1}')
    assert copy.fingerprint() != first


@pytest.mark.parametrize("changed", "abc")
def test_a_sampled_fingerprint_sees_a_change_in_any_one_tensor(folder, monkeypatch, changed):
    """The first and the last tensor are often frozen in training: it must not rest on those."""
    monkeypatch.setattr(checkpoints, "WHOLE_FILE_BYTES", 0)
    monkeypatch.setattr(checkpoints, "TENSOR_SAMPLE_BYTES", 16)
    before = fingerprint_files(folder.iterdir())
    tensors = {name: (b"!" if name == changed else name.encode()) * TENSOR_BYTES for name in "abc"}
    _safetensors(folder / "model.safetensors", tensors)
    assert fingerprint_files(folder.iterdir()) != before


def test_a_hub_download_is_known_by_its_commit(folder):
    one, other = (Checkpoint("m", folder, revision).fingerprint() for revision in ("1" * 40, "2" * 40))
    assert one != other


def test_a_card_marks_a_model_untrained(folder):
    assert not Checkpoint("m", folder, None).untrained
    (folder / "globetag.json").write_text('{"untrained": true}')
    assert Checkpoint("m", folder, None).untrained


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_broken_card_is_refused(folder, text):
    (folder / "globetag.json").write_text(text, encoding="latin-1")
    with pytest.raises(SetupError, match=r"globetag\.json"):
        _ = Checkpoint("m", folder, None).card


def test_a_folder_is_taken_as_it_is(folder):
    assert resolve(str(folder), variable="X") == Checkpoint(str(folder), folder, None)


@pytest.mark.parametrize("name", ["/no/such/folder", "../x", "a/b/c", "", "https://example.org/model", "a b"])
def test_what_cannot_be_a_hub_id_never_reaches_the_hub(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_args, **_kw: pytest.fail("asked the hub"))
    with pytest.raises(SetupError, match="GLOBETAG_MODEL"):
        resolve(name, variable="GLOBETAG_MODEL")


def test_without_a_network_a_cached_download_serves(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SetupError, match="no download is cached") as refused:
        resolve("owner/name", variable="GLOBETAG_CLIP", chosen="MODEL:TAG")
    assert str(refused.value).startswith("GLOBETAG_CLIP=MODEL:TAG: ")

    commit = "c0ffee" * 6 + "abcd"
    repository = tmp_path / "cache" / "models--owner--name"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    found = resolve("owner/name", variable="GLOBETAG_CLIP", chosen="MODEL:TAG")
    assert found == Checkpoint("MODEL:TAG", repository / "snapshots" / commit, commit)


def test_a_failed_load_is_told_in_one_line():
    error = cannot_load("GLOBETAG_MODEL", "m", ValueError("first\nsecond " + "x" * 5000), "do this")
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    assert str(error).endswith("do this")
