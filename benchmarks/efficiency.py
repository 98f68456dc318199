"""How much of the engine's speed the whole worker keeps: its images/s over those of the bare engine, on real vLLM.

Ours: broker → claim → fetch → decode → gate → generation → place → rows committed → acknowledged, with all that a
worker does by default but further answers in doubt, so that both sides draw one answer for each image. Bare: the
same engine object with the worker's prompt and sampling, called by as many threads with pictures that are decoded
already. They take turns in one process with one loaded engine, each time with images that the engine has not seen,
and the median of the ratios is reported. The engine works on half as many photographs at once as there are
threads, so that in both its batch can be full: nothing else weighs so much in what an image costs it.

The engine (vLLM's own process) is pinned to one core, and everything else (worker or threads that feed it, gate,
Postgres, which is the broker too) to another. **That is a stand-in for a GPU**: as on a GPU, nothing but the model
runs where the model runs, and all else must hide behind it. `ratio_tiny` is with the small trained model of the
Atlas, `ratio_50ms` with one that costs at least 50 ms an image (`benchmarks.deepened`).

`engine_ms`, `feed_ms`: processor time for each image of the engine, and of all else, in our turns. They hardly
depend on what else runs on the machine, and say what is possible: the engine can be kept busy where `feed_ms` is
the smaller. `engine_busy` is the engine's processor time over the time of our turns.

Needs the package vllm, or vllm-cpu where there is no GPU, and two cores. `--quick` measures `ratio_tiny` alone.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from benchmarks.harness import arguments, report
from benchmarks.line import CLIP, DEEPER_LAYERS, TINY, drain, read_pictures, warm_names, write_scenes
from benchmarks.pinning import ENGINE_CORE, FEED_CORE, children, cores_of, cpu_s, feeders, separate
from worker import embedded
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.gate import Gate
from worker.reason.engines import Engine, Sampling
from worker.reason.prompt import build_prompt
from worker.settings import Settings

_DEADLINE_S = 300.0
_START_SCENE = 40_000_000
"""The first scene that is drawn here; nothing else uses those that follow."""


@dataclass(frozen=True, slots=True)
class Size:
    """Images in one turn, and pairs of turns."""

    images: int
    rounds: int


SIZES = {"tiny": Size(1000, 5), "50ms": Size(400, 5)}
QUICK = {"tiny": Size(200, 1)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, help="pairs of turns for each model  [default: 5, quick: 1]")
    parser.add_argument("--images", type=int, help="in one turn  [default: 1000 and 400, quick: 200]")
    parser.add_argument("--only", choices=tuple(SIZES), help="this model alone")
    parser.add_argument("--layers", type=int, default=DEEPER_LAYERS, help="of the dearer model")
    parser.add_argument("--threads", type=int, default=64, help="of the worker; the engine's batch is half of it")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.model:
        with tempfile.TemporaryDirectory() as folder:
            turns = take_turns(given.model, Path(folder), Size(given.images, given.rounds), given.threads)
        print(json.dumps(turns), flush=True)
        return
    figures: dict[str, float | None] = {}
    usual = QUICK if given.quick else SIZES
    for name in SIZES:
        figures |= dict.fromkeys(f"{figure}_{name}" for figure in FIGURES)
        if name not in usual or given.only not in (None, name):
            continue
        size = Size(given.images or usual[name].images, given.rounds or usual[name].rounds)
        try:
            figures |= measure(name, size, given)
        except SetupError as error:
            print(f"{name}: not measured: {error}", flush=True)
    report("efficiency", figures, {key: unit(key) for key in figures})


FIGURES = ("ratio", "bare", "ours", "engine_busy", "engine_ms", "feed_ms")


def unit(figure: str) -> str:
    if figure.startswith(("engine_ms", "feed_ms")):
        return "ms"
    return "1" if figure.startswith(("ratio", "engine_busy")) else "1/s"


def measure(name: str, size: Size, given: argparse.Namespace) -> dict[str, float | None]:
    """One model's figures, from a process of its own, as an engine wants the environment from its start on."""
    refuse_without_vllm()
    with tempfile.TemporaryDirectory() as folder:
        model = TINY
        if name != "tiny":
            from benchmarks.deepened import deepen

            model = deepen(TINY, Path(folder, "deeper"), layers=given.layers)
        command = [sys.executable, "-m", "benchmarks.efficiency", "--model", str(model)]
        command += ["--images", str(size.images), "--rounds", str(size.rounds), "--threads", str(given.threads)]
        turns = in_process(command, _DEADLINE_S * 2 * (size.rounds + 1))
    ratios = [own / other for own, other in zip(turns["ours"], turns["bare"], strict=True)]
    return {
        f"ratio_{name}": statistics.median(ratios),
        f"bare_{name}": statistics.median(turns["bare"]),
        f"ours_{name}": statistics.median(turns["ours"]),
        f"engine_busy_{name}": statistics.median(turns["busy"]),
        f"engine_ms_{name}": statistics.median(turns["engine_ms"]),
        f"feed_ms_{name}": statistics.median(turns["feed_ms"]),
    }


def in_process(command: list[str], timeout_s: float) -> dict[str, list[float]]:
    """What the measuring process prints last. Its rounds are told as they come, the libraries' chatter is not."""
    log: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **ENVIRONMENT}
    ) as process:
        watch = threading.Timer(timeout_s, process.kill)
        watch.start()
        for line in process.stdout or ():
            log.append(line)
            if line.startswith(("warm-up", "round")):
                print(line, end="", flush=True)
        watch.cancel()
    turns = next((line for line in reversed(log) if line.startswith("{")), None)
    if process.returncode != 0 or turns is None:
        sys.stderr.writelines(log[-30:])
        raise SetupError("the measuring process failed; its last lines stand above")
    found: dict[str, list[float]] = json.loads(turns)
    return found


ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": str(ENGINE_CORE),
}


def refuse_without_vllm() -> None:
    """Raises `SetupError` where there is no vLLM, or no two cores to tell apart."""
    if importlib.util.find_spec("vllm") is None:
        raise SetupError("vllm is not installed: `pip install 'globetag[vllm]'`, or vllm-cpu without a GPU")
    if not {FEED_CORE, ENGINE_CORE} <= os.sched_getaffinity(0):
        raise SetupError("it takes the first two cores of the machine, one of them for the engine alone")


def take_turns(model: Path, home: Path, size: Size, threads: int) -> dict[str, list[float]]:
    """Images/s of each turn, bare and ours, and the engine's processor time over the time of ours."""
    settings = Settings(
        home=home,
        model=str(model),
        clip=str(CLIP),
        engine="vllm",
        device="cpu",
        threads=threads,
        model_batch=threads // 2,
        most_answers=1,
    )
    from worker.gate.clip import load_gate
    from worker.reason.engines.choose import engine_loader

    turns: dict[str, list[float]] = {"bare": [], "ours": [], "busy": [], "engine_ms": [], "feed_ms": []}
    warm_names()
    with open_files(home, settings) as database:
        gate = load_gate(settings.clip, device="cpu")
        before = children()
        engine = engine_loader(settings)(settings.model)
        engine_pids = children() - before
        try:
            sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
            separate(engine_pids, feeders(home))
            for number in range(-1, size.rounds):  # the first pair warms up
                images = size.images if number >= 0 else max(2 * threads, size.images // 4)
                start = _START_SCENE + 2 * (number + 1) * size.images
                pictures = read_pictures(write_scenes(home / f"bare-{number}", start, images))
                files = write_scenes(home / f"ours-{number}", start + size.images, images)
                bare = images / feed(engine, pictures, sampling, threads)
                took_s, engine_s, feed_s = drained(settings, database, gate, engine, files, engine_pids)
                busy = engine_s / took_s
                check_separate(home, engine_pids)
                print(
                    f"{'warm-up' if number < 0 else f'round {number + 1}'}: bare {bare:.1f}/s, ours"
                    f" {images / took_s:.1f}/s, engine busy {busy:.0%}",
                    flush=True,
                )
                if number >= 0:
                    turns["bare"].append(bare)
                    turns["ours"].append(images / took_s)
                    turns["busy"].append(busy)
                    turns["engine_ms"].append(1000 * engine_s / images)
                    turns["feed_ms"].append(1000 * feed_s / images)
        finally:
            engine.close()
            gate.close()
    return turns


def drained(
    settings: Settings, database: Database, gate: Gate, engine: Engine, files: Path, engine_pids: set[int]
) -> tuple[float, float, float]:
    """Seconds that the worker took for the files, and processor time of the engine and of all else meanwhile."""
    spent: list[tuple[float, float]] = []

    def note() -> None:
        spent.append((cpu_s(engine_pids), cpu_s(feeders(settings.home))))

    took_s = drain(settings, database, gate, engine, files, timeout_s=_DEADLINE_S, on_start=note)
    note()
    (engine_before_s, feed_before_s), (engine_after_s, feed_after_s) = spent
    return took_s, engine_after_s - engine_before_s, feed_after_s - feed_before_s


def feed(engine: Engine, pictures: Sequence[Image], sampling: Sampling, threads: int) -> float:
    """Seconds in which the bare engine answers about all pictures, asked by so many threads at once."""
    prompt = build_prompt()
    with ThreadPoolExecutor(threads) as pool:
        began_s = time.perf_counter()
        answers = list(pool.map(lambda picture: engine.generate(prompt, picture, sampling), pictures))
        took_s = time.perf_counter() - began_s
    if len(answers) != len(pictures):
        raise AssertionError("an answer is missing")
    return took_s


@contextmanager
def open_files(home: Path, settings: Settings) -> Iterator[Database]:
    """An embedded Postgres in `home`, stopped at the end."""
    try:
        with open_database(settings) as database:
            yield database
    finally:
        embedded.stop(home)


def check_separate(home: Path, engine_pids: set[int]) -> None:
    """Raises where a process has left its core: the figures would mean nothing."""
    if (cores_of(engine_pids), cores_of(feeders(home))) != ({ENGINE_CORE}, {FEED_CORE}):
        raise AssertionError("the engine shared its core with others")


if __name__ == "__main__":
    main()
