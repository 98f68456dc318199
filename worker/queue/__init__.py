"""Jobs in, rows out: Celery, the dispatcher, the group-committing recorder, events."""
