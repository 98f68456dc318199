"""The made-up words of benchmarks.sql, and the arithmetic of benchmarks.scale."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.scale import Look, between
from benchmarks.sql.fill import images_of
from benchmarks.sql.words import sentences, vocabulary
from worker.errors import SetupError


def test_words_are_distinct_and_names_come_after_the_head():
    words = vocabulary(["Graz", "New York", "St. Gallen", "Graz"], 150)
    assert len(words) == len(set(words)) == 150
    assert words[0] == "the"
    assert "gallen" not in words[:100]
    with pytest.raises(ValueError, match="words, not"):
        vocabulary(["Graz"], 10_000)


def test_frequencies_fall_with_the_rank_and_the_seed_decides():
    words = [f"word{n}" for n in range(1000)]
    made = sentences(words, 3000, np.random.default_rng(5))
    assert made == sentences(words, 3000, np.random.default_rng(5))
    counted = Counter(word for sentence in made for word in sentence.lower().rstrip(".").split())
    for rank in (1, 10, 100):
        expected = (rank + 2.7) / (10 * rank + 2.7)
        assert counted[words[10 * rank - 1]] / counted[words[rank - 1]] == pytest.approx(expected, rel=0.35)
    assert all(8 <= len(sentence.split()) <= 16 for sentence in made)


@pytest.mark.parametrize("predictions", [5_000, 50_000, 1_000_000, 3_000_000, 10_000_000])
def test_no_photograph_has_more_than_two_answers(predictions):
    images = images_of(predictions)
    second = [1 + (n * 10) % images for n in range(1, min(predictions - images, 100_000) + 1)]
    assert len(set(second)) == len(second)
    assert images * 11 == pytest.approx(predictions * 10, abs=11)


def look(done, at_s, commits, wal_bytes, worker_s):
    parts = {"worker": worker_s, "postgres": worker_s / 2}
    return Look(done, at_s, commits, wal_bytes, parts, machine_cpu_s=2 * worker_s)


def test_what_an_image_costs():
    found = between(look(100, 10.0, 50, 1e6, 4.0), look(300, 20.0, 100, 3e6, 8.0))
    assert found == pytest.approx(
        {
            "per_s": 20,
            "commits_per_image": 0.25,
            "wal_kb_per_image": 10,
            "cpu_ms_worker": 20,
            "cpu_ms_postgres": 10,
            "share_worker": 0.4,
            "share_postgres": 0.2,
            "share_others": 0.2,
        }
    )


def test_a_standstill_is_no_measurement():
    with pytest.raises(SetupError, match="nothing was done"):
        between(look(100, 10.0, 0, 0, 0), look(100, 20.0, 0, 0, 0))
