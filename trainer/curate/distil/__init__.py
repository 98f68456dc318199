"""Asking teachers about photographs of known place, and what becomes of their answers.

GLOBE (arXiv 2506.14674) calls it distillation. `asking` runs it; each teacher has a `lane` of threads; `ledger`
writes what was asked and what came; `reading` makes opinions of what is stored; `verifying` has them judged.
"""
