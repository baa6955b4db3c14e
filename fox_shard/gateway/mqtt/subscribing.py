"""SUBSCRIBE packets that are not answered yet.

Owns: which filters are still to be confirmed, and the return codes of a SUBACK, in order.
Never: subscriptions that stand (the gateway has them).
"""

from typing import final

from fox_shard.gateway.mqtt.packets import FAILURE, Suback, Subscribe
from fox_shard.topics.pattern import Pattern

_SHARED = "$share/"


@final
class _Answer:
    """A SUBACK in the making."""

    __slots__ = ("codes", "left", "packet_id")

    def __init__(self, packet_id: int, codes: list[int], left: int) -> None:
        self.packet_id = packet_id
        self.codes = codes
        self.left = left

    def suback(self) -> Suback:
        return Suback(self.packet_id, tuple(self.codes))


@final
class Subscribing:
    """What one session subscribes to, until it is confirmed."""

    __slots__ = ("_requests", "_under_way")

    def __init__(self) -> None:
        self._requests = 0
        # Number of a request -> (its answer, place there, the pattern's text).
        self._under_way: dict[int, tuple[_Answer, int, str]] = {}

    def begin(
        self, packet: Subscribe, limit: int
    ) -> tuple[list[tuple[int, Pattern, int]], Suback | None]:
        """Return what to ask the gateway for: number of the request, pattern, quality of service.

        limit: bytes of a filter. Refused are longer ones and shared subscriptions; where all are,
        there is nothing to ask for, and the SUBACK is due.
        Raises ProtocolViolation for what is no topic filter [MQTT-4.7.1-2, -3].
        """
        parsed = [(text, Pattern.mqtt(text), qos) for text, qos in packet.filters]
        answer = _Answer(packet.packet_id, [], 0)
        requests = []
        for place, (text, pattern, qos) in enumerate(parsed):
            if is_shared(text) or len(text.encode()) > limit:
                answer.codes.append(FAILURE)
                continue
            self._requests += 1
            self._under_way[self._requests] = (answer, place, pattern.text)
            answer.codes.append(qos)
            answer.left += 1
            requests.append((self._requests, pattern, qos))
        return requests, None if requests else answer.suback()

    def confirm(self, request: int) -> tuple[int, Suback | None] | None:
        """Note that a request was granted what it asked for.

        Returns that quality of service, and the SUBACK if this was the last of its filters; None:
        there is no such request.
        """
        found = self._under_way.pop(request, None)
        if found is None:
            return None
        answer, place, _ = found
        answer.left -= 1
        return answer.codes[place], None if answer.left else answer.suback()

    def requests_for(self, pattern: str) -> list[int]:
        """The requests that are under way for the pattern of this text."""
        return [number for number, (_, _, text) in self._under_way.items() if text == pattern]


def is_shared(text: str) -> bool:
    """Tell whether a filter is a shared subscription's, which there are none of."""
    return text.startswith(_SHARED)
