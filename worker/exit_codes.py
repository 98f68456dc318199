"""Exit codes that scripts can trust."""

DONE = 0
SETUP_IS_WRONG = 1
USAGE = 2  # click's own
SOME_FAILED = 3
INTERRUPTED = 130
