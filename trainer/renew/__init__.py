"""Makes calibrations anew without a person: after a promotion, before one expires, when settings have changed.

due       which calibrations what serves is without, and how those before them were made
choose    which photographs of known place are asked about
renew     one look: asks, waits, calibrates or says why not; all of its state is in `calibration_renewal`
watch     looks again and again, beside the training worker
told      how it stands, in a line for people
"""
