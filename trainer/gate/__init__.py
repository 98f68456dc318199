"""Fits the gate's head to outcomes: which photographs did this pipeline place, and how near?

`outcomes` reads them, `logistic` and `fit` make the head out of them, `risk` chooses its threshold, `measures`
says how good it is on places that it has not seen, and `baselines` are what it must beat.
"""
