"""The manifest of a curation: what may be learnt from, what is held out, and how that came about.

It is a value with a hash. The same database, parameters and seed give the same hash, in whatever order the rows
come. Stored, it is immutable; only the erasure of a photograph takes its row along.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from schema import queries
from schema.reasons import LabelSource
from trainer.curate.labels import Dropped, Known, Side
from trainer.curate.rights import refusal
from worker.errors import SetupError

FORMAT = 1
"""Goes into the hash; raised when the same rows would be chosen or written otherwise."""
_ROWS_PER_INSERT = 5000


@dataclass(frozen=True, slots=True)
class Parameters:
    """All that is chosen, with the seed. Stored with the manifest and part of its hash.

    `since_label`: only labels with a higher id; `since`: only those from this moment on (ISO 8601). `cell_km` is
    the edge of a place cell; within `buffer_km` the sides do not face each other over a cell's border. Photographs
    at least as alike as `duplicate_cosine` are one. `series_minutes`: so near in time, those of a folder are a
    series; `whole_folders`: whatever the time. Labels less accurate than `max_accuracy_km` are dropped; those that
    state no accuracy are not.
    """

    collection: str | None = None
    since_label: int | None = None
    since: str | None = None
    min_labels: int = 100
    held_out_share: float = 0.1
    cell_km: float = 50.0
    buffer_km: float = 1.0
    duplicate_cosine: float = 0.97
    cell_cap: int = 200
    country_cap: int = 20_000
    series_minutes: float = 30.0
    whole_folders: bool = False
    max_accuracy_km: float = 25.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """One photograph of a manifest. `cell` is named by `trainer.curate.cells.Grid`."""

    image_id: int
    sha256: str
    side: Side
    label_id: int
    source: LabelSource
    lat: float
    lon: float
    country_code: str
    region: str | None
    city: str | None
    geoname_id: int | None
    cell: str
    uri: str

    @classmethod
    def of(cls, known: Known, side: Side, cell: str) -> "Member":
        """The member that a known place becomes; its country is known and it has an address by now."""
        assert known.country_code is not None
        return cls(
            image_id=known.image_id,
            sha256=known.sha256,
            side=side,
            label_id=known.label_id,
            source=known.source,
            lat=known.lat + 0.0,  # JSON in Postgres knows no -0.0, and the hash must come out the same
            lon=known.lon + 0.0,
            country_code=known.country_code,
            region=known.region,
            city=known.city,
            geoname_id=known.geoname_id,
            cell=cell,
            uri=known.uris[0],
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """`members` by content hash. `labels_in = len(train) + len(held_out) + sum(dropped)`, always.

    `labels_until`: the newest label that was looked at. `dropped_sha256` says what became of the others; it is not
    stored, the counts in `dropped` are.
    """

    parameters: Parameters
    members: tuple[Member, ...]
    dropped: Mapping[Dropped, int]
    labels_until: int
    dropped_sha256: Mapping[str, Dropped] = field(default_factory=dict)

    @property
    def train(self) -> tuple[Member, ...]:
        """What may be learnt from."""
        return tuple(member for member in self.members if member.side is Side.TRAIN)

    @property
    def held_out(self) -> tuple[Member, ...]:
        """What models are judged by."""
        return tuple(member for member in self.members if member.side is Side.HELD_OUT)

    @property
    def labels_in(self) -> int:
        """How many photographs with a known place were in scope."""
        return len(self.members) + sum(self.dropped.values())

    @property
    def hash(self) -> str:
        """SHA-256, hexadecimal, over parameters, members (but not their addresses) and counts."""
        members = [{**asdict(member), "uri": None} for member in sorted(self.members, key=lambda m: m.sha256)]
        said = {
            "format": FORMAT,
            "parameters": asdict(self.parameters),
            "members": members,
            "dropped": {str(reason): count for reason, count in self.dropped.items() if count},
        }
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file: counts, members, and which filter dropped which content hash."""
        return {
            "hash": self.hash,
            "parameters": asdict(self.parameters),
            "labels_until": self.labels_until,
            "labels_in": self.labels_in,
            "train": len(self.train),
            "held_out": len(self.held_out),
            "dropped": {str(reason): count for reason, count in self.dropped.items() if count},
            "members": [asdict(member) for member in self.members],
            "dropped_sha256": {sha256: str(reason) for sha256, reason in sorted(self.dropped_sha256.items())},
        }


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest out of the database, as far as it may be used today.

    `members` lack those `erased` since, of which nothing is known any more, and those whose rights were
    `withdrawn` (with the reason why).
    """

    id: int
    hash: str
    parameters: Mapping[str, Any]
    labels_in: int
    members: tuple[Member, ...]
    dropped: Mapping[Dropped, int]
    labels_until: int
    erased: int
    withdrawn: Mapping[Dropped, int]

    def side(self, side: Side) -> tuple[Member, ...]:
        """The members of one side."""
        return tuple(member for member in self.members if member.side is side)


def store(connection: Connection, manifest: Manifest) -> tuple[int, bool]:
    """Writes the manifest; returns its id, and whether it is new: one with the same hash is not stored twice."""
    known = connection.execute(queries.curation.CURATION_BY_HASH, {"hash": manifest.hash}).scalar_one_or_none()
    if known is not None:
        return int(known), False
    curation_id = int(
        connection.execute(
            queries.curation.ADD_CURATION,
            {
                "hash": manifest.hash,
                "collection": manifest.parameters.collection,
                "labels_until": manifest.labels_until,
                "parameters": orjson.dumps(asdict(manifest.parameters)).decode(),
                "labels_in": manifest.labels_in,
                "train": len(manifest.train),
                "held_out": len(manifest.held_out),
                "dropped": orjson.dumps(manifest.to_json()["dropped"]).decode(),
            },
        ).scalar_one()
    )
    for start in range(0, len(manifest.members), _ROWS_PER_INSERT):
        rows = orjson.dumps(manifest.members[start : start + _ROWS_PER_INSERT]).decode()
        connection.execute(queries.curation.ADD_CURATION_MEMBERS, {"curation_id": curation_id, "rows": rows})
    return curation_id, True


def load_manifest(engine: Engine, curation_id: int | None = None) -> Stored:
    """The stored manifest of that id, by default the latest.

    Raises `SetupError` where there is none, and where its rows are not those that its hash was made of.
    """
    with engine.connect() as connection:
        row = connection.execute(queries.curation.READ_CURATION, {"id": curation_id}).one_or_none()
        if row is None:
            which = "there is no curation" if curation_id is None else f"there is no curation {curation_id}"
            raise SetupError(f"{which}: run `globetag curate`")
        found = connection.execute(queries.curation.READ_CURATION_MEMBERS, {"id": row.id}).all()
    members: list[Member] = []
    usable: list[Member] = []
    withdrawn: dict[Dropped, int] = {}
    for each in found:
        fields = dict(each._mapping)
        reason = refusal(fields.pop("data_mining"), consented=fields.pop("consented"))
        fields |= {"side": Side(each.side), "source": LabelSource(each.source)}
        members.append(Member(**fields))
        if reason is None:
            usable.append(members[-1])
        else:
            withdrawn[reason] = withdrawn.get(reason, 0) + 1
    dropped = {Dropped(name): count for name, count in row.dropped.items()}
    erased = row.train + row.held_out - len(members)
    again = Manifest(Parameters(**row.parameters), tuple(members), dropped, row.labels_until)
    if erased < 0 or (erased == 0 and again.hash != row.hash):
        raise SetupError(f"the rows of curation {row.id} are not those that its hash was made of: curate anew")
    return Stored(
        id=row.id,
        hash=row.hash,
        parameters=row.parameters,
        labels_in=row.labels_in,
        members=tuple(usable),
        dropped=dropped,
        labels_until=row.labels_until,
        erased=erased,
        withdrawn=withdrawn,
    )
