"""What all benchmarks share: their command line, and the one line of JSON that they end with."""

import argparse
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows `--quick`; a benchmark may add options of its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter: seconds, or minutes where it trains")
    return parser


def report(name: str, figures: Mapping[str, float | None], units: Mapping[str, str]) -> None:
    """Prints the result line. Every figure needs a unit ("1" for a ratio); None means not measured here.

    Raises `ValueError` where figures and units do not name the same things.
    """
    if figures.keys() != units.keys():
        raise ValueError(f"figures and units differ: {sorted(figures.keys() ^ units.keys())}")
    rounded = {key: None if value is None else float(f"{value:.6g}") for key, value in figures.items()}
    line = {"name": name, "figures": rounded, "units": dict(units), "machine": machine()}
    print(json.dumps(line), flush=True)


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
