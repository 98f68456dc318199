"""A small closed world with known truth, and the models that live in it. Import what you need from its modules.

Nothing is imported here: `atlas.model` needs torch, and most of what stands beside it does not.
"""
