"""A relay whose process is killed (SIGKILL) between the broker's confirmation of an event and its mark.

    python -m tests.integration.dying_relay DATABASE_URL BROKER_URL COUNT

It dies with event number COUNT. BROKER_URL is empty for the database as broker.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.database import open_database
from worker.events.publisher import Publisher
from worker.events.relay import Relay
from worker.queue.app import make_app
from worker.settings import Settings


class DyingPublisher(Publisher):
    """Publishes in earnest, and is killed right after the confirmation of one event."""

    left = 0

    def publish(self, event: Mapping[str, Any]) -> None:
        super().publish(event)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(database_url: str, broker_url: str, count: str) -> None:
    settings = Settings(home=Path("unused"), database_url=database_url, broker_url=broker_url or None)
    with open_database(settings) as database:
        publisher = DyingPublisher(make_app(settings, database.url))
        publisher.left = int(count)
        Relay(database.engine, publisher, keep_days=1).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
