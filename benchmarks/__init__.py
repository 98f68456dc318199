"""Measurements, one file each: `python -m benchmarks.<name> [--quick]`; the last line printed is a JSON object."""
