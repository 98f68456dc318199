"""The room that the LVLM needs beside what is on the GPU already."""

import pytest

from worker.errors import SetupError
from worker.reason.engines.memory import refuse_too_little

GIB = 2**30


def test_room_enough_is_no_problem():
    refuse_too_little(70 * GIB, 80 * GIB, 0.85)


def test_too_little_room_names_both_numbers_and_what_would_fit():
    with pytest.raises(SetupError, match=r"68\.0 GiB.* 40\.0 GiB are free.*GLOBETAG_GPU_MEMORY_SHARE=0\.50"):
        refuse_too_little(40 * GIB, 80 * GIB, 0.85)


def test_a_full_gpu_is_no_matter_of_a_smaller_share():
    with pytest.raises(SetupError, match="stop what else uses the GPU") as refusal:
        refuse_too_little(GIB, 80 * GIB, 0.85)
    assert "set GLOBETAG" not in str(refusal.value)
