"""Where a client comes from: the address, and what counts as one place."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Source = IPv4Network | IPv6Network  # one IPv4 address, or the 2^64 of IPv6 that one party is given

_V6_PREFIX = 64


def plain(address: str) -> IPv4Address | IPv6Address:
    """The address that a text names; of an IPv4 address written as IPv6, the IPv4 one.

    Raises ValueError if it names none.
    """
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def source(address: str) -> Source:
    """The place that an address belongs to. Raises ValueError if it is no address."""
    found = plain(address)
    if isinstance(found, IPv4Address):
        return ip_network(found)
    return ip_network((int(found), _V6_PREFIX), strict=False)


def shown(place: Source) -> str:
    """As people write it: an IPv4 address, or an IPv6 network."""
    return str(place.network_address) if place.version == 4 else str(place)
