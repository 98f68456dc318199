"""Different photographs are in different stages at the same time: a worker at work, drawn.

A whole worker (broker → rows) on the small trained models of the Atlas works on drawn scenes. Its own telemetry
notes when each photograph is fetched, decoded, looked at by the gate, answered by the model and committed; the
plot shows them, one row for each photograph.

`engine_fed`: share of the time in which the engine had at least one photograph to answer; `hidden`: share of the
time spent in all other stages during which the engine worked on some other photograph (0 where photographs go
through one after another); `in_<stage>`: photographs in a stage on average, waiting included; `peak_mb` of
pictures in flight against `bound_mb` (`GLOBETAG_PICTURES_MB`). A full run leaves `timeline.svg` beside its result;
`--output FILE.html` writes the plot with all figures.
"""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import harness
from benchmarks.line import CLIP, TINY, drain, warm_names, write_scenes
from benchmarks.timeline.plot import page, svg, window
from benchmarks.timeline.spans import SHOWN, Noting, covered_s, mean_in, overlapped_share
from worker import embedded
from worker.database import open_database
from worker.settings import Settings

_START_SCENE = 42_000_000
_DEADLINE_S = 400.0
_DRAWN = 100


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--images", type=int, help="[default: 400, quick: 150]")
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--threads", type=int, default=Settings.model_fields["threads"].default)
    parser.add_argument("--pictures-mb", type=float, default=Settings.model_fields["pictures_mb"].default)
    parser.add_argument("--output", type=Path, help="the plot as an HTML file  [default: none is written]")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch is not loaded yet
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    images = given.images or (150 if given.quick else 400)
    telemetry, took_s = watch(given, images)
    spans = telemetry.spans
    reasoning = [span for span in spans if span.stage == "reason"]
    assert telemetry.in_flight is not None
    figures: dict[str, float | None] = {
        "images_per_s": images / took_s,
        "engine_fed": covered_s(reasoning) / took_s,
        "hidden": overlapped_share(spans, "reason", set(SHOWN) - {"reason"}),
        **{f"in_{name}": mean_in(spans, stage, took_s) for stage, name in SHOWN.items()},
        "peak_mb": telemetry.in_flight.peak_bytes / 1e6,
        "bound_mb": telemetry.in_flight.total_bytes / 1e6,
    }
    about = (
        f"{images} drawn scenes, {given.threads} threads, engine {given.engine}, embedded broker; the tiny trained"
        f" models on {harness.machine()['cores']} cores. Below: {_DRAWN} photographs from the middle of the run."
    )
    shown = window(spans, _DRAWN)
    if given.output:
        given.output.write_text(page(shown, figures, about), encoding="utf-8")
        print(f"plot: {given.output}", flush=True)
    if not given.quick:
        harness.RESULTS.mkdir(exist_ok=True)
        (harness.RESULTS / "timeline.svg").write_text(svg(shown) + "\n", encoding="utf-8")
    harness.report("timeline", figures, {name: unit(name) for name in figures})


def unit(figure: str) -> str:
    return {"images_per_s": "1/s", "peak_mb": "MB", "bound_mb": "MB"}.get(figure, "1")


def watch(given: argparse.Namespace, images: int) -> tuple[Noting, float]:
    """A worker's spans on so many photographs, and the seconds that it took."""
    from worker.gate.clip import load_gate
    from worker.reason.engines.choose import engine_loader

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = Settings(
            home=home,
            model=str(TINY),
            clip=str(CLIP),
            engine=given.engine,
            device="cpu",
            threads=given.threads,
            model_batch=max(1, given.threads // 2),
            most_answers=1,
            pictures_mb=given.pictures_mb,
        )
        warm_names()
        files = write_scenes(home / "files", _START_SCENE, images)
        warm = write_scenes(home / "warm", _START_SCENE + images, min(images, 2 * given.threads))
        gate = load_gate(settings.clip, device="cpu")
        engine = engine_loader(settings)(settings.model)
        telemetry = Noting()
        try:
            with open_database(settings) as database:
                drain(settings, database, gate, engine, warm, timeout_s=_DEADLINE_S)
                took_s = drain(settings, database, gate, engine, files, timeout_s=_DEADLINE_S, telemetry=telemetry)
        finally:
            embedded.stop(home)
            engine.close()
            gate.close()
    return telemetry, took_s


if __name__ == "__main__":
    main()
