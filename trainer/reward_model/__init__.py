"""The locatability reward model: does a photograph, with the reasons given, suffice to tell the place?

recipe, data          every figure of a training; samples with a yes or a no, and how they are parted
train                 a vision-language model learns to say yes or no, by the supervised trainer
judge                 its P(yes), asked of the weights directly
calibrate, card       makes P(yes) mean what it says on places not seen; what the folder tells of itself
make                  all of it, from samples to a folder that any OpenAI-compatible server serves
curated, judged       where samples come from: curation, or stored predictions with known places

GLOBE (arXiv 2506.14674, Eq. 1) rewards with such a model and published neither its data nor its weights.
"""
