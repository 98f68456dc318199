"""Our worker beside what one would otherwise write: `python -m benchmarks.peers [--quick]`.

Each contender is a module with a `main` that loads its model and then works on the folders that it is told, one
turn after another (`benchmarks.peers.turns`).
"""
