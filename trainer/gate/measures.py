"""Is a chance what it says? Expected calibration error, reliability and Brier score."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.gate.logistic import Bools, Floats
from trainer.judge.ranking import Ranking

BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Photographs of similar chance: how many, the mean chance, and the share that was within the radius."""

    count: int
    mean_chance: float
    share_within: float


def reliability(chance_N: Floats, within_N: Bools, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Bins of about equally many photographs, by rising chance; equal chances are never parted."""
    if chance_N.size == 0:
        return ()
    first_N = np.searchsorted(np.sort(chance_N), chance_N, side="left")
    bin_N = first_N * bins // chance_N.size
    parts = [bin_N == number for number in np.unique(bin_N)]
    return tuple(
        ReliabilityBin(int(part.sum()), float(chance_N[part].mean()), float(within_N[part].mean()))
        for part in parts
    )


def calibration_error(chance_N: Floats, within_N: Bools, bins: int = BINS) -> float:
    """ECE (Naeini et al., AAAI 2015) over bins of equal count: the mean gap of chance and share.

    With few photographs it is above 0 for a perfect forecast too: about 0.4 / sqrt(photographs in a bin).
    """
    found = reliability(chance_N, within_N, bins)
    return float(sum(each.count * abs(each.mean_chance - each.share_within) for each in found) / chance_N.size)


def brier(chance_N: Floats, within_N: Bools) -> float:
    """The mean square gap of chance and outcome."""
    return float(np.mean((chance_N - within_N) ** 2))


def figures(chance_N: Floats, within_N: Bools) -> dict[str, Any]:
    """All of them for one radius, as a card keeps them."""
    ranking = Ranking(chance_N, within_N)
    auroc = ranking.auroc()
    return {
        "share_within": float(within_N.mean()),
        "auroc": None if np.isnan(auroc) else auroc,
        "aurc": ranking.aurc(),
        "brier": brier(chance_N, within_N),
        "ece": calibration_error(chance_N, within_N),
        "reliability": [asdict(each) for each in reliability(chance_N, within_N)],
    }
