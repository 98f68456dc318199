"""Improves the worker: curates, trains, judges and promotes models. The worker knows nothing of it."""
