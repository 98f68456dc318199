"""The photographs that teachers are shown: fetched, checked and decoded once for all, if they keep together.

Each teacher goes at its own pace. What one has just been shown stays a while for the others, shrunk to what any of
them takes; beyond `keep` pictures the one that was wanted longest ago goes, and is fetched again where a slower
teacher comes to it. So no more than `keep` and one for each asking thread are ever in memory.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future

from PIL import Image

from trainer.curate.opinions import Subject
from trainer.curate.originals import CHANGED, Fetch, Original, OriginalChanged
from worker.errors import JobError, Transient
from worker.intake.limits import Limits
from worker.reason.conversation import shrunk


class Gone(Exception):
    """The photograph cannot be shown. `reason`: changed, or as a job's; `may_return`: the cause may pass."""

    def __init__(self, reason: str, detail: str, *, may_return: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.may_return = may_return


class Pictures:
    """Thread-safe."""

    def __init__(self, fetch: Fetch, *, limits: Limits | None = None, max_pixels: int, keep: int) -> None:
        self._fetch = fetch
        self._limits = limits or Limits()
        self._max_pixels = max_pixels
        self._keep = keep
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Future[Image.Image]] = OrderedDict()
        self.fetched = 0

    def __call__(self, subject: Subject) -> Image.Image:
        """Upright RGB. Several threads that want the same one wait for one fetch. Raises `Gone`."""
        with self._lock:
            found = self._kept.get(subject.id)
            if mine := found is None:
                found = self._kept[subject.id] = Future()
                self.fetched += 1
            self._kept.move_to_end(subject.id)
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        if mine:
            self._fill(found, subject)
        return found.result()

    def _fill(self, future: "Future[Image.Image]", subject: Subject) -> None:
        try:
            future.set_result(self._read(subject))
        except BaseException as error:
            with self._lock:
                if self._kept.get(subject.id) is future:
                    del self._kept[subject.id]  # whoever comes later tries again
            future.set_exception(error)

    def _read(self, subject: Subject) -> Image.Image:
        original = Original(subject.uri, subject.id, self._fetch, self._limits)
        try:
            return shrunk(original(), self._max_pixels)
        except OriginalChanged as error:
            raise Gone(CHANGED, str(error)) from error
        except Transient as error:
            raise Gone(str(error.reason), error.detail, may_return=True) from error
        except JobError as error:
            raise Gone(str(error.reason), error.detail) from error
