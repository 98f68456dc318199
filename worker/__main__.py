"""`python -m worker` is the command `globetag`."""

from worker.cli import main

main()
