"""Which addresses a skill may be reached at: public ones, and what has been allowed beside them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from skills_host.transport import is_loopback

__all__ = ["PRIVATE_NETWORKS", "Network", "endpoint_fault", "is_public_address", "is_reachable"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE_NETWORKS: tuple[Network, ...] = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
)
"""The networks of organisations; the metadata services of clouds are in none of them but one."""

# Answers with the credentials of the machine, from inside the last of the networks above.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254")))
# IPv6 that leads to an IPv4 address: mapped, translated (NAT64), 6to4.
_NAT64 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa")
# What one parser drops or turns around, another takes for a host name.
_UNCLEAR = re.compile(r"[^!-~]|\\|%(?![0-9A-Fa-f]{2})")
# Resolvers read these as IPv4 addresses that do not look like one: 127.1, 0x7f000001, 2130706433.
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}\.?", re.ASCII)
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)


def is_public_address(address: Address) -> bool:
    """True for what anybody on the internet could be reached at, in every way of writing it."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public_address(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_reachable(address: Address, *, dev: bool, networks: Sequence[Network] = ()) -> bool:
    """True if a skill may be at this address: public, allowed, or loopback while developing."""
    if dev and address.is_loopback:
        return True
    allowed = address not in _METADATA and any(address in network for network in networks)
    return allowed or is_public_address(address)


def endpoint_fault(url: str, *, dev: bool, networks: Sequence[Network] = ()) -> str | None:
    """The code of what is wrong with an endpoint's address, or None; names are not looked up."""
    parts = _split(url)
    if parts is None:
        return "SKM312"
    if not parts.scheme or (parts.scheme in ("http", "https") and not parts.hostname):
        return "SKM304"
    if parts.username is not None or parts.password is not None:
        return "SKM306"
    host = parts.hostname or ""
    is_local = dev and is_loopback(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        return "SKM305"
    if parts.fragment or url.endswith("#"):
        return "SKM307"
    return None if is_local else _host_fault(host, dev=dev, networks=networks)


def _host_fault(host: str, *, dev: bool, networks: Sequence[Network]) -> str | None:
    if _NUMERIC.fullmatch(host) and not _DOTTED.fullmatch(host):
        return "SKM312"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _DOTTED.fullmatch(host) or "%" in host or ":" in host:
            return "SKM312"
        name = host.rstrip(".")
        local = any(name == end or name.endswith("." + end) for end in _LOCAL_NAMES)
        return "SKM308" if local and not networks else None
    return None if is_reachable(address, dev=dev, networks=networks) else "SKM308"


def _split(url: str) -> SplitResult | None:
    """The parts of an address; None if it can be understood in more than one way."""
    if _UNCLEAR.search(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
