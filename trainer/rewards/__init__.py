"""Rewards for reinforcement learning: how good was this completion, seen from what is known of the picture?

base                        completions and the data set's columns become samples; what a failure is
format, geo                 our rewards of form and place
visual, cues                stated cues against verified ones; the reader of cues in free text
locatable, calibration      P(placeable), and what answering or abstaining is worth then
endpoint                    asks a judge model for P(yes) over HTTP
globe                       the published formulas of GLOBE (arXiv 2506.14674)
weights                     named weights, and the set that sums the parts

A reward that cannot judge says None; one that fails raises `RewardFailed`. Neither ever becomes 0.
"""
