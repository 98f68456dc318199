"""May this photograph be learnt from? Two must agree: its file and the archive.

The file speaks through `plus:DataMining` (IPTC Photo Metadata 2023.1, PLUS vocabulary). Only the two values that
forbid nothing let it pass: each of the prohibitions covers a model that generates text, and what cannot be
understood counts as one. The archive speaks through the consent of the collection, without which nothing passes.
"""

from trainer.curate.labels import Dropped

FREE = frozenset({"DMI-UNSPECIFIED", "DMI-ALLOWED"})
"""The values of the vocabulary that reserve no right."""


def refusal(data_mining: str | None, *, consented: bool) -> Dropped | None:
    """Why it may not be used; None where it may. `data_mining` None: the file says nothing."""
    if not consented:
        return Dropped.NO_CONSENT
    if data_mining is not None and data_mining.strip() not in FREE:
        return Dropped.RIGHTS_RESERVED
    return None
