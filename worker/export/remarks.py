"""What must be said beside a place in one or two plain sentences, the same words wherever it is shown."""

from schema.reasons import Reason
from worker.export.rows import ExportRow

UNTRAINED_PLACE = "UNTRAINED test model: the place means nothing."
UNTRAINED_ANSWER = "UNTRAINED test model: what it says means nothing."
INJECTED_TEXT = "The model's words hold what reads like an instruction, perhaps from the picture: look twice."
GENERALISED = "Made coarser on purpose: the middle of a grid cell of {:g} km; finer names and words are withheld."

KNOWN_BY = {
    "exif": "Position recorded by the camera (EXIF GPS).",
    "xmp": "Position stored with the photograph (XMP).",
    "import": "Position imported from the archive's own records.",
    "manual": "Position set by a person.",
}
"""How a known place came about, by `source`."""


def remarks(row: ExportRow) -> str:
    """How this row's place came about and how far to trust it, or why there is none."""
    said = [_of_the_place(row)]
    if row.place_kind == "known" and row.prediction_distance_km is not None:
        said.append(
            f"A model's prediction, made beside it to verify, lies {row.prediction_distance_km:.0f} km away; "
            "it does not count as the place."
        )
    elif row.place_kind == "known" and row.reason is not None:
        said.append(f"A model, asked to verify it, gave no place: {sentence_of(row.reason)}")
    if row.precision_km is not None:
        said.append(GENERALISED.format(row.precision_km))
    if row.injected_text:
        said.append(INJECTED_TEXT)
    if row.untrained:
        said.append(UNTRAINED_PLACE if row.place_kind == "predicted" else UNTRAINED_ANSWER)
    return " ".join(said)


def sentence_of(reason: str | None) -> str:
    """The sentence for a reason of the closed list; the word itself where the list does not have it."""
    if reason is None:
        return ""
    return Reason(reason).sentence if reason in _REASONS else reason


_REASONS = frozenset(reason.value for reason in Reason)


def _of_the_place(row: ExportRow) -> str:
    if row.place_kind == "known":
        return KNOWN_BY[str(row.source)]
    if row.place_kind == "predicted":
        inferred = "Inferred by a model from what the picture shows; not verified."
        if row.radius_km is None:
            return inferred
        if row.coverage is None:
            return inferred + " The radius is nominal, not calibrated."
        return f"{inferred} The true place lies inside the radius in {row.coverage:.0%} of such cases."
    if row.state in ("queued", "running"):
        return "Not settled yet."
    return sentence_of(row.reason) or "No place."
