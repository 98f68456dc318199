"""Messages that mean harm: a good Celery message, changed in one or two ways, the same for the same seed."""

import json
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from schema.messages import LOCATE_TASK, LocateRequest

PICKLE = b"cbuiltins\nexec\n(Vopen('%s', 'w')\ntR."
"""Unpickled, it makes the file that is put in."""

JUNK: list[Any] = [
    None,
    True,
    -1,
    2**63 - 1,
    0.5,
    "",
    "x" * 5000,
    "\x00",
    "\x1b[2J\u202e",
    "../../../etc/passwd",
    "9999-12-31T23:59:59",
    "celery.backend_cleanup",
    [],
    [[]],
    {},
    {"a": {"b": [1, None]}},
    "'; DROP TABLE job; --",
]
_CELERY_HEADERS = [
    *(
        "task",
        "id",
        "lang",
        "root_id",
        "parent_id",
        "group",
        "group_index",
        "eta",
        "expires",
        "retries",
        "timelimit",
    ),
    *("argsrepr", "kwargsrepr", "origin", "shadow", "ignore_result", "replaced_task_nesting", "stamps", "meth"),
    *("stamped_headers", "compression", "chord", "callbacks", "errbacks", "chain", "reply_to", "correlation_id"),
    *("properties", "delivery_info", "utc", "is_eager", "delivery", "hostname", "x-death", "globetag-unreadable"),
]
PROPERTIES = [
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "timestamp",
    "delivery_info",
]
_FIELDS = ["uri", "collection", "job_id", "hints", "verify", "priority", "self", "args", "task", "__class__"]
_OTHER_TASK = {"task": LOCATE_TASK, "args": [], "kwargs": {"uri": "file:///sent/by/the/worker"}, "options": {}}


@dataclass(slots=True)
class Mutant:
    """One message. `raw_properties`: AMQP's property list in bytes, for what no client library writes."""

    tag: str
    body: bytes
    headers: dict[str, Any]
    properties: dict[str, Any] = field(default_factory=dict)
    raw_properties: bytes | None = None

    def job_id(self) -> str | None:
        """The job that its body asks for, whatever stands around it; None if it asks for none."""
        try:
            _, fields, _ = json.loads(self.body)
            return LocateRequest.read(fields).effective_job_id
        except (ValueError, TypeError, RecursionError, AttributeError):
            return None


def mutants(count: int, seed: int, *, canary: str) -> Iterator[Mutant]:
    """Yields `count` messages. `canary` is a file that a pickle among them would make."""
    random_ = random.Random(seed)
    for number in range(count):
        mutant = _good(f"m-{number:06}")
        for change in random_.choices(_CHANGES, k=random_.choice((1, 1, 2))):
            change(mutant, random_)
        if mutant.raw_properties is None and random_.random() < 0.03:
            mutant.body = PICKLE % canary.encode()
            mutant.properties["content_type"] = random_.choice(
                ["application/x-python-serialize", "application/json"]
            )
        yield mutant


def _good(tag: str) -> Mutant:
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[], {"uri": f"file:///no/such/{tag}.jpg", "hints": {"text": tag}}, embed])
    headers = {
        "task": LOCATE_TASK,
        "id": tag,
        "lang": "py",
        "root_id": tag,
        "retries": 0,
        "timelimit": [None, None],
    }
    properties = {"content_type": "application/json", "content_encoding": "utf-8", "message_id": tag}
    return Mutant(tag, body.encode(), headers, properties)


def _bit(mutant: Mutant, random_: random.Random) -> None:
    if mutant.body:
        body = bytearray(mutant.body)
        for _ in range(random_.choice((1, 1, 8))):
            body[random_.randrange(len(body))] ^= 1 << random_.randrange(8)
        mutant.body = bytes(body)


def _truncate(mutant: Mutant, random_: random.Random) -> None:
    mutant.body = mutant.body[: random_.randrange(len(mutant.body) + 1)]


def _other_body(mutant: Mutant, random_: random.Random) -> None:
    mutant.body = random_.choice(
        [
            b"",
            b"\x00" * 100,
            b"[" * 50_000,
            b'[[],{"uri":' + b"[" * 5000 + b"]" * 5000 + b"},{}]",
            b'[[],{"uri":"file:///a","uri":"file:///b/' + mutant.tag.encode() + b'"},{}]',
            b'[[],{"priority":1e999,"uri":"x"},{}]',
            b'[[],{"priority":' + b"9" * 5000 + b',"uri":"x"},{}]',
            b'[[],{"uri":"\\ud800"},{}]',
            b'[[],{"uri":"file:///\\u0000"},{}]',
            b'[[],{"hints":{"__type__":"decimal","__value__":"x"},"uri":"x"},{}]',
            b'{"id":"1","task":"geotag.locate.v1","args":[],"kwargs":{"uri":"file:///a"}}',
            b"[[],{},{}]",
            b"[1,2,3]",
            b"null",
            b"\xff\xfe[\x00]\x00",
            json.dumps([[mutant.tag], {}, None]).encode(),
            random_.randbytes(random_.randrange(1, 300)),
            b'[[],{"uri":"' + b"a" * 300_000 + b'"},{}]',
        ]
    )


def _wrong_field(mutant: Mutant, random_: random.Random) -> None:
    try:
        args, fields, embed = json.loads(mutant.body)
        fields[random_.choice(_FIELDS)] = random_.choice(JUNK)
    except (ValueError, TypeError, RecursionError):
        return  # an earlier change left no fields
    mutant.body = json.dumps([args, fields, embed]).encode()


def _steering(mutant: Mutant, random_: random.Random) -> None:
    """Asks the worker to send other tasks."""
    name = random_.choice(["callbacks", "errbacks", "chain", "chord", "group", "delivery_info", "id", "is_eager"])
    value = random_.choice([[_OTHER_TASK], _OTHER_TASK, *JUNK])
    try:
        args, fields, embed = json.loads(mutant.body)
        embed[name] = value
    except (ValueError, TypeError, RecursionError, AttributeError):
        return
    mutant.body = json.dumps([args, fields, embed]).encode()


def _header(mutant: Mutant, random_: random.Random) -> None:
    mutant.headers[random_.choice(_CELERY_HEADERS)] = random_.choice(JUNK)


def _no_header(mutant: Mutant, random_: random.Random) -> None:
    mutant.headers.pop(random_.choice(["task", "id"]), None)


def _time(mutant: Mutant, random_: random.Random) -> None:
    name = random_.choice(["eta", "expires"])
    mutant.headers[name] = random_.choice(
        [
            "2001-01-01T00:00:00",
            "9999-12-31T23:59:59.999999+23:59",
            "0001-01-01T00:00:00-23:59",
            "99999",
            "now",
            1e300,
        ]
    )


def _options(mutant: Mutant, random_: random.Random) -> None:
    mutant.headers |= random_.choice(
        [
            {"retries": 2**62},
            {"timelimit": [0.0001, 0.0001]},
            {"timelimit": "never"},
            {"reply_to": "somewhere", "ignore_result": False},
            {"stamped_headers": ["a"], "stamps": {"a": "b"}},
            {"replaced_task_nesting": -5, "shadow": "x" * 3000},
        ]
    )
    mutant.properties["reply_to"] = "geotag.train"
    mutant.properties["priority"] = random_.choice([0, 1, 9, 255])


def _media(mutant: Mutant, random_: random.Random) -> None:
    mutant.properties["content_type"] = random_.choice(
        [
            "application/x-python-serialize",
            "application/x-yaml",
            "application/x-msgpack",
            "text/plain",
            "x" * 200,
            "application/json; charset=latin-1",
            "APPLICATION/JSON",
            "application/data",
            "pickle",
        ]
    )


def _encoding(mutant: Mutant, random_: random.Random) -> None:
    mutant.properties["content_encoding"] = random_.choice(
        ["utf-16", "binary", "base64", "gzip", "no-such", "rot13"]
    )


def _compression(mutant: Mutant, random_: random.Random) -> None:
    mutant.headers["compression"] = random_.choice(
        ["gzip", "zlib", "bzip2", "lzma", "no-such", "application/x-gzip"]
    )


def _task(mutant: Mutant, random_: random.Random) -> None:
    mutant.headers["task"] = random_.choice(
        [
            "celery.backend_cleanup",
            "celery.chord_unlock",
            "celery.map",
            "celery.group",
            "geotag.train.v1",
            "os.system",
            "geotag.locate.v2",
            "geotag.locate.v1\x00",
            "GEOTAG.LOCATE.V1",
            "",
        ]
    )


def _unreadable(mutant: Mutant, random_: random.Random) -> None:
    """Properties that a broker passes on and a client cannot read: flags, then the values in their order."""
    header_only, timestamp_only, type_only = 1 << 13, 1 << 6, 1 << 15
    endless = struct.pack(">Q", 2**62)
    mutant.raw_properties = random_.choice(
        [
            struct.pack(">H", timestamp_only) + endless,
            struct.pack(">H", header_only) + _table(b"\x01tT" + endless),
            struct.pack(">H", type_only) + b"\x02\xff\xfe",
            struct.pack(">H", header_only) + _nested(400),
        ]
    )
    mutant.body = b'["' + mutant.tag.encode() + b'"]'


def _table(entries: bytes) -> bytes:
    return struct.pack(">I", len(entries)) + entries


def _nested(depth: int) -> bytes:
    table = _table(b"")
    for _ in range(depth):
        table = _table(b"\x01tF" + table)
    return table


_CHANGES: list[Callable[[Mutant, random.Random], None]] = [
    *[_bit] * 3,
    *[_truncate] * 2,
    *[_other_body] * 3,
    *[_wrong_field] * 3,
    *[_steering] * 2,
    *[_header] * 3,
    _no_header,
    _time,
    _options,
    _media,
    _encoding,
    _compression,
    _task,
    _unreadable,
]
