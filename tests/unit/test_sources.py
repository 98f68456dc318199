"""Listing what to submit: folders, patterns, manifests, addresses."""

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import PHOTOS, require
from worker.errors import SetupError
from worker.intake.sources import Problem, Submission, iter_submissions
from worker.intake.uri import local_path

ROOT = Path(__file__).parents[2]


def tree(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def listed(*targets: str | Path, recursive: bool = True) -> tuple[list[Submission], list[Problem]]:
    found = list(iter_submissions([str(target) for target in targets], recursive=recursive))
    return (
        [item for item in found if isinstance(item, Submission)],
        [item for item in found if isinstance(item, Problem)],
    )


def names(folder: Path, submissions: Iterable[Submission]) -> list[str]:
    """Paths below `folder`, in order."""
    return [os.path.relpath(local_path(item.uri) or "", folder) for item in submissions]


# Folders, files, patterns


def test_a_folder_yields_photographs_in_a_fixed_order(tmp_path: Path) -> None:
    taken = ["B.JPG", "a b#?.jpg", "no_suffix", "z.tif", "10/b.heic", "10/x/c.jpg", "9/a.nef", "Ä/d.png"]
    left = [".hidden.jpg", "Thumbs.db", ".DS_Store", "B.JPG.xmp", "a.XMP", "notes.txt", "list.csv", "README.md"]
    left += ["index.html", "film.MOV", ".git/a.jpg", "@eaDir/a.jpg", "__MACOSX/a.jpg", "a.json", "10/.x/a.jpg"]
    tree(tmp_path, *taken, *left)
    found, problems = listed(tmp_path)
    assert names(tmp_path, found) == taken
    assert problems == []
    assert all(item.uri.isascii() and item.source_tag and item.source_tag[:2] == "1:" for item in found)
    assert names(tmp_path, listed(tmp_path, recursive=False)[0]) == taken[:4]


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff.jpg")
    Path(path).write_bytes(b"x")
    (found,), _ = listed(tmp_path)
    assert found.uri.isascii()
    assert local_path(found.uri) == path


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    tree(tmp_path, "in/a/1.jpg", "in/z/2.jpg", "out/3.jpg")
    (tmp_path / "in/a/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/b").symlink_to(tmp_path / "in/z")  # sorts before z, which keeps its own name still
    (tmp_path / "in/c").symlink_to(tmp_path / "out")
    (tmp_path / "in/d").symlink_to(tmp_path / "out")
    (tmp_path / "in/linked.jpg").symlink_to(tmp_path / "out/3.jpg")
    found, problems = listed(tmp_path / "in")
    assert names(tmp_path / "in", found) == ["linked.jpg", "a/1.jpg", "z/2.jpg", "c/3.jpg"]
    assert problems == []


def test_what_is_no_file_is_a_problem(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    found, problems = listed(tmp_path)
    assert names(tmp_path, found) == ["a.jpg"]
    assert [Path(problem.where).name for problem in problems] == ["broken.jpg", "fifo"]


def test_folders_that_cannot_be_listed_are_problems() -> None:
    script = (
        "import os, sys\n"
        "from worker.intake.sources import iter_submissions\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "for item in iter_submissions([sys.argv[1]]): print(type(item).__name__, item)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tree(Path(folder), "a/1.jpg", "closed/2.jpg", "z/3.jpg")
        (Path(folder) / "closed").chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True, cwd=ROOT
        )
    kinds = [line.split()[0] for line in done.stdout.splitlines()]
    assert kinds == ["Submission", "Problem", "Submission"]
    assert "Permission denied" in done.stdout


def test_a_deep_tree_is_no_recursion(tmp_path: Path) -> None:
    folders = [tmp_path]
    for _ in range(sys.getrecursionlimit() + 100):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    try:
        tree(folders[-1], "a.jpg")
        found, problems = listed(tmp_path)
        assert (len(found), problems) == (1, [])
        (folders[-1] / "a.jpg").unlink()
    finally:
        for folder in reversed(folders[1:]):  # pytest's own clean-up does recurse
            folder.rmdir()


def test_single_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.jpg", "a.xmp", ".b.jpg")
    monkeypatch.chdir(tmp_path)
    found, problems = listed("a.jpg", (tmp_path / "a.jpg").as_uri(), "a.xmp")
    assert names(tmp_path, found) == ["a.jpg", "a.jpg"]
    assert found[0] == found[1]
    assert [problem.where for problem in problems] == [str(tmp_path / "a.xmp")]


def test_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "2019/b.jpg", "2019/a.jpg", "2019/a.xmp", "2020/x/c.jpg", "other/d.jpg", "e[1].jpg")
    assert names(tmp_path, listed(tmp_path / "20*")[0]) == ["2019/a.jpg", "2019/b.jpg", "2020/x/c.jpg"]
    assert names(tmp_path, listed(tmp_path / "**/*.jpg")[0]) == sorted(
        ["2019/a.jpg", "2019/b.jpg", "2020/x/c.jpg", "e[1].jpg", "other/d.jpg"]
    )
    assert names(tmp_path, listed(tmp_path / "2019/*")[0]) == ["2019/a.jpg", "2019/b.jpg"]
    assert names(tmp_path, listed(tmp_path / "e[1].jpg")[0]) == ["e[1].jpg"]  # a name before a pattern


def test_web_addresses() -> None:
    found, _ = listed("https://example.org/a.jpg?signature=1")
    assert found == [Submission("https://example.org/a.jpg?signature=1")]


@pytest.mark.parametrize(
    "target",
    [
        "nothing.jpg",
        "nothing/*.jpg",
        "file:///nothing/a.jpg",
        "file://elsewhere/a.jpg",
        "ftp://example.org/a.jpg",
        "https://user:secret@example.org/a.jpg",
        "https:///a.jpg",
        "",
    ],
)
def test_targets_that_do_not_exist_stop_at_once(tmp_path: Path, target: str) -> None:
    tree(tmp_path, "a.jpg")
    with pytest.raises(SetupError) as caught:
        iter_submissions([str(tmp_path), target])
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.photos
@pytest.mark.parametrize(("folder", "count"), [("real", 59), ("hostile", 70), (".", 129)])
def test_real_folders(folder: str, count: int) -> None:
    require(PHOTOS.is_dir(), "the folder ../shared/photos is missing")
    found, problems = listed(PHOTOS / folder)
    assert (len(found), problems) == (count, [])


# Manifests


def manifest(folder: Path, content: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_of_any_kind(tmp_path: Path, delimiter: str, start: str, end: str) -> None:
    tree(tmp_path, "sub/a.jpg")
    rows = [
        ["File", "collection", "text", "region", "date", "verify", "keeper"],
        ["sub/a.jpg", "glass", '"A ""fine"" day, \n; \tGraz"', "AT", "1920", "yes", "x"],
        ["/elsewhere/b.jpg", "", "", "", "", "", ""],
        [],
        ["https://example.org/c.jpg?x=1", "", "", "", "ca. 1950", "0", ""],
        ["s3://bucket/d e.jpg", "", "", "", "", "false", ""],
    ]
    path = manifest(tmp_path, start + end.join(delimiter.join(row) for row in rows))
    found, problems = listed(path)
    assert problems == []
    assert found == [
        Submission(
            uri=(tmp_path / "sub/a.jpg").as_uri(),
            source_tag=f"1:{(tmp_path / 'sub/a.jpg').stat().st_mtime_ns}",
            hints={"text": 'A "fine" day, \n; \tGraz', "region": "AT", "date": "1920"},
            collection="glass",
            verify=True,
        ),
        Submission("file:///elsewhere/b.jpg"),
        Submission("https://example.org/c.jpg?x=1", hints={"date": "ca. 1950"}),
        Submission("s3://bucket/d e.jpg"),
    ]


def test_bad_csv_rows_are_named_and_left_out(tmp_path: Path) -> None:
    rows = [
        b"path,text,verify",
        b"1.jpg,,",
        b"2.jpg,too,many,fields",
        b"3.jpg",
        b",no photograph,",
        b"5.jpg,Z\xfcrich,",
        b"6.jpg,,perhaps",
        b"ftp://example.org/7.jpg,,",
        b"https://user:secret@example.org/8.jpg,,",
        b'9.jpg,"two',
        b'lines"x,',
        b"11.jpg,nul\0,",
        b"12.jpg,,",
        b'13.jpg,"never closed,',
        b"14.jpg,,",
    ]
    path = manifest(tmp_path, b"\n".join(rows))
    found, problems = listed(path)
    assert names(tmp_path, found) == ["1.jpg", "12.jpg"]
    assert [problem.where.partition(", ")[2] for problem in problems] == [
        "line 3",
        "line 4",
        "line 5",
        "line 6",
        "line 7",
        "line 8",
        "line 9",
        "lines 10 to 11",
        "line 12",
        "lines 14 to 15",
    ]
    assert "UTF-8" in problems[3].message
    assert not any("secret" in problem.message for problem in problems)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no column uri, path or file"),
        ("name,place\na,b\n", "'name,place'"),
        ("file,path\na,b\n", "file and path"),
        ("uri,date,date\n", "date more than once"),
        ('"uri\n', "no column"),
        ("uri\n".encode("utf-16"), "UTF-16"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "no column"),
    ],
)
def test_wrong_headers_stop_at_once(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(SetupError, match=words) as caught:
        iter_submissions([str(manifest(tmp_path, content))])
    assert "\n" not in str(caught.value)


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {"uri": "a.jpg", "hints": {"text": "Graz", "date": 1920}, "verify": True, "lat": 47.0, "collection": "x"},
        {"path": "b.jpg", "region": "AT"},
        {"file": "file:///archive/c%20d.jpg"},
    ]
    path = manifest(tmp_path, "\ufeff" + "\n\n".join(json.dumps(row) for row in rows), "list.jsonl")
    found, problems = listed(path)
    assert problems == []
    assert found == [
        Submission(
            (tmp_path / "a.jpg").as_uri(),
            hints={"text": "Graz", "date": "1920"},
            collection="x",
            verify=True,
        ),
        Submission((tmp_path / "b.jpg").as_uri(), hints={"region": "AT"}),
        Submission("file:///archive/c%20d.jpg"),
    ]


def test_bad_json_lines_are_named_and_left_out(tmp_path: Path) -> None:
    rows = [
        b'{"uri": "1.jpg"}',
        b'{"uri": "2.jpg"',
        b"[1]",
        b'{"uri": 4.jpg}',
        b'{"uri": ["5.jpg"]}',
        b'{"uri": "6.jpg", "path": "6.jpg"}',
        b'{"uri": "7.jpg", "text": "\\ud800"}',
        b'{"uri": "8.jpg", "text": "\\u0000"}',
        b'{"uri": "9.jpg", "text": "Z\xfcrich"}',
        b'{"uri": "10.jpg", "hints": "Graz"}',
        b'{"uri": "11.jpg", "verify": "maybe"}',
        b'{"uri": true}',
        b"[" * 100_000,
        b'{"uri": "14.jpg", "date": ' + b"9" * 10_000 + b"}",
        b'{"uri": "15.jpg"}',
    ]
    path = manifest(tmp_path, b"\n".join(rows), "list.ndjson")
    found, problems = listed(path)
    assert names(tmp_path, found) == ["1.jpg", "15.jpg"]
    assert [problem.where.partition(", ")[2] for problem in problems] == [f"line {n}" for n in range(2, 15)]


@given(st.binary(max_size=200))
def test_no_bytes_break_a_manifest(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = content.count(b"\n") + 1
        assert len(listed(manifest(Path(folder), content, "a.jsonl"))[0]) <= rows
        assert len(listed(manifest(Path(folder), b"uri,text\n" + content))[0]) <= rows + content.count(b"\r")


def test_a_long_manifest_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("uri,text\n")
        for n in range(20_000):
            file.write(f"https://example.org/{n}.jpg,{'words ' * 20}\n")
    tracemalloc.start()
    count = sum(1 for _ in iter_submissions([str(path)]))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert path.stat().st_size > 3_000_000
    assert peak_bytes < 1_000_000
