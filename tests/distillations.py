"""A distillation in the database about drawn scenes: written as the asking writes it, sifted by the real steps.

The teachers are those of the Atlas, whose faults are known. What is visible is told by the closed world itself.
"""

import csv
from pathlib import Path
from random import Random

import orjson

from atlas.archive import write_split
from atlas.language import stated_cues
from atlas.scenes import scene
from atlas.teachers import TEACHERS, teacher_text
from atlas.world import load_world
from schema import queries
from trainer.curate.opinions import Case, CueSeen, Opinion
from trainer.curate.sources import subjects_of_folder
from trainer.curate.verify import Thresholds, choose, verify
from worker.place.sphere import destination
from worker.reason.answer import Answer, parse, render

POINTS = "points"
"""The coordinate teacher."""
NOT_JUDGED = frozenset({"light"})


def phrase(cue):
    kind, value = cue
    return f"{value.replace('_', ' ')} {kind.replace('_', ' ')}"


class Distillation:
    """`cases` and `verified` are what was stored; `scenes` are by content hash."""

    def __init__(self, engine, folder: Path, *, count=12, name="scenes", split="train", state="done", troubles=2):
        self.engine = engine
        self.folder = folder
        self.world = load_world()
        truth = write_split(folder, self.world, split, count, side_px=160)
        with truth.open(encoding="utf-8") as file:
            ids = {row["file"]: row["id"] for row in csv.DictReader(file)}
        by_id = {shown.id: shown for shown in (scene(self.world, split, index) for index in range(count))}
        found = subjects_of_folder(folder)
        self.subjects = found.subjects
        self.scenes = {subject.id: by_id[ids[Path(subject.uri).name]] for subject in self.subjects}
        self.texts = {
            (subject.id, teacher.name): teacher_text(self.world, self.scenes[subject.id], teacher)
            for subject in self.subjects
            for teacher in TEACHERS
        }
        self.troubled = set(sorted(self.texts)[:troubles])
        self.cases = [self._case(subject) for subject in self.subjects]
        self.thresholds = Thresholds(min_similar_others=0, min_agreeing_share=0.25, max_unsupported_share=0.3)
        self.verified = verify(self.cases, self.thresholds, None, self._visible)
        self.id = self._store(name, state)

    def _point(self, subject):
        chance = Random(subject.id)
        away_km = 5.0 if chance.random() < 0.7 else 900.0
        return destination(subject.lat, subject.lon, 360 * chance.random(), away_km)

    def _case(self, subject):
        opinions = [
            Opinion(teacher.name, parse(self.texts[subject.id, teacher.name]), locatable=True, p_locatable=0.9)
            for teacher in TEACHERS
            if (subject.id, teacher.name) not in self.troubled
        ]
        lat, lon = self._point(subject)
        return Case(subject, (*opinions, Opinion(POINTS, lat=lat, lon=lon, confidence=0.7)))

    def _visible(self, samples):
        return [self._seen(case, opinion) for case, opinion in samples]

    def _seen(self, case, opinion):
        shown = {(cue.kind, cue.value) for cue in self.scenes[case.subject.id].visible}
        stated = sorted(stated_cues(opinion.answer.reasoning))
        return [
            CueSeen(phrase(cue), None if cue[0] in NOT_JUDGED else cue in shown, "the world itself", 1.0)
            for cue in stated
        ]

    def _store(self, name, state):
        teachers = [{"name": each.name, "kind": "openai", "model": f"atlas/{each.name}"} for each in TEACHERS]
        teachers.append({"name": POINTS, "kind": "geoclip", "model": "points-1"})
        with self.engine.begin() as connection:
            given = {
                "name": name,
                "source": orjson.dumps({"kind": "folder", "folder": str(self.folder)}).decode(),
                "collection": None,
                "curation_id": None,
                "teachers": orjson.dumps(teachers).decode(),
                "parameters": orjson.dumps({"thresholds": self.thresholds}).decode(),
            }
            number = connection.execute(queries.distil.ADD_DISTILLATION, given).scalar_one()
            rows = [{"sha256": each.id, **_subject(each)} for each in self.subjects]
            connection.execute(queries.distil.ADD_DISTILLED, {"id": number, "rows": orjson.dumps(rows).decode()})
            asked = [{"sha256": sha256, "teacher": teacher} for sha256, teacher in self.texts]
            asked += [{"sha256": each.id, "teacher": POINTS} for each in self.subjects]
            connection.execute(
                queries.distil.ASK, {"id": number, "rows": orjson.dumps(asked).decode(), "again": []}
            )
            connection.execute(
                queries.distil.ANSWER, {"id": number, "rows": orjson.dumps(list(self._answers())).decode()}
            )
            connection.execute(
                queries.distil.ADD_SAMPLES, {"id": number, "rows": orjson.dumps(list(self._samples())).decode()}
            )
            standing = {"quarantined": "same_for_all", "detail": "31 of 40 answers are the same."}
            connection.execute(
                queries.distil.SET_STANDING,
                {"id": number, "teacher": "careless", "standing": orjson.dumps(standing).decode()},
            )
            connection.execute(
                queries.distil.END_RUN, {"id": number, "state": state, "detail": None, "counts": "{}"}
            )
        return number

    def _answers(self):
        said = {"model": "atlas", "prompt_hash": "0123456789abcdef", "tokens_in": 300, "tokens_out": 90}
        for sha256, teacher in self.texts:
            base = {"sha256": sha256, "teacher": teacher, "took_s": 1.5, **said}
            if (sha256, teacher) in self.troubled:
                yield {**base, "state": "troubled", "trouble": "refused", "raw": "I cannot <b>help</b> with that.",
                       "finish_reason": "stop", "detail": "It says no."}  # fmt: skip
            else:
                yield {**base, "state": "answered", "raw": self.texts[sha256, teacher], "finish_reason": "stop"}
        for subject in self.subjects:
            lat, lon = self._point(subject)
            yield {"sha256": subject.id, "teacher": POINTS, "state": "answered", "lat": lat, "lon": lon,
                   "confidence": 0.7, "took_s": 0.01, "model": "points-1"}  # fmt: skip

    def _samples(self):
        chosen = choose(self.verified)
        for one in self.verified:
            answer = parse(self.texts[one.subject_id, one.teacher])
            place = Answer("", answer.country, answer.region, answer.city, abstains=answer.abstains)
            yield {
                "sha256": one.subject_id,
                "teacher": one.teacher,
                "kept": one.kept,
                "chosen": chosen.get(one.subject_id) == one.teacher,
                "dropped_by": one.dropped_by,
                "reason": one.reason,
                "reasoning": answer.reasoning,
                "answer": render(place),
                "cues": one.cues,
                "measures": one.measures,
            }


def _subject(subject):
    named = ("uri", "lat", "lon", "country_code", "country", "region", "city", "geoname_id", "grouped_by",
             "licence", "image_id", "label_id")  # fmt: skip
    return {name: getattr(subject, name) for name in named}
