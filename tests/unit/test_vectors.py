"""The synthetic embeddings that searches are measured on, and the exact answers that they are held against."""

import numpy as np
import pytest

from benchmarks import vectors


def test_the_same_seed_gives_the_same_unit_vectors_block_by_block():
    count = vectors.BLOCK + 50
    one, other = vectors.archive(count, seed=3), vectors.archive(count, seed=3)
    blocks = list(one.blocks())
    assert [len(block) for block in blocks] == [vectors.BLOCK, 50]
    assert np.array_equal(blocks[1], other.block(1))
    assert not np.array_equal(blocks[1], vectors.archive(count, seed=4).block(1))
    assert np.linalg.norm(blocks[0], axis=1) == pytest.approx(1, abs=1e-5)


def test_photographs_of_a_place_are_more_alike_than_others_and_all_lie_in_a_cone():
    archive = vectors.archive(400)
    block = archive.block(0)
    cosine = block @ block.T
    same = archive.place_N[:, None] == archive.place_N[None, :]
    apart = ~same
    np.fill_diagonal(same, False)
    assert np.median(cosine[apart]) == pytest.approx(0.5, abs=0.1)
    assert np.median(cosine[same]) > np.quantile(cosine[apart], 0.99)


def test_the_nearest_are_the_nearest_of_those_that_count():
    archive = vectors.archive(300)
    queries = archive.queries(7)
    excluded = np.arange(300) % 3 == 0
    numbers, cosines = vectors.nearest(archive, queries, 5, excluded)
    expected = queries @ archive.block(0).T
    expected[:, excluded] = -2
    assert np.array_equal(numbers, np.argsort(-expected, axis=1)[:, :5])
    assert cosines == pytest.approx(np.sort(expected, axis=1)[:, ::-1][:, :5])


@pytest.mark.parametrize("dimensions", [4, 12])
def test_the_local_dimension_of_a_sphere_is_its_own(dimensions):
    random = np.random.default_rng(0)
    points = random.normal(size=(40_000, dimensions + 1))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cosines = np.sort(points[:50] @ points[50:].T, axis=1)[:, ::-1][:, :100]
    assert np.median(vectors.lid(cosines.astype(np.float32))) == pytest.approx(dimensions, rel=0.15)
