"""The models that verification looks and compares with, as the settings name them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from trainer.curate.opinions import Subject
from trainer.curate.originals import Fetch, Original
from trainer.curate.see.looker import Bounds, Looker
from trainer.curate.verify import Similarity, Visible
from worker.intake.limits import Limits
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Eyes:
    """What `trainer.curate.verify.verify` takes; None: no such model is set, and nobody judges that.

    `described` names the models with their versions, for the row of the distillation; `notes` are sentences for a
    person. `close` gives the models' threads and memory back.
    """

    similarity: Similarity | None = None
    visible: Visible | None = None
    described: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None


def open_eyes(
    settings: Settings,
    fetch: Fetch,
    *,
    limits: Limits | None = None,
    bounds: Bounds | None = None,
    on_seen: Callable[[int], None] = lambda _: None,
) -> Eyes:
    """Loads what GLOBETAG_SENTENCES, GLOBETAG_SEGMENTER and GLOBETAG_MATCHER name.

    Originals are fetched with `fetch`, and only bytes that were asked about are looked at. `on_seen` is told how
    many more photographs were. Raises `SetupError` where a model cannot be loaded.
    """
    described: dict[str, Any] = {}
    notes: list[str] = []
    similarity: Similarity | None = None
    if settings.sentences is None:
        notes.append("reasons are not compared: GLOBETAG_SENTENCES names no text encoder")
    else:
        from trainer.curate.see.embed import load_embedder

        embedder = load_embedder(settings.sentences, device=settings.device)
        described["sentences"] = _of(embedder.checkpoint)
        similarity = embedder.similarity
    if settings.segmenter is None and settings.matcher is None:
        notes.append("nobody looks for what is named: neither GLOBETAG_SEGMENTER nor GLOBETAG_MATCHER is set")
        return Eyes(similarity, None, described, tuple(notes))
    segmenter = matcher = None
    if settings.segmenter is not None:
        from trainer.curate.see.segment import load_segmenter

        segmenter = load_segmenter(settings.segmenter, device=settings.device)
        described["segmenter"] = _of(segmenter.checkpoint)
    if settings.matcher is not None:
        from trainer.curate.see.match import load_matcher

        matcher = load_matcher(settings.matcher, device=settings.device)
        identity = matcher.identity
        described["matcher"] = {
            "name": identity.name,
            "version": identity.version,
            "untrained": identity.untrained,
        }
    notes += [f"the {role} {about['name']} is untrained: what it says means nothing" for role, about in
              described.items() if about["untrained"]]  # fmt: skip

    def open_picture(subject: Subject) -> Image.Image:
        return Original(subject.uri, subject.id, fetch, limits or Limits())()

    looker = Looker(open_picture, segmenter, matcher, bounds, on_seen=on_seen)
    return Eyes(
        similarity, looker, described, tuple(notes), matcher.close if matcher is not None else lambda: None
    )


def _of(checkpoint: Any) -> dict[str, Any]:
    return {"name": checkpoint.name, "version": checkpoint.version, "untrained": checkpoint.untrained}
