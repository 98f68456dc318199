"""Which share of photographs lies within which distance, by hardness: isotonic distributional regression.

For each distance the share is fitted by isotonic regression on the hardness (Henzi, Ziegel, Gneiting, J. R. Stat.
Soc. B 83(5), 2021), on groups of like hardness. Pooling keeps the order between distances, so that all shares
together are distributions, and the harder photograph never has the better one.
"""

import numpy as np

from trainer.calibrate.sample import Floats
from worker.place.radius import RADII_KM, Shares

_PER_LEVEL = 25
_MAX_LEVELS = 12
_PRIOR = 2.0
"""Every level counts as if it held so many more photographs that are as all are: no share is quite 0 or 1."""
_TILT = 1e-3
"""Part of the shares that rises evenly, so that each share belongs to one distance."""


def fit_shares(hardness_N: Floats, error_km_N: Floats, *, per_level: int = _PER_LEVEL) -> Shares:
    """The shares for photographs of these hardnesses and errors. N is 1 or more."""
    levels = int(np.clip(hardness_N.size // per_level, 1, _MAX_LEVELS))
    order = np.argsort(hardness_N, kind="stable")
    parts = _without_ties(hardness_N, [part for part in np.array_split(order, levels) if part.size])
    inside_N_Z = (error_km_N[:, None] <= np.array(RADII_KM)[None, :]).astype(np.float64)
    overall_Z = inside_N_Z.mean(axis=0)
    size_L = np.array([part.size for part in parts], dtype=np.float64)
    share_L_Z = np.array(
        [(inside_N_Z[part].sum(axis=0) + _PRIOR * overall_Z) / (part.size + _PRIOR) for part in parts]
    )
    for z in range(share_L_Z.shape[1]):
        share_L_Z[:, z] = falling(share_L_Z[:, z], size_L)
    tilt_Z = np.linspace(0.0, 1.0, len(RADII_KM))
    share_L_Z = np.clip((1 - _TILT) * share_L_Z + _TILT * tilt_Z, 0.0, 1.0)
    share_L_Z[:, -1] = 1.0
    return Shares(np.array([hardness_N[part].mean() for part in parts]), share_L_Z)


def falling(value_L: Floats, weight_L: Floats) -> Floats:
    """The nearest sequence, in weighted squares, that never rises: pool adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(value_L.tolist(), weight_L.tolist(), strict=True):
        mean, total, length = value, weight, 1
        while blocks and blocks[-1][0] < mean:
            before, its_weight, its_length = blocks.pop()
            mean = (mean * total + before * its_weight) / (total + its_weight)
            total, length = total + its_weight, length + its_length
        blocks.append((mean, total, length))
    return np.concatenate([np.full(length, mean) for mean, _, length in blocks])


def _without_ties(hardness_N: Floats, parts: list[np.ndarray]) -> list[np.ndarray]:
    """Levels whose mean hardness is the same are one: photographs of one hardness have one share."""
    joined = [parts[0]]
    for part in parts[1:]:
        if hardness_N[part].mean() - hardness_N[joined[-1]].mean() <= 1e-9:
            joined[-1] = np.concatenate([joined[-1], part])
        else:
            joined.append(part)
    return joined
