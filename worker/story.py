"""One job's whole story: read from Postgres, and told in sentences.

Everything that came from outside (addresses, captions, what a model printed) passes `plain`, so that it cannot
command the terminal that shows it.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from schema import queries
from schema.reasons import JobState, Outcome, Reason
from worker.intake.uri import shown
from worker.report.wording import plain

MOST_JOBS = 20
_LONGEST = 2000
_LANES = {0: "bulk", 1: "interactive"}

Row = dict[str, Any]
Chapter = tuple[str, list[str]]


@dataclass(frozen=True, slots=True)
class Story:
    """All rows about one job; None and empty where there is nothing (yet)."""

    job: Row
    image: Row | None
    labels: list[Row]
    prediction: Row | None
    trace: Row | None

    def as_json(self) -> Row:
        """The rows as they are, for a program."""
        return {
            "job": self.job,
            "image": self.image,
            "labels": self.labels,
            "prediction": self.prediction,
            "trace": self.trace,
        }


def find_stories(database: Engine, job: str, collection: str | None = None) -> list[Story]:
    """The stories of a job's id or of an address, the latest first, at most `MOST_JOBS`."""
    try:
        job_id = str(uuid.UUID(job))
    except ValueError:
        job_id = None
    asked = {"job_id": job_id, "uri": job, "collection": collection, "limit": MOST_JOBS}
    with database.connect() as connection:
        found = connection.execute(queries.stories.FIND_JOBS, asked).scalars().all()
        return [_read(connection, str(each)) for each in found]


def _read(connection: Connection, job_id: str) -> Story:
    def rows(statement: Any, **asked: Any) -> list[Row]:
        return [dict(row) for row in connection.execute(statement, asked).mappings()]

    [job] = rows(queries.stories.TELL_JOB, job_id=job_id)
    about_image, about_prediction = {"image_id": job["image_id"]}, {"prediction_id": job["prediction_id"]}
    return Story(
        job,
        next(iter(rows(queries.stories.TELL_IMAGE, **about_image)), None),
        rows(queries.stories.TELL_LABELS, **about_image),
        next(iter(rows(queries.stories.TELL_PREDICTION, **about_prediction)), None),
        next(iter(rows(queries.stories.TELL_TRACE, **about_prediction)), None),
    )


def tell(story: Story) -> list[Chapter]:
    """Chapters of sentences, from the submission to the versions that answered. Fit for a terminal."""
    chapters = [
        ("Asked for", _asked(story.job)),
        ("On its way", _way(story.job)),
        ("The photograph", _photograph(story)),
        ("Known places", [_label(label) for label in story.labels]),
        ("The gate", _gate(story)),
        ("What else was known", _recall(story)),
        ("The model's stated reasons and answers", _answers(story)),
        ("The outcome", _outcome(story)),
        ("Answered by", _versions(story)),
    ]
    return [(title, [plain(line, _LONGEST) for line in lines]) for title, lines in chapters if lines]


def _asked(job: Row) -> list[str]:
    told = [
        f"{shown(job['uri'])}, collection {job['collection']}, job {job['job_id']}",
        f"enqueued {_when(job['created_at'])}, lane {_LANES.get(job['priority'], job['priority'])}",
    ]
    told += [f"hint, {name}: {value}" for name, value in job["hints"].items()]
    if job["verify"]:
        told.append("to be placed also where its place is known")
    if job["collection_region"]:
        told.append(f"the collection asks for a place in {job['collection_region']}")
    if job["collection_max_radius_km"] is not None:
        told.append(f"the collection asks for a radius of {job['collection_max_radius_km']:,.0f} km at most")
    return told


def _way(job: Row) -> list[str]:
    told = [f"the broker was told {_when(job['published_at'])}" if job["published_at"] else "not published"]
    if job["started_at"]:
        by = f" by {job['worker']}" if job["worker"] else ""
        told.append(f"last claimed {_when(job['started_at'])}{by}")
    told.append(f"{_times(job['attempts'], 'attempt')}, {_times(job['losses'], 'lost worker')}")
    if job["state"] == JobState.RUNNING:
        over = ", which is over: the dispatcher takes it back" if job["lease_is_over"] else ""
        told.append(f"in work, with a lease until {_when(job['lease_until'])}{over}")
    elif job["state"] == JobState.QUEUED:
        told.append(f"due {_when(job['due_at'])}" if job["is_due_later"] else "due now, waits for a worker")
    if job["finished_at"]:
        took = (
            f", {(job['finished_at'] - job['started_at']).total_seconds():.1f} s after it"
            if job["started_at"]
            else ""
        )
        told.append(f"settled {_when(job['finished_at'])}{took}")
    return told


def _photograph(story: Story) -> list[str]:
    image = story.image
    if image is None:
        return []
    told = [
        f"{image['format']}, {image['width_px']} × {image['height_px']} px, {image['size_bytes']:,} bytes,"
        f" SHA-256 {image['sha256']}"
    ]
    if story.job["reused"]:
        told.append("the same content was answered before, and that answer serves")
    if image["taken_at"]:
        told.append(f"taken {image['taken_at']:%Y-%m-%d %H:%M:%S} by its camera's clock")
    if image["caption"]:
        told.append(f"its own caption: {image['caption']}")
    return told + [f"metadata: {note}" for note in image["metadata_notes"]]


def _label(label: Row) -> str:
    by = f" by {label['author']}" if label["author"] else ""
    within = f", within {label['accuracy_m']:,.0f} m" if label["accuracy_m"] is not None else ""
    return f"{label['source']}{by}: {_place(label)}{within}"


def _gate(story: Story) -> list[str]:
    prediction = story.prediction
    if prediction is None:
        return []
    if prediction["gate_score"] is None:
        return ["it was not asked"]
    stopped = prediction["reason"] == Reason.GATE_BELOW_THRESHOLD
    threshold = prediction["sampling"].get("gate_threshold")
    against = "" if threshold is None else f", with a threshold of {threshold:.3f}"
    verdict = prediction["detail"] if stopped else f"let through to the model{against}"
    return [f"score {prediction['gate_score']:.3f}: {verdict}"]


def _recall(story: Story) -> list[str]:
    prediction = story.prediction
    if prediction is None:
        return []
    signs = prediction["difficulty"]
    told = []
    if signs and signs["nearest_cosine"] is None:
        told.append("no similar photograph with a known place")
    elif signs:
        told.append(
            f"the most similar photograph with a known place has a cosine of {signs['nearest_cosine']:.3f}"
        )
    for each in prediction["suggestions"]:
        alike = f", cosine {each['cosine']:.3f}" if each.get("cosine") is not None else ""
        told.append(f"{each.get('source')}: {_place(each)}, from {str(each.get('from_sha256'))[:12]}{alike}")
    return told


def _answers(story: Story) -> list[str]:
    trace = story.trace
    if trace is None:
        return []
    told = [f"reasons: {trace['reasoning'] or 'none'}", f"answer: {trace['answer']}", _drawn(trace)]
    for other in trace["samples"]:
        told += [f"answer {other.get('number', 0) + 1}: {other.get('answer')}", _drawn(other)]
    checked = [cue for cue in trace["cues"] if cue.get("supported") is not None]
    told += [f"{'seen' if cue['supported'] else 'not seen'} in the picture: {cue.get('text')}" for cue in checked]
    return told


def _drawn(answer: Row) -> str:
    sure = f", mean log-probability {answer['mean_logprob']:.3f}" if answer.get("mean_logprob") is not None else ""
    cut = ", cut at the token limit" if answer.get("finish_reason") == "length" else ""
    return f"  ({answer.get('tokens')} tokens{sure}{cut})"


def _outcome(story: Story) -> list[str]:
    job, prediction = story.job, story.prediction
    told = [job["outcome"] or job["state"]]
    if job["reason"]:
        told.append(f"{job['reason']}: {Reason(job['reason']).sentence} {job['detail'] or ''}".rstrip())
    if job["outcome"] == Outcome.KNOWN and story.labels:
        told.append(f"its place is known: {_place(story.labels[0])}")
    if prediction is None:
        return told
    if prediction["reason"] and prediction["reason"] != job["reason"]:
        sentence = Reason(prediction["reason"]).sentence
        told.append(f"{prediction['reason']}: {sentence} {prediction['detail'] or ''}".rstrip())
    if prediction["lat"] is not None:
        told.append(f"inferred: {_place(prediction)}, as fine as a {prediction['granularity']}")
        told.append(_radius(prediction))
    signs = prediction["difficulty"]
    if signs:
        told.append(
            f"agreement {signs['agreement']:.0%} of all weight, over {_times(signs['samples'], 'answer')} and"
            f" other signs; all opinions lie {signs['spread_km']:,.0f} km from it on average"
        )
    for each in prediction["alternatives"]:
        share = f"{each['weight']:.0%}" if each.get("weight") is not None else "?"
        told.append(f"other opinion, {share}, from {', '.join(map(str, each.get('sources', [])))}: {_place(each)}")
    return told + [f"note: {note}" for note in prediction["notes"]]


def _radius(prediction: Row) -> str:
    radius = f"radius {prediction['radius_km']:,.1f} km"
    if prediction["coverage"] is None:
        return f"{radius}, nominal: nothing is calibrated"
    sure = f"; within 25 km with a chance of {prediction['confidence']:.0%}" if prediction["confidence"] else ""
    return f"{radius}, which holds {prediction['coverage']:.0%} of true places{sure}"


def _versions(story: Story) -> list[str]:
    prediction = story.prediction
    if prediction is None:
        return []
    untrained = ", UNTRAINED: its places mean nothing" if prediction["untrained"] else ""
    calibrated = f", calibration {prediction['calibration_version']}" if prediction["calibration_version"] else ""
    return [
        f"model {prediction['model']} {prediction['model_version']}{untrained}",
        f"gate {prediction['gate']} {prediction['gate_version']}{calibrated}",
        f"pipeline {prediction['pipeline_version']}, prompt {prediction['prompt_hash']},"
        f" gazetteer {prediction['gazetteer_version']}, code {prediction['code_version']}",
        f"sampling {prediction['sampling']}",
    ]


def _place(row: Row) -> str:
    names = [row.get(name) for name in ("city", "region", "country_code")]
    named = ", ".join(str(name) for name in names if name) or str(row.get("place") or "no name")
    if row.get("lat") is None:
        return named
    return f"{named} ({row['lat']:.4f}, {row['lon']:.4f})"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _times(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
