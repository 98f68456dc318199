"""When which photograph was in which stage of a worker: `python -m benchmarks.timeline [--quick]`."""
