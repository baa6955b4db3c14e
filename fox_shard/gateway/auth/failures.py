"""How often clients of one address may fail to prove who they are, at any gateway.

Owns: counting failures. Never: what a failure is, the clock.
"""

from collections import OrderedDict
from ipaddress import AddressValueError, IPv6Address
from typing import Final, final

REMEMBERED: Final = 10_000
"""Addresses with failures that are remembered, the latest ones."""

MINUTE: Final = 60.0


@final
class FailureLimit:
    """The failures of each address: so many a minute, and as many at once."""

    __slots__ = ("_addresses", "_per_minute")

    def __init__(self, per_minute: int) -> None:
        self._per_minute = float(per_minute)
        # Address -> (how many failures it has left, since when).
        self._addresses: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, address: str, now: float) -> bool:
        """Return whether clients of that address may try."""
        return self._left(_network(address), now) >= 1.0

    def failed(self, address: str, now: float) -> str:
        """Count a failure at this gateway; return what others are to count (`failed_elsewhere`)."""
        network = _network(address)
        self.failed_elsewhere(network, now)
        return network

    def failed_elsewhere(self, network: str, now: float) -> None:
        """Count a failure at another gateway."""
        left = max(0.0, self._left(network, now) - 1.0)
        self._addresses[network] = (left, now)
        self._addresses.move_to_end(network)
        if len(self._addresses) > REMEMBERED:
            self._addresses.popitem(last=False)

    def _left(self, network: str, now: float) -> float:
        left, since = self._addresses.get(network, (self._per_minute, now))
        return min(self._per_minute, left + (now - since) * self._per_minute / MINUTE)


def _network(address: str) -> str:
    """Return the address, or the /64 of an IPv6 address, which one client may have for itself."""
    try:
        # A link-local address may name its interface.
        number = int(IPv6Address(address.partition("%")[0]))
    except AddressValueError:
        return address
    is_ipv4 = number >> 32 == 0xFFFF
    return address if is_ipv4 else f"{number >> 64:x}"
