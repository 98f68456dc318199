"""The standard benchmarks, read from folders as they are distributed, with the number of images each must have.

| benchmark | images | truth file as distributed |
|---|---|---|
| IM2GPS3k (Vo et al., ICCV 2017) | 2,997 | `im2gps3k_places365.csv`: IMG_ID, AUTHOR, LAT, LON, … |
| YFCC4k (same) | 4,536 | `yfcc4k.txt`: rows of YFCC100M, tab-separated, without a header; longitude first |
| GWS15k (Clark et al., CVPR 2023) | 15,000 | coordinates only (`gws15k.csv`); its pictures may not be passed on |
| MP16-Reason-Test (GLOBE, arXiv 2506.14674) | 12,000 | `mp16-reason-test-12k.csv`: IMG_ID, LAT, LON, city … |
| OSV-5M test (arXiv 2404.18873) | 210,122 | `test.csv`: id, latitude, longitude, …, creator_id |

Others score Im2GPS3k over 2,452 or 2,912 images; figures over different denominators cannot be compared, so
another number is refused unless it is stated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.judge.checks import Unit, refuse_wrong_n
from trainer.judge.matching import stem
from trainer.judge.read import read_truth
from trainer.judge.records import Truth
from worker.errors import SetupError
from worker.intake.uri import shown
from worker.place.gazetteer import Gazetteer

_YFCC100M = (
    "line_number", "photo_id", "hash", "user_nsid", "user_nickname", "date_taken", "date_uploaded", "device",
    "title", "description", "user_tags", "machine_tags", "longitude", "latitude", "accuracy",
)  # fmt: skip
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_SHOWN_IDS = 3


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`truth_files` are tried in order, below the folder. `headerless` are tab-separated with YFCC100M's columns.

    `image_folders` are where the pictures lie; the folder itself where none of them is there.
    """

    name: str
    title: str
    n: int
    truth_files: tuple[str, ...]
    image_folders: tuple[str, ...]
    headerless: frozenset[str] = frozenset()


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "im2gps3k",
            "IM2GPS3k",
            2_997,
            ("im2gps3k_places365.csv", "meta/im2gps3k_places365.csv", "img2gps3k_gt.csv", "im2gps3k.csv"),
            ("im2gps3ktest", "images", "im2gps3k"),
        ),
        Benchmark(
            "yfcc4k",
            "YFCC4k",
            4_536,
            ("yfcc4k.txt", "yfcc4k_places365.csv", "yfcc4k.csv", "yfcc4k/yfcc4k.txt"),
            ("yfcc4k", "images"),
            frozenset({"yfcc4k.txt"}),
        ),
        Benchmark("gws15k", "GWS15k", 15_000, ("gws15k.csv", "gws.csv"), ("images", "gws15k")),
        Benchmark(
            "mp16-reason-test",
            "MP16-Reason-Test",
            12_000,
            ("mp16-reason-test-12k.csv", "mp16-reason-test.csv", "data/mp16-reason-test-12k.csv"),
            ("eval_images", "data/eval_images", "images"),
        ),
        Benchmark("osv5m", "OSV-5M test", 210_122, ("test.csv",), ("images/test", "images", "test")),
    )
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A benchmark's truths with their pictures; `notes` say what is not as it should be."""

    title: str
    truths: list[Truth]
    notes: tuple[str, ...]


def open_benchmark(
    name: str,
    folder: Path,
    gazetteer: Gazetteer,
    *,
    need_images: bool,
    allow_missing_images: bool = False,
    expect_n: int | None = None,
    unit: Unit = "degrees",
) -> Opened:
    """Reads truth and, where the pictures are needed, finds each of them.

    Raises `SetupError` where the truth file is not there, where the number of images is not the benchmark's (or
    `expect_n`), and for pictures that are missing unless these are allowed (then they are judged as failed).
    """
    benchmark = BENCHMARKS[name]
    path = _truth_file(benchmark, folder)
    columns = _YFCC100M if path.name in benchmark.headerless else None
    truths = read_truth(path, gazetteer, unit=unit, columns=columns)
    images = find_images(folder, benchmark.image_folders) if need_images else {}

    def strangers() -> str:
        known = {stem(truth.id) for truth in truths}
        unlisted = sorted(found for found in find_images(folder, benchmark.image_folders) if found not in known)
        return f"; without a row are the pictures {_some(unlisted)}" if unlisted else ""

    refuse_wrong_n(len(truths), expect_n or benchmark.n, f"{shown(str(path))} ({benchmark.title})", hint=strangers)
    notes = []
    if len(truths) != benchmark.n:
        notes.append(f"{len(truths):,} of the {benchmark.n:,} images of {benchmark.title}: a part, by --expect-n.")
    if need_images:
        truths, missing_notes = with_images(truths, images, folder, allow_missing=allow_missing_images)
        notes += missing_notes
    return Opened(benchmark.title, truths, tuple(notes))


def with_images(
    truths: Sequence[Truth], images: dict[str, Path], folder: Path, *, allow_missing: bool
) -> tuple[list[Truth], list[str]]:
    """The truths with the paths of their pictures. Raises `SetupError` for missing ones unless allowed."""
    found = [replace(truth, image=images.get(stem(truth.id))) for truth in truths]
    missing = [truth for truth in found if truth.image is None]
    if not missing:
        return found, []
    says = (
        f"{shown(str(folder))}: {len(missing):,} of {len(truths):,} pictures are missing, such as"
        f" {_some([truth.id for truth in missing])} ({missing[0].where})"
    )
    if not allow_missing or len(missing) == len(truths):
        raise SetupError(says + "; complete the folder, or count them as misses with --allow-missing-images")
    return found, [says + "; they count as misses."]


def find_images(folder: Path, names: Sequence[str] = ()) -> dict[str, Path]:
    """Pictures by their file name without suffix, sub-folders too. Raises `SetupError` for a bad folder."""
    roots = [folder / name for name in names if (folder / name).is_dir()] or [folder]
    found: dict[str, Path] = {}
    try:
        for path in sorted(roots[0].rglob("*")):
            if path.suffix.lower() in _SUFFIXES:
                found.setdefault(path.stem, path)
    except OSError as error:
        raise SetupError(f"{shown(str(roots[0]))} cannot be read: {error.strerror}") from error
    return found


def _truth_file(benchmark: Benchmark, folder: Path) -> Path:
    if not folder.is_dir():
        raise SetupError(f"{shown(str(folder))} is not a folder")
    for name in benchmark.truth_files:
        if (folder / name).is_file():
            return folder / name
    raise SetupError(
        f"{shown(str(folder))}: no truth file of {benchmark.title}, which is called"
        f" {' or '.join(benchmark.truth_files)}"
    )


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN_IDS:,} more" if len(ids) > _SHOWN_IDS else ""
    return ", ".join(shown(id_) for id_ in ids[:_SHOWN_IDS]) + more
