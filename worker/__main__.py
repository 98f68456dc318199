"""`python -m worker` is the command `globetag`."""

from worker.cli import main

if __name__ == "__main__":  # vLLM's processes import this file under another name
    main()
