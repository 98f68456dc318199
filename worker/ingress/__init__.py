"""Messages of strangers become jobs, or a row that says why not.

`reading` takes one message apart and touches nothing; `register` writes a group of them into the database;
`amqp`, `pgmq` and `submissions` are the three places that messages come from; `ingress` runs them.
"""
