"""Hostile input against the real parts: `python -m benchmarks.hostile`.

- urls: addresses that must lead nowhere, against the real Fetcher, name server and sockets.
- paths: files, links, devices and buckets outside of what is allowed, also swapped while they are read.
- messages: mutated messages through a real broker (`benchmarks/hostile/messages.py`).

Figures of the design: `urls, wrong_connections, escapes, messages, lost_messages, crashes`; all but the first and
`messages` must be 0, and the exit code is 1 where one is not.
"""

import importlib.util
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from benchmarks import harness
from benchmarks.hostile import paths, urls

_MESSAGES = "benchmarks.hostile.messages"
_UNITS = {
    "urls": "URLs",
    "wrong_connections": "connections",
    "paths": "paths",
    "keys": "S3 addresses",
    "race_reads": "reads",
    "escapes": "bytes",
    "messages": "messages",
    "lost_messages": "messages",
    "crashes": "exceptions",
}


def main() -> int:
    """Prints faults one by one, then the result line. Returns the exit code."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--messages", type=int, help="how many; by default 10,000, with --quick 1,000")
    parser.add_argument("--seed", type=int, default=6, help="of the mutations")
    options = parser.parse_args()
    url_figures, faults = urls.measure()
    path_figures, more = paths.measure(race_s=3.0 if options.quick else 20.0)
    for fault in [*faults, *more]:
        print(f"FAULT {fault}")
    count = options.messages or (1000 if options.quick else 10_000)
    message_figures = _messages(count=count, seed=options.seed)
    figures: dict[str, float | None] = {**url_figures, **path_figures, **message_figures}
    url_crashes, path_crashes = figures.pop("url_crashes"), figures.pop("path_crashes")
    figures["crashes"] = (url_crashes or 0) + (path_crashes or 0) + (message_figures["crashes"] or 0)
    harness.report("hostile", {name: figures.get(name) for name in _UNITS}, _UNITS)
    wrong = ("wrong_connections", "escapes", "lost_messages", "crashes")
    return int(bool(faults or more) or any(figures[name] for name in wrong))


def _messages(*, count: int, seed: int) -> Mapping[str, float | None]:
    if importlib.util.find_spec(_MESSAGES) is None:
        print("messages: LEFT OUT, for there is no benchmarks/hostile/messages.py; these figures are null")
        return {"messages": None, "lost_messages": None, "crashes": None}
    module: Any = import_module(_MESSAGES)
    found: Mapping[str, float] = module.measure(count=count, seed=seed)
    return {name: found[name] for name in ("messages", "lost_messages", "crashes")}


if __name__ == "__main__":
    sys.exit(main())
