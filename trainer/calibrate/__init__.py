"""Makes calibrations: what turns the signs of an answer's difficulty into a radius that keeps its promise.

sample              photographs with known place: the signs of their difficulty, and how far off the answer was
hardness, shares    one number for the difficulty, and which share lies within which distance at that number
conformal           the level at which the radius keeps its promise, for clusters of photographs
risk                up to which hardness answers keep to a risk
fit, check          the whole, and what it keeps on photographs that it has not seen
make                the whole from the archive, and stored
archive, files      where photographs come from: the database, or published predictions
"""
