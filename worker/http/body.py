"""From a request's bytes to jobs that are asked for: media type, size, JSON, fields. Nothing is stored yet."""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request

from schema.messages import LocateRequest, job_id_for
from worker.http.problem import Problem
from worker.ingress.parts import Refused
from worker.ingress.requests import canonical

MAX_JOBS = 1000
"""In one request."""
MAX_BYTES = 4 * 1024 * 1024
"""Of one request's body: a thousand jobs with long hints."""
_MAX_ERRORS = 20
_TIMEOUT_S = 30.0  # for the whole body: who sends a byte a minute holds nothing up


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for. `is_list`: it was a list, and is answered with one.

    `fingerprint` is equal for two bodies that mean the same JSON.
    """

    requests: tuple[LocateRequest, ...]
    is_list: bool
    fingerprint: str


async def read_body(request: Request) -> bytes:
    """The body. Raises `Problem`: 415 for another media type, 413 above `MAX_BYTES`, 408 where it stays away."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(415, "Send the job as application/json.", headers={"Accept-Post": "application/json"})
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "Send the body as it is, without a Content-Encoding.")
    too_large = Problem(413, f"A body may have {MAX_BYTES:,} bytes; send the jobs in several requests.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise too_large
    except TimeoutError:
        raise Problem(408, f"The body did not come within {_TIMEOUT_S:.0f} seconds.") from None
    return bytes(body)


def read_jobs(body: bytes) -> Asked:
    """The jobs. Raises `Problem`: 400 for no JSON, 413 above `MAX_JOBS`, 422 that names the faulty fields."""
    try:
        given: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    is_list = isinstance(given, list)
    jobs: list[Any] = given if is_list else [given]
    if not jobs:
        raise Problem(422, "The list is empty.")
    if len(jobs) > MAX_JOBS:
        raise Problem(413, f"A list may have {MAX_JOBS:,} jobs; this one has {len(jobs):,}.")
    requests: list[LocateRequest] = []
    errors: list[dict[str, str]] = []
    for number, job in enumerate(jobs):
        place = f"/{number}" if is_list else ""
        if not isinstance(job, dict):
            errors.append({"pointer": place, "detail": "A job is a JSON object."})
            continue
        try:
            request = LocateRequest.model_validate(job)
            request = request.model_copy(update={"uri": canonical(request.uri)})
        except ValidationError as error:
            errors += _told(error, place)
            continue
        except Refused as error:
            errors.append({"pointer": f"{place}/uri", "detail": error.detail.removeprefix("uri: ")})
            continue
        if request.job_id not in (None, job_id_for(request.collection, request.uri)):
            # Somebody's job could be overwritten by its id: over HTTP the id always follows from the photograph.
            errors.append(
                {"pointer": f"{place}/job_id", "detail": "Leave it away: the answer tells the job's id."}
            )
            continue
        requests.append(request)
    if errors:
        more = f" The first {_MAX_ERRORS} are told." if len(errors) > _MAX_ERRORS else ""
        raise Problem(422, f"{len(errors)} fault(s) in what was sent.{more}", errors=errors[:_MAX_ERRORS])
    sorted_json = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    return Asked(tuple(requests), is_list, hashlib.sha256(sorted_json).hexdigest())


def _told(error: ValidationError, place: str) -> list[dict[str, str]]:
    """Each fault with its place, and without the value that was given."""
    return [
        {"pointer": place + "".join(f"/{_escaped(part)}" for part in fault["loc"]), "detail": fault["msg"]}
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _escaped(part: str | int) -> str:
    """RFC 6901, section 3. A field's name is the sender's own text, so it is cut short."""
    return str(part)[:100].replace("~", "~0").replace("/", "~1")
