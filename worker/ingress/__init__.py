"""Messages of strangers become jobs, or a row that says why not.

`reading` takes one message apart and touches nothing; `register` writes jobs for a group of them. They come
from RabbitMQ (`amqp`) and from the database (`tables`: rows of `submission`, messages of the embedded broker);
`ingress` runs both.
"""
