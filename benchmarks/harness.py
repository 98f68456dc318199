"""What all benchmarks share: their command line, and the one line of JSON that they end with.

A full run leaves its line in `benchmarks/results/<name>.json` too, with its time and its options, so that the
repository shows the last one; `--quick` leaves nothing there.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
"""The last full runs, one file each, and plots of them."""

_quick: bool | None = None
"""Of this process's command line; None: it has not been read."""


class _Parser(argparse.ArgumentParser):
    """Remembers whether the run is a quick one, so that `report` need not be told by each benchmark."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        global _quick  # noqa: PLW0603 (a process has one command line)
        given = super().parse_args(args, namespace)
        _quick = given.quick
        return given


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows `--quick`; a benchmark may add options of its own."""
    parser = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter: seconds, or minutes where it trains")
    return parser


def report(name: str, figures: Mapping[str, float | None], units: Mapping[str, str]) -> None:
    """Prints the result line, and keeps that of a full run; a run that measured nothing is not kept.

    Every figure needs a unit ("1" for a ratio); None means not measured here. Raises `ValueError` where figures
    and units do not name the same things.
    """
    line = result(name, figures, units)
    if _quick is False and any(value is not None for value in figures.values()):
        keep(line, RESULTS)
    print(json.dumps(line), flush=True)


def result(name: str, figures: Mapping[str, float | None], units: Mapping[str, str]) -> dict[str, Any]:
    """The result line, its figures rounded to six digits."""
    if figures.keys() != units.keys():
        raise ValueError(f"figures and units differ: {sorted(figures.keys() ^ units.keys())}")
    rounded = {key: None if value is None else float(f"{value:.6g}") for key, value in figures.items()}
    return {"name": name, "figures": rounded, "units": dict(units), "machine": machine()}


def keep(line: Mapping[str, Any], folder: Path) -> Path:
    """Writes a result line as `<name>.json`, with the time and this process's options; returns the file.

    Of paths and addresses, which may hold a password, there is only a sign.
    """
    folder.mkdir(exist_ok=True)
    file = folder / f"{line['name']}.json"
    options = ["…" if "/" in option else option for option in sys.argv[1:]]
    made = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "options": options}
    file.write_text(json.dumps({**line, **made}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def machine() -> dict[str, str | int]:
    """Where the figures were measured: CPU model, cores this process may use, Python, platform."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _cpu_model() -> str:
    """The model's name; Linux tells it in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
