"""What runs beside a dispatcher: the relay of events, and the delivery to webhooks."""

import threading
from collections.abc import Sequence
from typing import Protocol

from celery import Celery
from sqlalchemy import Engine

from schema import queries
from worker.events.deliverer import Deliverer
from worker.events.posting import Poster
from worker.events.publisher import Publisher
from worker.events.relay import Relay
from worker.settings import Settings


class Loop(Protocol):
    """Runs until it is stopped."""

    def run(self) -> None:
        """A thread's target."""

    def stop(self) -> None:
        """Ends `run` soon; does not wait."""


class Beside:
    """Loops in threads of their own. They end one after the other: what one hands on, the next still takes."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Returns at once."""
        for loop in self._loops:
            thread = threading.Thread(target=loop.run, name=type(loop).__name__.lower(), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout_s: float | None = None) -> None:
        """Stops the loops, waiting up to `timeout_s` for each. Nothing is lost where one does not end in time."""
        for loop, thread in zip(self._loops, self._threads, strict=False):
            loop.stop()
            thread.join(timeout_s)


def ways_out(settings: Settings, database: Engine, app: Celery) -> Beside:
    """The loops that bring events out, not started."""
    relay = Relay(database, Publisher(app), keep_days=settings.events_keep_days)
    deliverer = Deliverer(database, Poster(allow_private=settings.allow_private_addresses))
    return Beside((relay, deliverer))


def switch_events(settings: Settings, database: Engine) -> None:
    """Makes the database do as GLOBETAG_EVENTS says: all processes share one switch, and the last one that sets it
    counts. Unset leaves it as it is."""
    if settings.events is not None:
        with database.begin() as connection:
            connection.execute(queries.events.SET_PUBLISHING, {"publish": settings.events == "on"})
