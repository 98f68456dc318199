"""What speaks for a place besides the model's own answers: photographs of the archive whose place is known."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """One photograph's vote for a point. `lat`, `lon` degrees (WGS 84).

    `weight`, 0..1, compares with all answers of the LVLM together, which weigh 1.

    `source` says why that photograph was asked: "recall" (it looks alike), "near_duplicate" (it shows the same),
    or "series" (the same folder at the same time). `image_id` is that photograph; `geoname_id` its place in the
    gazetteer, where there is one.
    """

    lat: float
    lon: float
    weight: float
    source: str
    image_id: int | None
    geoname_id: int | None
