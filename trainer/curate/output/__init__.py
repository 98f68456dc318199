"""What is written at the end: a data set that others can learn from, and a report that a person can judge it by.

rows     a kept sample with its photograph's known place and all that is known of how it came about
write    parquet in the shape of MP16-Reason (arXiv 2506.14674), with our columns
read     the same read back, as examples for SFT and questions for GRPO
card     the data card beside it
summary  how a distillation stands, for the card and the report
page     the report: each filter with its counts and examples
"""
