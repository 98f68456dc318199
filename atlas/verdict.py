"""The verdict on an archive of Atlas scenes: what the database says of each, against the truth beside them.

Scene by scene: right, wrong or without an answer, the stated reasons one by one against what the picture really
shows, and what the best possible observer could have known. Over all scenes: the project's own judge.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from atlas.exam import Mark, Paper, mark
from atlas.language import cue_phrase, stated_cues
from schema.reasons import JobState, Reason
from trainer.judge.columns import make_columns
from trainer.judge.distance import Distance
from trainer.judge.matching import match
from trainer.judge.places import predicted_country
from trainer.judge.read import read_truth
from trainer.judge.records import Outcome, Prediction, Truth
from worker.export.rows import ExportRow
from worker.intake.uri import file_uri
from worker.place.gazetteer import Gazetteer

NEAR_KM = 25
"""The usual bound for "the right city" in the field (Im2GPS and after)."""

_SENTENCE = re.compile(r"[^.!?;\n]+[.!?;]?")
_OPEN = frozenset({JobState.QUEUED, JobState.RUNNING})


class Verdict(StrEnum):
    """What an answer is worth. Each scene has exactly one, so the counts sum to the number of scenes."""

    RIGHT = "right"
    """Within `NEAR_KM` of the true place."""
    COUNTRY = "right_country"
    """The right country; no city named, or another one."""
    WRONG = "wrong"
    """Another country."""
    ABSTAINED_RIGHTLY = "abstained_rightly"
    """No place named, and nothing in the picture tells one."""
    ABSTAINED = "abstained"
    """No place named, though the picture tells at least the country."""
    NO_ANSWER = "no_answer"
    """Nothing that can be judged: unreadable, a place that nobody knows, a failure, or not settled yet."""
    KNOWN = "known"
    """The camera recorded the place (or a person set it): the model was not asked."""


PLACED = frozenset({Verdict.RIGHT, Verdict.COUNTRY, Verdict.WRONG})


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of the stated reasons. `standing` is "" where it states no cue that this world can check.

    `shown` words what the picture shows of that kind instead of an invented value; None where it shows nothing of
    the kind.
    """

    text: str
    standing: Literal["visible", "invented", ""] = ""
    shown: str | None = None


@dataclass(frozen=True, slots=True)
class SceneVerdict:
    """`row` is None where the database has no job for the scene. `km` is the distance of the answer's point from
    the true place, None without a point. `missed` words the visible cues that an answer's reasons leave out."""

    truth: Truth
    prediction: Prediction
    row: ExportRow | None
    verdict: Verdict
    km: float | None = None
    claims: tuple[Claim, ...] = ()
    missed: tuple[str, ...] = ()

    @property
    def can_be_placed(self) -> bool:
        return self.truth.placeable not in (None, "none")

    @property
    def is_guess(self) -> bool:
        """It names a place where nothing in the picture tells one, whether it hit or not."""
        return self.verdict in PLACED and not self.can_be_placed


@dataclass(frozen=True, slots=True)
class Judgement:
    """`scenes` by id, each once. `mark` is the judge's over the scenes that a model was asked about; None where
    they lack a kind that it needs. `stated` counts the checkable cues of all answers that could be read, each once
    a scene, and `invented` those of them that are not in the picture."""

    scenes: tuple[SceneVerdict, ...]
    mark: Mark | None

    @property
    def counts(self) -> dict[Verdict, int]:
        return {verdict: sum(scene.verdict is verdict for scene in self.scenes) for verdict in Verdict}

    @property
    def asked(self) -> int:
        return sum(scene.verdict is not Verdict.KNOWN for scene in self.scenes)

    @property
    def placeable_asked(self) -> int:
        """How many of the asked scenes can be placed: what `mark.country` and `mark.city25` are shares of."""
        return sum(scene.verdict is not Verdict.KNOWN and scene.can_be_placed for scene in self.scenes)

    @property
    def stated(self) -> int:
        return sum(len(scene.prediction.stated_cues or ()) for scene in self.scenes)

    @property
    def invented(self) -> int:
        return sum(
            len((scene.prediction.stated_cues or frozenset()) - (scene.truth.true_cues or frozenset()))
            for scene in self.scenes
        )


def judge(truth_file: Path, rows: Iterable[ExportRow], gazetteer: Gazetteer) -> Judgement:
    """Judges every scene of the truth against the row of its picture, which lies beside `truth_file`.

    Rows of other files are left aside. Raises `SetupError` where the truth cannot be read.
    """
    truths = read_truth(truth_file, gazetteer)
    uris = {file_uri(truth_file.parent / f"{truth.id}.jpg"): truth.id for truth in truths}
    row_of = {uris[row.uri]: row for row in rows if row.uri in uris}
    scenes = tuple(
        judge_scene(truth, row_of.get(truth.id), gazetteer) for truth in sorted(truths, key=lambda each: each.id)
    )
    return Judgement(scenes, _mark(scenes, gazetteer))


def judge_scene(truth: Truth, row: ExportRow | None, gazetteer: Gazetteer) -> SceneVerdict:
    """The verdict on one scene."""
    prediction = as_prediction(truth.id, row)
    if row is not None and row.place_kind == "known":
        return SceneVerdict(truth, prediction, row, Verdict.KNOWN)
    km = None
    if prediction.lat is not None and prediction.lon is not None:
        km = float(Distance().km(truth.lat, truth.lon, prediction.lat, prediction.lon))
    true_cues = truth.true_cues or frozenset()
    return SceneVerdict(
        truth,
        prediction,
        row,
        _verdict(truth, prediction, km, gazetteer),
        km,
        read_claims(row.reasoning if row is not None else None, true_cues),
        tuple(_worded(cue) for cue in sorted(true_cues - prediction.stated_cues))
        if prediction.stated_cues is not None
        else (),
    )


def as_prediction(id_: str, row: ExportRow | None) -> Prediction:
    """What the database says of one picture, as the judge takes it. The cues are read as this world words them.

    A known place is no prediction: it comes back as missing.
    """
    if row is None or row.state in _OPEN or row.place_kind == "known":
        return Prediction(id_, Outcome.MISSING)
    if row.state != JobState.DONE:
        outcome = Outcome.UNPARSABLE if row.reason == Reason.UNPARSABLE else Outcome.FAILED
        return Prediction(id_, outcome, detail=row.detail)
    cues = None
    if row.reasoning is not None:
        cues = frozenset(f"{kind}={value}" for kind, value in stated_cues(row.reasoning))
    if row.lat is None or row.lon is None:
        outcome = Outcome.UNRESOLVED if row.reason == Reason.PLACE_UNKNOWN else Outcome.REFUSED
        return Prediction(id_, outcome, stated_cues=cues, detail=row.detail)
    return Prediction(
        id_,
        Outcome.LOCATED,
        lat=row.lat,
        lon=row.lon,
        radius_km=row.radius_km,
        coverage=row.coverage,
        confidence=row.confidence,
        granularity=row.granularity,
        country_code=row.country_code,
        region=row.region,
        city=row.city,
        geoname_id=row.geoname_id if row.city is not None else None,
        stated_cues=cues,
    )


def read_claims(reasoning: str | None, true_cues: frozenset[str]) -> tuple[Claim, ...]:
    """The stated reasons sentence by sentence; `true_cues` are "kind=value". Empty sentences are left out."""
    sentences = (match[0].strip() for match in _SENTENCE.finditer(reasoning or ""))
    return tuple(_claim(sentence, true_cues) for sentence in sentences if sentence.strip(" .!?;"))


def _claim(sentence: str, true_cues: frozenset[str]) -> Claim:
    stated = sorted(f"{kind}={value}" for kind, value in stated_cues(sentence))
    if not stated:
        return Claim(sentence)
    invented = next((cue for cue in stated if cue not in true_cues), None)
    if invented is None:
        return Claim(sentence, "visible")
    kind = invented.partition("=")[0]
    shown = next((cue for cue in true_cues if cue.partition("=")[0] == kind), None)
    return Claim(sentence, "invented", None if shown is None else _worded(shown))


def _worded(cue: str) -> str:
    kind, _, value = cue.partition("=")
    return cue_phrase(kind, value, 0)


def _verdict(truth: Truth, prediction: Prediction, km: float | None, gazetteer: Gazetteer) -> Verdict:
    if km is not None:
        if km <= NEAR_KM:
            return Verdict.RIGHT
        is_country = predicted_country(prediction, gazetteer) == truth.country_code
        return Verdict.COUNTRY if is_country else Verdict.WRONG
    if prediction.outcome is not Outcome.REFUSED:
        return Verdict.NO_ANSWER
    return Verdict.ABSTAINED_RIGHTLY if truth.placeable == "none" else Verdict.ABSTAINED


def _mark(scenes: Sequence[SceneVerdict], gazetteer: Gazetteer) -> Mark | None:
    """The judge's figures, as in an examination of a model."""
    asked = {scene.truth.id: scene for scene in scenes if scene.verdict is not Verdict.KNOWN}
    if not {"city", "none"} <= {scene.truth.placeable for scene in asked.values()}:
        return None
    truths = tuple(scene.truth for scene in asked.values())
    run = match("demo", truths, [scene.prediction for scene in asked.values()], source="the database")
    return mark(Paper("test", truths), make_columns(run, Distance(), gazetteer))


def models_that_answered(scenes: Iterable[SceneVerdict]) -> Mapping[tuple[str, str], bool]:
    """Name and version of each model behind the answers, with whether it is untrained; by name."""
    found = {
        (row.model, row.model_version or ""): bool(row.untrained)
        for scene in scenes
        if (row := scene.row) is not None and row.model is not None
    }
    return dict(sorted(found.items()))
