"""A whole worker on the models of the Atlas, for benchmarks that measure it at work: files and the way through."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from atlas import WEIGHTS
from atlas.archive import write_split
from atlas.world import load_world
from benchmarks.work import wait_until_settled
from worker.assemble import Models, assemble
from worker.database import Database
from worker.gate import Gate
from worker.identity import ModelIdentity
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.intake.sources import iter_submissions
from worker.place.gazetteer import Gazetteer
from worker.queue.dispatch import Dispatcher
from worker.queue.enqueue import enqueue
from worker.reason.engines import Completion, Engine, Prompt, Sampling
from worker.settings import Settings
from worker.telemetry import Telemetry

TINY, CLIP = WEIGHTS / "vlm-best", WEIGHTS / "clip"
"""The small models that have learnt the drawn world."""
DEEPER_LAYERS = 32
"""So many layers make the small model cost about 50 ms an image on one core (see `benchmarks.deepened`)."""


@dataclass(frozen=True, slots=True)
class KeptEngine:
    """An engine that outlives the worker that it is lent to: `close` leaves it open."""

    lent: Engine

    @property
    def identity(self) -> ModelIdentity:
        return self.lent.identity

    def generate(self, prompt: Prompt, image: Image, sampling: Sampling, n: int = 1) -> list[Completion]:
        return self.lent.generate(prompt, image, sampling, n)

    def close(self) -> None:
        """Whoever has loaded it closes it."""


def write_scenes(folder: Path, start: int, count: int, *, side_px: int = 336) -> Path:
    """Draws scenes of the split `train` as JPEG files without a position; returns the folder."""
    write_split(folder, load_world(), "train", count, start=start, side_px=side_px, gps_share=0.0)
    return folder


def read_pictures(folder: Path) -> list[Image]:
    """The files of a folder, decoded as the worker decodes them."""
    return [decode(path.read_bytes(), Limits()).image for path in sorted(folder.glob("*.jpg"))]


def warm_names() -> None:
    """Reads what the worker reads once in its life: the names of the places of each country that scenes show."""
    gazetteer = Gazetteer.load()
    for code in sorted({city.country_code for city in load_world().cities}):
        gazetteer.city("Springfield", code)


def drain(
    settings: Settings,
    database: Database,
    gate: Gate,
    engine: Engine,
    folder: Path,
    *,
    timeout_s: float,
    telemetry: Telemetry | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> float:
    """Seconds from a full queue to the last committed row of the folder's photographs.

    The worker is whole, from broker to rows; it is assembled before the clock starts. Nothing is stopped by the
    gate, which scores all. `on_start` is called as the clock starts. Raises `SetupError` where a photograph is not
    answered in `timeout_s`.
    """
    models = Models(gate, KeptEngine(engine), gate_threshold=0.0)
    with assemble(settings, database, models, dispatch=False, telemetry=telemetry) as worker:
        batch = enqueue(database.engine, iter_submissions([str(folder)]))
        with worker.app.connection_for_write() as connection:
            Dispatcher(database.engine, worker.app, depth=2 * batch.new).step(connection)
        on_start()
        began_s = time.perf_counter()
        worker.runner.start()
        wait_until_settled(database, batch.batch_id, timeout_s=timeout_s)
        took_s = time.perf_counter() - began_s
        worker.runner.stop()
    return took_s
