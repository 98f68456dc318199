"""Which addresses a stranger's URL may lead to."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis.strategies import ip_addresses

from schema.reasons import Reason
from worker.errors import Transient
from worker.intake.address import Address, objection, system_addresses

MAPPED = int(IPv6Address("::ffff:0:0"))
NAT64 = int(IPv6Address("64:ff9b::"))

PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.31.196.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:829::200e",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
]
PRIVATE = [
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "198.18.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::7f00:1",  # IPv4-compatible, deprecated
    "::ffff:169.254.169.254",
    "::ffff:0:7f00:1",  # IPv4-translated
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",  # NAT64 of a network's own
    "100::1",
    "2001::1",  # Teredo
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 around 127.0.0.1
    "2002:101:101::",
    "3fff::1",
    "5f00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fd12::1%1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert objection(ip_address(text)) is None


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_pass_only_where_allowed(text: str) -> None:
    assert objection(ip_address(text)) is not None
    assert objection(ip_address(text), allow_private=True) is None


@pytest.mark.parametrize("text", NEVER)
def test_addresses_without_photographs_never_pass(text: str) -> None:
    assert objection(ip_address(text)) is not None
    assert objection(ip_address(text), allow_private=True) is not None


STRICTER_THAN_IS_GLOBAL = [
    IPv4Network("168.63.129.16/32"),  # public by registry, but answers only inside one cloud
    IPv4Network("192.0.0.0/24"),  # holds two global anycast addresses of protocols, none of the web
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("224.0.0.0/4"),  # `is_global` is True for multicast
    IPv6Network("2001::/23"),  # Teredo, ORCHID and others, some of them global
    IPv6Network("2002::/16"),  # 6to4: global until CPython 3.11.10 and 3.12.4
    IPv6Network("3fff::/20"),  # documentation since RFC 9637
    IPv6Network("::/3"),  # everything outside global unicast (2000::/3) is unassigned or special
    IPv6Network("4000::/2"),
    IPv6Network("8000::/1"),
]


@given(ip_addresses())
@example(IPv4Address("192.0.0.9"))
@example(IPv6Address("2001:4860:4860::8888"))
@example(IPv6Address("4000::1"))
def test_differs_from_the_standard_library_only_where_documented(address: Address) -> None:
    embeds_ipv4 = address in IPv6Network((MAPPED, 96)) or address in IPv6Network((NAT64, 96))
    if objection(address) is None:
        assert address.is_global or embeds_ipv4
    elif address.is_global:
        assert embeds_ipv4 or any(address in network for network in STRICTER_THAN_IS_GLOBAL)


@given(ip_addresses(v=4))
@example(IPv4Address("127.0.0.1"))
@example(IPv4Address("169.254.169.254"))
def test_ipv4_inside_ipv6_is_judged_as_ipv4(address: IPv4Address) -> None:
    for prefix in (MAPPED, NAT64):
        for allow_private in (False, True):
            embedded = IPv6Address(prefix | int(address))
            assert objection(embedded, allow_private=allow_private) == objection(
                address, allow_private=allow_private
            )


@given(ip_addresses(v=4))
def test_tunnels_hide_nothing(address: IPv4Address) -> None:
    sixtofour = IPv6Address((0x2002 << 112) | (int(address) << 80) | 1)
    teredo = IPv6Address((0x20010000 << 96) | (int(address) ^ 0xFFFFFFFF))
    for tunnel in (sixtofour, teredo):
        assert objection(tunnel, allow_private=True) is not None


@pytest.mark.parametrize("spelling", ["127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_odd_spellings_are_read_as_the_system_reads_them(spelling: str) -> None:
    assert system_addresses(spelling, 80) == [IPv4Address("127.0.0.1")]


def test_a_name_without_address_is_transient() -> None:
    with pytest.raises(Transient) as caught:
        system_addresses("no-such-name.invalid", 80)  # RFC 6761: answered without asking the network
    assert caught.value.reason is Reason.UNREACHABLE
