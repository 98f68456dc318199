"""Does the GPU have room for the LVLM beside what is on it already? Asked before minutes of loading, not after."""

import math

from worker.errors import SetupError

_GIB = 2**30


def refuse_too_little(free_bytes: int, total_bytes: int, share: float) -> None:
    """Raises `SetupError` with both numbers and what to do where less than `share` of the GPU is free."""
    wanted_bytes = share * total_bytes
    if free_bytes >= wanted_bytes:
        return
    fits = math.floor(100 * free_bytes / total_bytes) / 100
    cure = f"set GLOBETAG_GPU_MEMORY_SHARE={fits:.2f}, or stop" if fits >= 0.1 else "stop"
    raise SetupError(
        f"GLOBETAG_GPU_MEMORY_SHARE={share:g} of the GPU's {total_bytes / _GIB:.1f} GiB are"
        f" {wanted_bytes / _GIB:.1f} GiB; beside the gate and others only {free_bytes / _GIB:.1f} GiB are free:"
        f" {cure} what else uses the GPU"
    )
