"""Check which addresses an upstream may have; names and odd forms (decimal, hexadecimal) are resolved before."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.addresses import ALWAYS

from crawler.upstream.address_guard import refusal

LINK_LOCAL = "link-local addresses and metadata servers are never allowed"
NO_SERVER = "it is no address of a server"
PRIVATE = "loopback and private addresses are allowed only with ALLOW_PRIVATE_UPSTREAM=1"

NEVER = {
    "169.254.169.254": (LINK_LOCAL, "metadata server"),
    "169.254.0.1": (LINK_LOCAL, "link-local"),
    "::ffff:169.254.169.254": (LINK_LOCAL, "metadata server, mapped"),
    "::ffff:a9fe:a9fe": (LINK_LOCAL, "metadata server, mapped, hexadecimal"),
    "64:ff9b::a9fe:a9fe": (LINK_LOCAL, "metadata server behind NAT64"),
    "64:ff9b::169.254.169.254": (LINK_LOCAL, "metadata server behind NAT64, dotted"),
    "2002:a9fe:a9fe::": (LINK_LOCAL, "metadata server by 6to4"),
    "2002:a9fe:a9fe::1": (LINK_LOCAL, "a host behind 6to4 of the metadata server"),
    "2001:0:4136:e378:8000:63bf:5601:5601": (LINK_LOCAL, "metadata server by Teredo"),
    "fd20:ce::254": (LINK_LOCAL, "metadata server of Google Cloud over IPv6"),
    "fd00:ec2::254": (LINK_LOCAL, "metadata server of Amazon over IPv6"),
    "100.100.100.200": (LINK_LOCAL, "metadata server of Alibaba, among carriers' addresses"),
    "192.0.0.192": (LINK_LOCAL, "metadata server of Oracle"),
    "168.63.129.16": (LINK_LOCAL, "metadata server of Azure, a public address"),
    "::ffff:168.63.129.16": (LINK_LOCAL, "metadata server of Azure, mapped"),
    "fe80::1": (LINK_LOCAL, "link-local IPv6"),
    "fe80::1%eth0": (LINK_LOCAL, "link-local IPv6 with its zone"),
    "febf::1": (LINK_LOCAL, "the last link-local IPv6"),
    "0.0.0.0": (NO_SERVER, "unspecified"),
    "::": (NO_SERVER, "unspecified IPv6"),
    "::ffff:0.0.0.0": (NO_SERVER, "unspecified, mapped"),
    "64:ff9b::": (NO_SERVER, "unspecified behind NAT64"),
    "224.0.0.1": (NO_SERVER, "multicast"),
    "239.255.255.250": (NO_SERVER, "multicast of a site"),
    "::ffff:224.0.0.1": (NO_SERVER, "multicast, mapped"),
    "ff02::1": (NO_SERVER, "multicast IPv6"),
    "ff0e::1": (NO_SERVER, "global multicast IPv6"),
    "240.0.0.1": (NO_SERVER, "reserved"),
    "255.255.255.255": (NO_SERVER, "broadcast"),
    "::127.0.0.1": (NO_SERVER, "loopback in the form that RFC 4291 gave up"),
    "::169.254.169.254": (NO_SERVER, "metadata server in the form that RFC 4291 gave up"),
    "::ffff:0:169.254.169.254": (NO_SERVER, "metadata server, translated (RFC 2765)"),
    "64:ff9b:1::a9fe:a9fe": (NO_SERVER, "metadata server behind a local NAT64 (RFC 8215)"),
    "100::1": (NO_SERVER, "discard-only"),
    "192.0.0.8": (NO_SERVER, "protocol assignments"),
    "192.88.99.1": (NO_SERVER, "a relay of 6to4"),
    "3fff::1": (NO_SERVER, "documentation IPv6, the newer"),
    "5f00::1": (NO_SERVER, "segments of routes"),
}

ONLY_IF_ALLOWED = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "the last loopback",
    "::1": "loopback IPv6",
    "::ffff:127.0.0.1": "loopback, mapped",
    "64:ff9b::7f00:1": "loopback behind NAT64",
    "2002:7f00:1::": "loopback by 6to4",
    "10.0.0.1": "private 10/8",
    "172.16.0.1": "private 172.16/12",
    "172.31.255.255": "the last of 172.16/12",
    "192.168.1.1": "private 192.168/16",
    "::ffff:10.0.0.1": "private, mapped",
    "2002:c0a8:101::1": "private by 6to4",
    "100.64.0.1": "shared by carriers (RFC 6598)",
    "100.127.255.255": "the last shared by carriers",
    "fc00::1": "unique local",
    "fd00::1": "unique local, the usual half",
    "fec0::1": "site-local",
    "0.0.0.1": "this network",
    "192.0.2.1": "documentation",
    "198.18.0.1": "benchmarks",
    "2001:db8::1": "documentation IPv6",
}


@pytest.mark.parametrize("allow_private", [False, True], ids=["private refused", "private allowed"])
@pytest.mark.parametrize(
    ("address", "reason"),
    [pytest.param(address, reason, id=name) for address, (reason, name) in NEVER.items()],
)
def test_some_addresses_are_never_allowed(address: str, reason: str, allow_private: bool) -> None:
    """Refuse where clouds keep credentials, and what is no server's address, whatever the setting."""
    assert refusal(address, allow_private) == reason


@pytest.mark.parametrize("address", [pytest.param(address, id=name) for address, name in ONLY_IF_ALLOWED.items()])
def test_private_addresses_are_a_setting(address: str) -> None:
    """Refuse loopback and private addresses unless they are allowed."""
    assert refusal(address, allow_private=False) == PRIVATE
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", ALWAYS)
def test_public_addresses_are_allowed(address: str) -> None:
    """Allow the addresses that upstreams have, also next to refused ranges and by way of NAT64 or 6to4."""
    assert refusal(address, allow_private=False) is None
    assert refusal(address, allow_private=True) is None


@given(st.ip_addresses(v=4))
def test_forms_that_carry_an_ipv4_address_are_judged_by_it(ip: IPv4Address) -> None:
    """Give a mapped, NAT64 or 6to4 form the verdict of the IPv4 address in it."""
    high, low = divmod(int(ip), 1 << 16)
    tail = f"{high:x}:{low:x}"

    for allow_private in (False, True):
        verdict = refusal(str(ip), allow_private)
        assert refusal(f"::ffff:{ip}", allow_private) == verdict
        assert refusal(f"64:ff9b::{tail}", allow_private) == verdict
        assert refusal(f"2002:{tail}::1", allow_private) == verdict


@given(st.ip_addresses())
def test_what_is_refused_with_private_ones_allowed_is_refused_without(ip: IPv4Address | IPv6Address) -> None:
    """Never allow more by a stricter setting."""
    assert refusal(str(ip), allow_private=False) or not refusal(str(ip), allow_private=True)
