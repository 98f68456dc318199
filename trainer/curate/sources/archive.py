"""The archive's own photographs of known place: the training side of a stored curation.

The rights of today count, not those of the day of the curation. What any curation has held out is no subject.
"""

from collections import Counter

from sqlalchemy import Engine

from schema import queries
from trainer.curate.labels import Dropped, Side
from trainer.curate.manifest import Member, load_manifest
from trainer.curate.opinions import Subject
from trainer.curate.sources.found import Found, Why
from worker.place.countries import Countries

_WITHDRAWN = {Dropped.NO_CONSENT: Why.NO_CONSENT, Dropped.RIGHTS_RESERVED: Why.RIGHTS_RESERVED}


def subjects_of_curation(engine: Engine, curation_id: int | None = None) -> Found:
    """The training side of a curation (None: the latest), by content hash.

    Originals are not fetched: their hashes stand in the manifest and are compared when they are. Raises
    `SetupError` where there is no such curation, and where its rows were changed.
    """
    stored = load_manifest(engine, curation_id)
    held_out = held_out_hashes(engine)
    countries = {code: country.name for code, country in Countries().by_code.items()}
    train = stored.side(Side.TRAIN)
    counts: Counter[Why] = Counter({Why.HELD_OUT: len(stored.side(Side.HELD_OUT)), Why.ERASED: stored.erased})
    for reason, count in stored.withdrawn.items():
        counts[_WITHDRAWN[reason]] += count
    counts[Why.HELD_OUT] += sum(member.sha256 in held_out for member in train)
    subjects = tuple(_subject(member, countries) for member in train if member.sha256 not in held_out)
    return Found(subjects, counts=+counts)


def held_out_hashes(engine: Engine) -> frozenset[str]:
    """The content hashes of all that any curation so far has held out, whatever its rights are today."""
    with engine.connect() as connection:
        return frozenset(row.sha256 for row in connection.execute(queries.curation.HELD_OUT_MEMBERS))


def _subject(member: Member, countries: dict[str, str]) -> Subject:
    return Subject(
        id=member.sha256,
        uri=member.uri,
        lat=member.lat,
        lon=member.lon,
        country_code=member.country_code,
        country=countries[member.country_code],
        region=member.region,
        city=member.city,
        geoname_id=member.geoname_id,
        image_id=member.image_id,
        label_id=member.label_id,
    )
