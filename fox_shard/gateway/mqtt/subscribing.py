"""SUBSCRIBE packets that are not answered yet.

Owns: which filters are not confirmed yet, and the return codes of a SUBACK, in order.
Never: confirmed subscriptions (the gateway has them).
"""

from typing import final

from fox_shard.config import Gateway as Settings
from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.mqtt.packets import FAILURE, Suback, Subscribe
from fox_shard.gateway.mqtt.translate import exceeded_limit
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

    __slots__ = ("_by_pattern", "_pending", "_requests")

    def __init__(self) -> None:
        self._requests = 0
        # Number of a request -> (its SUBACK, index of its return code, the pattern's text).
        self._pending: dict[int, tuple[_PendingSuback, int, str]] = {}
        # The pattern's text -> the numbers of its requests.
        self._by_pattern: dict[str, dict[int, None]] = {}

    def begin(
        self, packet: Subscribe, settings: Settings
    ) -> tuple[list[tuple[int, Pattern, int]], Suback | None]:
        """Return the requests to the gateway, each as (number, pattern, QoS), and perhaps a SUBACK.

        Filters that are not `is_supported` are refused; if all are, there are no requests, and the
        SUBACK is to be sent at once; otherwise it is None.
        Raises ProtocolViolation for an invalid topic filter [MQTT-4.7.1-2, -3].
        """
        parsed = [
            (Pattern.mqtt(text) if is_supported(text, settings) else None, qos)
            for text, qos in packet.filters
        ]
        suback = _PendingSuback(packet.packet_id, [], 0)
        requests = []
        for index, (pattern, qos) in enumerate(parsed):
            if pattern is None:
                suback.codes.append(FAILURE)
                continue
            self._requests += 1
            text = pattern.text
            self._pending[self._requests] = (suback, index, text)
            self._by_pattern.setdefault(text, {})[self._requests] = None
            suback.codes.append(qos)
            suback.left += 1
            requests.append((self._requests, pattern, qos))
        return requests, None if requests else suback.packet()

    def confirm(self, request: int) -> tuple[int, Suback | None] | None:
        """Confirm a request, which is granted the QoS that it asked for.

        Returns this QoS (0x80 if it was refused), and the SUBACK if the request was the last of its
        SUBSCRIBE; None if there is no such request.
        """
        found = self._pending.pop(request, None)
        if found is None:
            return None
        suback, index, text = found
        requests = self._by_pattern[text]
        del requests[request]
        if not requests:
            del self._by_pattern[text]
        suback.left -= 1
        return suback.codes[index], None if suback.left else suback.packet()

    def requests_for(self, pattern: str) -> list[int]:
        """Return the unconfirmed requests for the pattern with this text."""
        return [*self._by_pattern.get(pattern, ())]

    def refuse(self, request: int) -> None:
        """Give a request the return code 0x80; `confirm` is still to be called."""
        found = self._pending.get(request)
        if found is not None:
            suback, index, _ = found
            suback.codes[index] = FAILURE


def is_supported(text: str, settings: Settings) -> bool:
    """Whether a filter may be subscribed to: it is within the limits, and not shared."""
    return not (text.startswith(_SHARED) or exceeded_limit(text.encode(), settings))


def check_count(body: bytes, limit: int, *, qos: bool) -> int:
    """Return how many filters a SUBSCRIBE or UNSUBSCRIBE has.

    body: the packet's, after its fixed header, which need not be valid. qos: whether each filter is
    followed by its quality of service. Raises ProtocolViolation if there are more filters than the
    limit; the packet is not decoded further than to that filter.
    """
    at, count = 2, 0
    while at + 2 <= len(body):
        count += 1
        if count > limit:
            sentence = f"more than {limit} topic filters in one packet"
            raise ProtocolViolation(sentence, limit="max_filters")
        at += 2 + (body[at] << 8 | body[at + 1]) + qos
    return count
