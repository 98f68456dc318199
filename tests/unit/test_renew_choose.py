"""Which photographs are asked about for a calibration: as many places as can be, and the same each time."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trainer.renew.choose import spread


@given(
    groups=st.lists(st.integers(0, 8), max_size=60),
    count=st.integers(0, 70),
)
def test_each_group_gives_its_next_only_when_all_others_have_given_theirs(groups, count):
    group_of = dict(enumerate(groups))
    sha_of = {image_id: f"{image_id:064}" for image_id in group_of}
    taken = spread(group_of, sha_of, count)
    assert len(taken) == len(set(taken)) == min(count, len(groups))
    given_by, held = Counter(group_of[image_id] for image_id in taken), Counter(groups)
    most = max(given_by.values(), default=0)
    for group in held:
        assert given_by[group] >= min(held[group], most - 1)
    assert taken == spread(dict(reversed(group_of.items())), sha_of, count)
