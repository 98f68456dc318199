"""A small closed world with known truth, and the models that live in it. Import what you need from its modules.

Nothing heavy is imported here: `atlas.model` needs torch, and most of what stands beside it does not.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The trained small models that come along: folders `vlm-best`, `vlm-start`, `clip` and `segmenter`."""
