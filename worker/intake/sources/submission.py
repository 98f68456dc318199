"""The two things that listing a source can yield."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Submission:
    """One photograph to work on.

    `uri` is canonical: the same file always has the same one. `source_tag` is a cheap sign of its state
    (`worker.intake.fetch.source_tag`, or S3's ETag), None where unknown. `hints` holds what the sender knows,
    under "text", "region" and "date". `verify` asks for a prediction even where the camera recorded a place.
    """

    uri: str
    source_tag: str | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    collection: str | None = None
    verify: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not become a submission, so that it is counted and shown instead of lost.

    `where` is a path, an address or a manifest's line; `message` a sentence for a person. Both may quote
    untrusted text, made printable.
    """

    where: str
    message: str
