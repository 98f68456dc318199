"""Turns a photograph into a place, or into a reason why not.

`pipeline.py` is the straight line; the folders are the parts it passes through: `intake` (bytes to picture),
`gate` (can it be placed?), `reason` (the LVLM), `place` (names to points), `queue` (jobs in, rows out).
"""
