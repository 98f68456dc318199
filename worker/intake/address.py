"""Which IP addresses a worker may be sent to by a stranger's URL, and how a name becomes addresses.

The tables follow the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and updates). They are
written out here, not taken from `ipaddress.is_global`, because that property changes between patch releases of
Python, counts multicast as global, and looks into no IPv6 address that embeds an IPv4 one.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from schema.reasons import Reason
from worker.errors import JobError, Transient

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[Address]]

_PRIVATE: dict[Network, str] = {
    IPv4Network("10.0.0.0/8"): "in a private network",
    IPv4Network("172.16.0.0/12"): "in a private network",
    IPv4Network("192.168.0.0/16"): "in a private network",
    IPv4Network("100.64.0.0/10"): "in a provider's private network",
    IPv4Network("127.0.0.0/8"): "this machine itself",
    IPv4Network("198.18.0.0/15"): "in a test network",
    IPv6Network("::1/128"): "this machine itself",
    IPv6Network("fc00::/7"): "in a private network",
}
"""Refused unless private addresses are allowed."""

_NEVER: dict[Network, str] = {
    # What a machine in a cloud may ask about itself, its passwords included. Two lie in public or ULA ranges.
    IPv4Network("169.254.169.254/32"): "a cloud's metadata service",
    IPv4Network("100.100.100.200/32"): "a cloud's metadata service",
    IPv4Network("168.63.129.16/32"): "a cloud's metadata service",
    IPv6Network("fd00:ec2::254/128"): "a cloud's metadata service",
    IPv6Network("fd20:ce::254/128"): "a cloud's metadata service",
    IPv4Network("0.0.0.0/8"): "unspecified",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("192.0.0.0/24"): "reserved",
    IPv4Network("192.0.2.0/24"): "reserved for documentation",
    IPv4Network("192.88.99.0/24"): "a tunnel",
    IPv4Network("198.51.100.0/24"): "reserved for documentation",
    IPv4Network("203.0.113.0/24"): "reserved for documentation",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
    IPv6Network("fe80::/10"): "link-local",
    IPv6Network("ff00::/8"): "multicast",
    IPv6Network("2001::/23"): "a tunnel or reserved",  # Teredo, ORCHID, benchmarking
    IPv6Network("2001:db8::/32"): "reserved for documentation",
    IPv6Network("2002::/16"): "a tunnel",  # 6to4 embeds any IPv4 address; deprecated by RFC 7526
    IPv6Network("3fff::/20"): "reserved for documentation",
}
"""No photograph lives there: refused always."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291: the kernel connects to the IPv4 address inside
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: so does a NAT64 gateway; IPv6-only networks need it


def objection(address: Address, *, allow_private: bool = False) -> str | None:
    """Why `address` may not be connected to, as the end of "the address is ..."; None when it may be."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "bound to one network interface"
        if address in _MAPPED or address in _NAT64:
            return objection(IPv4Address(int(address) & 0xFFFFFFFF), allow_private=allow_private)
    # Membership is False between the two IP versions, so one table can hold both.
    for network, kind in _NEVER.items():
        if address in network:
            return kind
    for network, kind in _PRIVATE.items():
        if address in network:
            return None if allow_private else kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return None


def system_addresses(host: str, port: int) -> list[Address]:
    """Every address that the operating system finds for `host`, in the order to try them, each once.

    Odd spellings of IPv4 ("127.1", "0x7f000001", "2130706433") are read here as the system reads them. The
    lookup takes as long as the system's resolver is set to wait; it cannot be cut short.

    Raises Transient(unreachable) when the name has no address, JobError(unreachable) when it is no name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except socket.gaierror as error:
        raise Transient(
            Reason.UNREACHABLE, f"The name {host} could not be resolved ({error.strerror})."
        ) from error
    except UnicodeError as error:
        raise JobError(Reason.UNREACHABLE, f"{host} is not a valid host name.") from error
    return list(dict.fromkeys(ip_address(str(sockaddr[0])) for *_, sockaddr in found))
