"""Ask Globetag for a photograph: plain JSON over AMQP, with kombu and without Globetag's own package.

python submit.py amqp://shop:PASSWORD@rabbitmq.example// s3://archive/1931/0042.tif "glass negatives"
"""

import sys
import uuid

from kombu import Connection


def submit(broker_url: str, uri: str, collection: str) -> None:
    """Returns once the broker has the message safe. It may be sent again after any error: one job results."""
    with Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        connection.Producer(serializer="json").publish(
            {"uri": uri, "collection": collection, "hints": {"region": "Styria"}},
            exchange="geotag.ingress",
            routing_key="geotag.ingress",
            delivery_mode="persistent",
            message_id=str(uuid.uuid4()),
            retry=True,
        )


if __name__ == "__main__":
    submit(*sys.argv[1:])
