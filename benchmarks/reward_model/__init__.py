"""The locatability reward model on the Atlas, beside the gate's head.

scenes     samples out of the stored answers of `benchmarks.knowing`, split by place
study      one seed: train, calibrate, ask about scenes of places that were not trained on
answers    what was said, kept so that figures can be worked out again
figures    order and calibration, with intervals over photographers
"""
