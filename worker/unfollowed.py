"""Promotions for a worker whose model is on a model server: it cannot load another, and says so once for each.

What a model server serves is changed there. So a promotion is told of in the log and, as a failure of this worker
to take it up, in `globetag models`; the worker goes on with what the server serves.
"""

import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from worker.queue.patience import first_line
from worker.registry import Standing

log = logging.getLogger(__name__)


class Unfollowed:
    """Looks at what is promoted, as a `Watcher` wants it, and never finds anything to change over to."""

    def __init__(
        self, look: Callable[[], Standing | None], on_problem: Callable[[Standing, str], None], server: str
    ) -> None:
        """`look` tells what is promoted; `on_problem` stores why it does not serve here."""
        self._look = look
        self._on_problem = on_problem
        self._server = server
        self._told: int | None = None

    def __call__(self) -> None:
        """Looks once. For the thread that watches."""
        standing = self._look()
        if standing is None or standing.registered is None or standing.promotion_id == self._told:
            return
        self._told = standing.promotion_id
        wanted = standing.registered
        problem = (
            f"this worker asks the model server {self._server}, which serves what it was started with: to take up"
            f" model version {wanted.id}, let a server serve {wanted.folder}, and give workers its name there"
            " (GLOBETAG_MODEL)"
        )
        log.warning("model version %s is promoted, but %s", wanted.id, problem)
        try:
            self._on_problem(standing, problem)
        except SQLAlchemyError as error:
            log.warning("that could not be stored with the promotion: %s", first_line(error))
