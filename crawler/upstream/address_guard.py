"""Which network addresses an upstream may have: no private ranges, no metadata servers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# Addresses that carry an IPv4 address in them; Python calls 64:ff9b::a9fe:a9fe, the metadata server's, global.
_NAT64 = IPv6Network("64:ff9b::/96")
# Where clouds keep the credentials of their instances, beside link-local addresses: Google's and Amazon's over IPv6,
# Alibaba's, Oracle's, and Azure's, which is a public address.
_METADATA = frozenset(
    map(ip_address, ("fd20:ce::254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
# No servers' either, which some versions of Python call global: protocol assignments, 6to4 relays, documentation, and
# segments of routes (https://www.iana.org/assignments/iana-ipv6-special-registry).
_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16")))


def refusal(address: str, allow_private: bool) -> str | None:
    """Say why an upstream may not be at a numeric address; None: it may.

    Link-local addresses and metadata servers, where clouds keep the credentials of their instances, are always refused;
    loopback and private ones unless allowed. Forms of IPv6 that carry an IPv4 address are judged by that (RFC 4291,
    3056, 6052, 4380).
    """
    ip = _carried(ip_address(address.partition("%")[0]))
    if ip.is_link_local or ip in _METADATA:
        return "link-local addresses and metadata servers are never allowed"
    special = any(ip in network for network in _SPECIAL if network.version == ip.version)
    if ip.is_multicast or ip.is_unspecified or special or (ip.is_reserved and not ip.is_loopback):
        return "it is no address of a server"
    if not allow_private and (ip.is_loopback or not ip.is_global or getattr(ip, "is_site_local", False)):
        return "loopback and private addresses are allowed only with ALLOW_PRIVATE_UPSTREAM=1"
    return None


def _carried(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if not isinstance(ip, IPv6Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)
