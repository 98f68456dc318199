"""A name server of an attacker on this machine, and the resolver that asks it: real questions over UDP (RFC 1035).

A name's answers are a list of lists: the first question gets the first list, the next the next, the last for ever.
Time to live is zero, as rebinding needs it.
"""

import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from schema.reasons import Reason
from worker.errors import JobError, Transient
from worker.intake.address import Address, system_addresses

_A, _AAAA, _IN = 1, 28, 1
_TIMEOUT_S = 5.0

Answers = Mapping[str, Sequence[Sequence[str]]]


class NameServer:
    """Serves on 127.0.0.1 by UDP. `asked` counts the questions for each name and type. Use as a context."""

    def __init__(self, answers: Answers) -> None:
        self._answers = {name.lower(): list(turns) for name, turns in answers.items()}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="name-server")
        self.address: tuple[str, int] = self._socket.getsockname()
        self.asked: dict[tuple[str, int], int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(1500)
            if not question:
                return
            self._socket.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        name, end = _read_name(question, 12)
        (kind,) = struct.unpack_from("!H", question, end)
        turn = self.asked.get((name, kind), 0)
        self.asked[name, kind] = turn + 1
        turns = self._answers.get(name.lower().rstrip("."), [])
        addresses = [ip_address(each) for each in turns[min(turn, len(turns) - 1)]] if turns else []
        fitting = [each for each in addresses if each.version == (4 if kind == _A else 6)]
        head = question[:2] + struct.pack("!HHHHH", 0x8180 if turns else 0x8183, 1, len(fitting), 0, 0)
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, _IN, 0, len(each.packed)) + each.packed for each in fitting
        )
        return head + question[12 : end + 4] + records


class Resolver:
    """What a worker's resolver does where the attacker's server answers: spellings of an address are read by the
    system, names are asked for. Fits `Fetcher(resolve=...)`."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server

    def __call__(self, host: str, port: int) -> list[Address]:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (socket.gaierror, UnicodeError):
            found = [*self._ask(host, _A), *self._ask(host, _AAAA)]
            if not found:
                raise Transient(Reason.UNREACHABLE, f"The name {host} could not be resolved.") from None
            return found
        return system_addresses(host, port)

    def _ask(self, host: str, kind: int) -> list[Address]:
        labels = host.rstrip(".").split(".")
        if not all(0 < len(label) < 64 and label.isascii() for label in labels):
            raise JobError(Reason.UNREACHABLE, f"{host} is not a valid host name.")
        name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
        question = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", kind, _IN)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(_TIMEOUT_S)
            asking.sendto(question, self._server)
            reply, _ = asking.recvfrom(1500)
        (count,) = struct.unpack_from("!H", reply, 6)
        at = len(question)
        found = []
        for _ in range(count):
            (length,) = struct.unpack_from("!H", reply, at + 10)
            found.append(ip_address(reply[at + 12 : at + 12 + length]))
            at += 12 + length
        return found


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """A name without compression, and where it ends."""
    labels = []
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    return ".".join(labels), at + 1
