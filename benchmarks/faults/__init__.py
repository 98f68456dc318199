"""What is left of the work when everything around it breaks: `python -m benchmarks.faults`."""
