"""The examples that a stored manifest stands for. Originals stay where they are and are fetched when their turn
comes.

A manifest remembers content hashes, not pictures. An original that has changed since or is gone is
left out and counted; none is ever used that is not byte for byte the one that was labelled.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import overload

from PIL import Image

from trainer.curate.labels import Side
from trainer.curate.manifest import Member, Stored
from trainer.sft.examples import Example
from worker.errors import GlobetagError, JobError, SetupError
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.place.countries import Countries
from worker.reason.answer import Answer, render
from worker.reason.engines import Prompt
from worker.reason.prompt import build_prompt

Fetch = Callable[[str], bytes]
"""`worker.intake.fetch.Fetcher.fetch`: the bytes at an address, or a `JobError`."""

CHANGED = "changed"
"""Why an original is left out: it is not the one that was labelled. The other words are
`schema.reasons.Reason`."""


class OriginalChanged(GlobetagError):
    """The bytes at an address are not those that were labelled."""


@dataclass(frozen=True, slots=True)
class Original:
    """Fetches and decodes one photograph when called: upright RGB, as `worker.intake.picture.decode` gives it.

    Raises `OriginalChanged` where its content is another than was labelled, and what fetching and decoding raise.
    """

    uri: str
    sha256: str
    fetch: Fetch
    limits: Limits = field(default_factory=Limits)

    def read(self) -> bytes:
        """The bytes that were labelled."""
        data = self.fetch(self.uri)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise OriginalChanged(f"{self.uri} is not the file any more that was labelled ({self.sha256[:12]}…)")
        return data

    def __call__(self) -> Image.Image:
        return decode(self.read(), self.limits).image


@dataclass(frozen=True, slots=True)
class Examples(Sequence[Example]):
    """Examples in the order of content hashes, their pictures yet to be fetched.

    `left_out` counts the members that are none, by reason: `len(self) + sum(left_out.values())` is their number.
    """

    members: tuple[Member, ...]
    prompt: Prompt
    fetch: Fetch
    limits: Limits
    country_names: Mapping[str, str]
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self._example(member) for member in self.members[index]]
        return self._example(self.members[index])

    def _example(self, member: Member) -> Example:
        picture = Original(member.uri, member.sha256, self.fetch, self.limits)
        return Example(member.sha256, picture, self.prompt, completion(member, self.country_names))


def completion(member: Member, country_names: Mapping[str, str]) -> str:
    """What a model should answer where nobody has written down reasons: the place that the label names."""
    country = country_names[member.country_code]
    return render(Answer(country=country, region=member.region, city=member.city))


def examples_of(
    manifest: Stored,
    fetch: Fetch,
    *,
    side: Side = Side.TRAIN,
    prompt: Prompt | None = None,
    limits: Limits | None = None,
    threads: int = 8,
    look: bool = True,
) -> Examples:
    """What can be learnt from, or judged by, one side of a manifest.

    With `look` each original is fetched once now, by so many `threads`, and those that are gone or changed are
    left out and counted; without it they show when their picture is opened, as an exception. Originals may also
    change between now and then: opening one checks it again. Raises `SetupError` where not one original is left.
    """
    limits = limits or Limits()
    members = manifest.side(side)
    left_out: Counter[str] = Counter()
    if look:
        with ThreadPoolExecutor(threads, thread_name_prefix="originals") as pool:
            faults = list(pool.map(lambda member: _fault(member, fetch, limits), members))
        left_out.update(fault for fault in faults if fault is not None)
        members = tuple(member for member, fault in zip(members, faults, strict=True) if fault is None)
    if not members:
        told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items())) or "it has none"
        raise SetupError(f"no original of the {side} side of curation {manifest.id} can be used ({told})")
    names = {code: country.name for code, country in Countries().by_code.items()}
    return Examples(members, prompt or build_prompt(), fetch, limits, names, dict(left_out))


def _fault(member: Member, fetch: Fetch, limits: Limits) -> str | None:
    try:
        Original(member.uri, member.sha256, fetch, limits).read()
    except OriginalChanged:
        return CHANGED
    except JobError as error:
        return str(error.reason)
    return None
