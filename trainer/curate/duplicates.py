"""Near-duplicates by the stored embeddings of the gate: exact cosine, in blocks.

Time grows with the square of the photographs: 2 N² D operations, and N·D·4 bytes are held.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.curate.labels import Embedding

_BLOCK = 1024


def near_duplicates(
    ids: Sequence[int],
    embeddings: Mapping[int, Embedding],
    *,
    least_cosine: float,
    fixed: Collection[int] = (),
) -> dict[int, int]:
    """Which ids repeat which: {dropped id: the id that stands for it}.

    `ids` come in order of preference, and each is kept unless an earlier kept one is at least as like it as
    `least_cosine`, or it is among the `fixed`, which are kept anyhow. So what is kept repeats nothing else that is
    kept. Embeddings of different models are not compared.
    """
    by_model: dict[int, list[int]] = defaultdict(list)
    for image_id in ids:
        by_model[embeddings[image_id].model_id].append(image_id)
    found: dict[int, int] = {}
    for members in by_model.values():
        found |= _of_one_model(members, embeddings, least_cosine, frozenset(fixed))
    return found


def _of_one_model(
    ids: list[int], embeddings: Mapping[int, Embedding], least_cosine: float, fixed: frozenset[int]
) -> dict[int, int]:
    found: dict[int, int] = {}
    kept: list[int] = []
    vectors_K_D = np.empty((len(ids), embeddings[ids[0]].vector_D.size), dtype=np.float32)
    for start in range(0, len(ids), _BLOCK):
        block = ids[start : start + _BLOCK]
        block_B_D = _unit(np.stack([embeddings[image_id].vector_D for image_id in block]))
        likest_B, to_B = _likest(block_B_D, vectors_K_D[: len(kept)])
        within_B_B = block_B_D @ block_B_D.T
        chosen: list[int] = []
        for row, image_id in enumerate(block):
            like = within_B_B[row, chosen] >= least_cosine
            if image_id in fixed:
                chosen.append(row)
            elif likest_B[row] >= least_cosine:
                found[image_id] = kept[to_B[row]]
            elif like.any():
                found[image_id] = block[chosen[int(like.argmax())]]
            else:
                chosen.append(row)
        vectors_K_D[len(kept) : len(kept) + len(chosen)] = block_B_D[chosen]
        kept += [block[row] for row in chosen]
    return found


def _likest(
    block_B_D: NDArray[np.float32], kept_K_D: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The highest cosine of each row to the kept ones, and to which of them; -2 where none is kept yet."""
    best_B = np.full(len(block_B_D), -2.0, dtype=np.float32)
    to_B = np.zeros(len(block_B_D), dtype=np.int64)
    for start in range(0, len(kept_K_D), 8 * _BLOCK):
        cosine_B_K = block_B_D @ kept_K_D[start : start + 8 * _BLOCK].T
        at_B = cosine_B_K.argmax(axis=1)
        likest_B = cosine_B_K[np.arange(len(at_B)), at_B]
        better_B = likest_B > best_B
        best_B[better_B], to_B[better_B] = likest_B[better_B], at_B[better_B] + start
    return best_B, to_B


def _unit(vectors_B_D: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stored as halves, so that their lengths are a little off 1. A zero vector is like nothing."""
    length_B = np.linalg.norm(vectors_B_D, axis=1, keepdims=True)
    return np.asarray(vectors_B_D / np.maximum(length_B, 1e-12), dtype=np.float32)
