"""What there is to submit: files, folders, patterns, manifests, S3 prefixes and URLs become submissions."""

from worker.intake.sources.submission import Problem, Submission
from worker.intake.sources.targets import iter_submissions

__all__ = ["Problem", "Submission", "iter_submissions"]
