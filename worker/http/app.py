"""The routes, and what every request passes: who calls, what is measured, how a failure is told."""

import functools
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson
from anyio import to_thread
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from worker.http.body import read_body, read_jobs
from worker.http.idempotency import read_key
from worker.http.jobs import Jobs
from worker.http.openapi import document
from worker.http.problem import Problem, unauthorised
from worker.http.tokens import ANYONE_HERE, Caller, Token, caller_of
from worker.queue.patience import first_line

log = logging.getLogger(__name__)

THREADS = 6
"""Requests that work on the database at once. One holds two connections at most."""

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Endpoint = Callable[[Request], Awaitable[Response]]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Api:
    """What the routes need. `tokens` empty: whoever calls from this machine may do all.

    `problems` says what stands between this process and its work, by part; empty: nothing.
    """

    jobs: Jobs
    tokens: tuple[Token, ...]
    registry: CollectorRegistry
    problems: Callable[[], dict[str, str]]
    work: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(THREADS))
    watch: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(2))


def create_app(api: Api) -> Starlette:
    """The application. Holds no resources of its own, and may be made before database and broker answer."""
    routes = [
        Route("/v1/jobs", functools.partial(_submit, api), methods=["POST"]),
        Route("/v1/jobs/{job_id}", functools.partial(_read, api), methods=["GET"]),
        Route("/healthz", _alive, methods=["GET"]),
        Route("/readyz", functools.partial(_ready, api), methods=["GET"]),
        Route("/metrics", functools.partial(_metrics, api), methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={Problem: _problem, HTTPException: _http_exception})
    app.add_middleware(_Outer, registry=api.registry, routes=[route.path for route in routes])
    return app


# ---------------------------------------------------------------- the routes


async def _submit(api: Api, request: Request) -> Response:
    caller = _caller(api, request)
    key = read_key(request.headers.get("idempotency-key"))
    body = await read_body(request)
    asked = read_jobs(body)
    answer = await to_thread.run_sync(api.jobs.submit, caller, asked, key, limiter=api.work)
    headers = {} if asked.is_list else {"Location": f"/v1/jobs/{answer['job_id']}"}
    return _json(answer, 202, headers)


async def _read(api: Api, request: Request) -> Response:
    caller = _caller(api, request)
    return _json(await to_thread.run_sync(api.jobs.read, caller, request.path_params["job_id"], limiter=api.work))


async def _alive(_: Request) -> Response:
    return _json({"alive": True})


async def _ready(api: Api, _: Request) -> Response:
    problems = await to_thread.run_sync(api.problems, limiter=api.watch)
    return _json({"ready": not problems, "problems": problems}, 503 if problems else 200)


async def _metrics(api: Api, request: Request) -> Response:
    if _caller(api, request).collections is not None:
        raise Problem(403, "This token stands for some collections; the figures are of all.")
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    body = await to_thread.run_sync(encode, api.registry, limiter=api.watch)
    return Response(body, headers={"Content-Type": media_type})


async def _openapi(_: Request) -> Response:
    return _json(document())


# ---------------------------------------------------------------- who calls


def _caller(api: Api, request: Request) -> Caller:
    """Raises `Problem` (401) for nobody, (421) for a page in a browser that pretends to be this machine."""
    if not api.tokens:
        if not _names_this_machine(request.headers.get("host", "")):
            raise Problem(421, "Without tokens this server answers to localhost alone.")
        return ANYONE_HERE
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorised("Send your token as: Authorization: Bearer TOKEN.")
    caller = caller_of(token.strip(), api.tokens)
    if caller is None:
        raise unauthorised("This token is not known here.")
    return caller


def _names_this_machine(host: str) -> bool:
    """Against DNS rebinding: a foreign name that was made to lead here stays foreign in the header Host."""
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


# ---------------------------------------------------------------- what every request passes


class _Outer:
    """Counts each request, tells a failure as a problem, and adds the headers that all answers have."""

    def __init__(self, app: Any, *, registry: CollectorRegistry, routes: list[str]) -> None:
        self._app = app
        self._routes = frozenset(routes)
        self._requests = Counter(
            "globetag_http_requests", "Requests that were answered", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "globetag_http_request_seconds",
            "Time from a request's head to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status = 0

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except SQLAlchemyError as error:
            log.error("the database does not answer: %s", first_line(error))
            if status:
                raise
            away = Problem(503, "The database does not answer; try again.", headers={"Retry-After": "5"})
            await away.response()(scope, receive, sending)
        except Exception:
            log.exception("a defect, met with a request")
            if status:
                raise
            await Problem(500, "A defect; the server's log has the details.").response()(scope, receive, sending)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "")
            name = path if path in self._routes else "other"
            self._requests.labels(name, str(status)).inc()
            self._seconds.labels(name).observe(time.perf_counter() - began_s)


async def _problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()


async def _http_exception(_: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    details = {404: "There is nothing here; /openapi.json tells what there is.", 405: "Not with this method."}
    detail = details.get(error.status_code, "The request could not be read.")
    return Problem(error.status_code, detail, headers=error.headers).response()


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
