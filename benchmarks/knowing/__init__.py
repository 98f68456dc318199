"""Knowing when not: how well the whole pipeline knows what it does not know, on scenes of the Atlas.

store, scenes     raw answers of the model, drawn once; what is known of the scenes they are about
parts             the parts of the study, each on stored answers alone
gate, asking, recall, radius, refusals
                  trained head; several answers; similar photographs; calibrated radius; abstention
ideal             answers of the best possible observer, for tests of the radius
"""
