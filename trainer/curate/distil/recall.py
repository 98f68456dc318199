"""The archive as a teacher: where its own photographs of known place are that look most like this one.

Leave-one-out: the photograph itself has no say, nor have its near-duplicates (crops, other scans) or those of its
own series, which would only repeat the label that is to be checked.
"""

from collections.abc import Sequence

import numpy as np
import orjson
from PIL import Image
from sqlalchemy import Engine

from schema import queries
from trainer.curate.distil.ledger import Came, Question
from trainer.curate.opinions import Subject
from trainer.curate.teachers import RecallTeacher
from worker.errors import SetupError
from worker.place.candidates import RECALL, Candidate, evidence
from worker.place.recall import NEAR_DUPLICATE_COSINE, Recall
from worker.place.sphere import distance_km
from worker.queue.patience import PatientTransactions

VOTERS = 10
NEARBY_KM = 25.0
_SEARCHED = 50
"""More than may vote, for what is left out stands first."""
_ALL_WEIGHT = 0.5
"""What the weights of mere likeness sum up to in `worker.place.candidates.evidence`, before any discount."""


class RecallAsker:
    """See `trainer.curate.distil.lane.Asker`."""

    sees = False
    speaks = False

    def __init__(
        self,
        teacher: RecallTeacher,
        engine: Engine,
        *,
        everywhere: bool,
        near_duplicate_cosine: float = NEAR_DUPLICATE_COSINE,
    ) -> None:
        """`everywhere`: candidates come from all collections, else from that of the photograph alone."""
        self.teacher = teacher
        self._transactions = PatientTransactions(engine)
        self._everywhere = everywhere
        self._near_duplicate_cosine = near_duplicate_cosine
        self._by_gate: dict[int, Recall] = {}

    def meet(self) -> None:
        """Raises `SetupError` where the gallery is empty."""
        found = self._transactions.run(
            lambda connection: connection.execute(queries.gallery.GALLERY_MODELS, {"model_id": None}).all()
        )
        if not any(row.photographs and not row.untrained for row in found):
            raise SetupError(
                f"teacher {self.teacher.name}: the archive holds no photograph of known place that a trained gate"
                " has seen; run workers over it first, or leave this teacher out"
            )

    def ask(self, subject: Subject, _picture: Image.Image | None) -> Came:
        """A point with its confidence; no point where nothing like it has a known place."""
        question = Question(subject.id, self.teacher.name)
        row = self._transactions.run(
            lambda connection: connection.execute(queries.distil.EMBEDDING, {"sha256": subject.id}).first()
        )
        if row is None:
            return Came(question, raw=_rests_upon(note="not in the archive: it has no embedding"), model="recall")
        embedding_D = np.array(orjson.loads(row.embedding), dtype=np.float32)
        found = self._recall(row.embedding_model_id).candidates(
            embedding_D, sha256=subject.id, collection=row.collection, uri=row.uri or "", taken_at=row.taken_at
        )
        alike = [candidate for candidate in found if candidate.kind == RECALL][:VOTERS]
        raw = _rests_upon(
            candidates=len(alike),
            left_out=sum(candidate.kind != RECALL for candidate in found),
            nearest_cosine=round(max((candidate.cosine for candidate in alike), default=0.0), 4),
        )
        point = vote(alike)
        if point is None:
            return Came(question, raw=raw, model="recall")
        lat, lon, confidence = point
        return Came(question, raw=raw, lat=lat, lon=lon, confidence=confidence, model="recall")

    def close(self) -> None:
        """Nothing is open."""

    def _recall(self, model_id: int) -> Recall:
        if model_id not in self._by_gate:
            self._by_gate[model_id] = Recall(
                self._transactions,
                model_id,
                everywhere=self._everywhere,
                k=_SEARCHED,
                near_duplicate_cosine=self._near_duplicate_cosine,
            )
        return self._by_gate[model_id]


def vote(alike: Sequence[Candidate]) -> tuple[float, float, float] | None:
    """Where most of the likeness lies within `NEARBY_KM`: latitude, longitude (degrees) and confidence, 0..1.

    Weights are those of serving, discounted where the whole gallery is in one place. The confidence is the weight
    of the best place in that of all that is alike. None where nothing weighs anything.
    """
    voters = evidence(alike)
    if not voters:
        return None
    near = [
        sum(other.weight for other in voters if distance_km(one.lat, one.lon, other.lat, other.lon) <= NEARBY_KM)
        for one in voters
    ]
    best = max(range(len(voters)), key=lambda place: (near[place], voters[place].weight, -place))
    return voters[best].lat, voters[best].lon, min(1.0, near[best] / _ALL_WEIGHT)


def _rests_upon(**what: object) -> str:
    """No other photograph is named: one that is erased must not be left here."""
    return orjson.dumps(what).decode()
