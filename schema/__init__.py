"""What is stored and sent: tables, every SQL statement, views, migrations, messages, queue names.

Nothing here imports the worker, the trainer or the atlas; they all import this.
"""
