"""What goes wrong, as problem details (RFC 9457): one shape for every answer that is not what was asked for."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """Ends a request. `detail` is a sentence for whoever sent it, and tells nothing else of us.

    `errors` names the faulty parts, each with a JSON pointer (RFC 6901) into the body, as in RFC 9457, section 3.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The problem as it is sent. Its type is `about:blank`: the status says what kind it is."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(orjson.dumps(body), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def unauthorised(detail: str) -> Problem:
    """401 with the challenge that RFC 6750 asks for."""
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="globetag"'})
