"""Supervised fine-tuning: a model learns to say what the examples say.

recipe, examples            every figure of a training, from one file; picture, prompt and completion
collator                    examples -> padded tensors, with the loss on the completion alone
muon                        an optimiser for matrices
fine_tune                   all of it, on TRL: a new checkpoint
"""
