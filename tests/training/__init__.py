"""Real training on tiny models."""
