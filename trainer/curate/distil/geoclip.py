"""GeoCLIP (Vivanco Cepeda et al., NeurIPS 2023, arXiv 2309.16020) as a teacher, through its package `geoclip`.

The package is not among ours: it brings weights along whose licence an operator should know. It is looked up when
it is wanted. Not run in our tests; what is made of its numbers is.
"""

import importlib
import importlib.metadata
import importlib.util
import io
import threading
from collections.abc import Sequence
from typing import Any

import orjson
from PIL import Image

from trainer.curate.distil.ledger import Came, Question
from trainer.curate.opinions import Subject
from trainer.curate.teachers import GeoclipTeacher
from worker.errors import SetupError
from worker.place.sphere import distance_km, is_valid

TOP = 50
NEARBY_KM = 25.0


class GeoclipAsker:
    """See `trainer.curate.distil.lane.Asker`. One photograph at a time."""

    sees = True
    speaks = False

    def __init__(self, teacher: GeoclipTeacher) -> None:
        """Raises `SetupError` where the package is not installed."""
        if importlib.util.find_spec("geoclip") is None:
            raise SetupError(
                f"teacher {teacher.name}: the package geoclip is not installed; install it (pip install geoclip),"
                " or leave this teacher out"
            )
        self.teacher = teacher
        self._lock = threading.Lock()
        self._model: Any = None
        self._version = "geoclip"

    def meet(self) -> None:
        """Loads the model. Raises `SetupError` where it cannot be loaded."""
        try:
            package = importlib.import_module("geoclip")
            self._model = package.GeoCLIP()
            self._model.eval()
            self._version = f"geoclip {importlib.metadata.version('geoclip')}"
        except (ImportError, OSError, RuntimeError) as error:
            said = " ".join(str(error).split())[:200]
            raise SetupError(f"teacher {self.teacher.name}: geoclip cannot be loaded ({said})") from error

    def ask(self, subject: Subject, picture: Image.Image | None) -> Came:
        """Its likeliest point, and how much of what it finds likely lies there."""
        assert picture is not None
        with io.BytesIO() as file, self._lock:
            picture.save(file, "PNG", compress_level=1)  # the package reads files, or what is like one
            file.seek(0)
            points_K_2, shares_K = self._model.predict(file, top_k=TOP)
        lat, lon, confidence = densest(points_K_2.tolist(), shares_K.tolist())
        raw = orjson.dumps({"points": TOP, "within_km": NEARBY_KM}).decode()
        question = Question(subject.id, self.teacher.name)
        return Came(question, raw=raw, lat=lat, lon=lon, confidence=confidence, model=self._version)

    def close(self) -> None:
        """Nothing is open."""


def densest(points: Sequence[Sequence[float]], shares: Sequence[float]) -> tuple[float, float, float]:
    """The likeliest of these points (latitude, longitude) and the share of all their probability within 25 km of
    it: a gallery's single point has little, however sure the model is of the place. Raises `ValueError` where
    they are no points with shares."""
    if not points or len(points) != len(shares) or not sum(shares) > 0 or min(shares) < 0:
        raise ValueError("no points, or no shares of them")
    best = max(range(len(points)), key=lambda place: shares[place])
    lat, lon = points[best]
    if not is_valid(lat, lon):
        raise ValueError(f"{lat}, {lon} is no point on Earth")
    near = sum(
        share for point, share in zip(points, shares, strict=True) if distance_km(lat, lon, *point) <= NEARBY_KM
    )
    return lat, lon, min(1.0, near / sum(shares))
