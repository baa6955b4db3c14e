"""SUBSCRIBE packets that are not answered yet.

Owns: which filters are not confirmed yet, and the return codes of a SUBACK, in order.
Never: confirmed subscriptions (the gateway has them).
"""

from typing import final

from fox_shard.gateway.mqtt.packets import FAILURE, Suback, Subscribe
from fox_shard.topics.pattern import Pattern

_SHARED = "$share/"


@final
class _PendingSuback:
    """A SUBACK that waits until `left` more filters are confirmed."""

    __slots__ = ("codes", "left", "packet_id")

    def __init__(self, packet_id: int, codes: list[int], left: int) -> None:
        self.packet_id = packet_id
        self.codes = codes
        self.left = left

    def packet(self) -> Suback:
        return Suback(self.packet_id, tuple(self.codes))


@final
class Subscribing:
    """The filters of one session that are not confirmed yet."""

    __slots__ = ("_pending", "_requests")

    def __init__(self) -> None:
        self._requests = 0
        # Number of a request -> (its SUBACK, index of its return code, the pattern's text).
        self._pending: dict[int, tuple[_PendingSuback, int, str]] = {}

    def begin(
        self, packet: Subscribe, limit: int
    ) -> tuple[list[tuple[int, Pattern, int]], Suback | None]:
        """Return the requests to the gateway, each as (number, pattern, QoS), and perhaps a SUBACK.

        limit: bytes of a filter. Longer filters and shared subscriptions are refused; if all are,
        there are no requests, and the SUBACK is to be sent at once; otherwise it is None.
        Raises ProtocolViolation for an invalid topic filter [MQTT-4.7.1-2, -3].
        """
        parsed = [(text, Pattern.mqtt(text), qos) for text, qos in packet.filters]
        suback = _PendingSuback(packet.packet_id, [], 0)
        requests = []
        for index, (text, pattern, qos) in enumerate(parsed):
            if is_shared(text) or len(text.encode()) > limit:
                suback.codes.append(FAILURE)
                continue
            self._requests += 1
            self._pending[self._requests] = (suback, index, pattern.text)
            suback.codes.append(qos)
            suback.left += 1
            requests.append((self._requests, pattern, qos))
        return requests, None if requests else suback.packet()

    def confirm(self, request: int) -> tuple[int, Suback | None] | None:
        """Confirm a request, which is granted the QoS that it asked for.

        Returns this QoS, and the SUBACK if the request was the last of its SUBSCRIBE; None if there
        is no such request.
        """
        found = self._pending.pop(request, None)
        if found is None:
            return None
        suback, index, _ = found
        suback.left -= 1
        return suback.codes[index], None if suback.left else suback.packet()

    def requests_for(self, pattern: str) -> list[int]:
        """Return the unconfirmed requests for the pattern with this text."""
        return [number for number, (_, _, text) in self._pending.items() if text == pattern]


def is_shared(text: str) -> bool:
    """Whether a filter is that of a shared subscription, which the server does not support."""
    return text.startswith(_SHARED)
