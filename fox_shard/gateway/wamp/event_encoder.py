"""Events as WAMP sessions receive them, encoded once for each serializer and transport.

Owns: EVENT. Never: who gets it.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, final

from fox_shard.backplane.frames import TRACE, Event, Publish, SelectedEvent
from fox_shard.documents.payloads import transcode
from fox_shard.errors import InvalidPayload
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.gateway.wamp.messages import EVENT
from fox_shard.gateway.wamp.serializer import Serializer
from fox_shard.topics.pattern import EXACT

NO_LIMIT: Final = 1 << 62
"""A limit in bytes that no message reaches."""

UNREADABLE: Final = "unreadable"
"""Why a key has no value for a subscriber: its serializer cannot express it, or it is too long."""

_NO_DETAILS: Final[dict[str, Any]] = {}


@final
class WampEventEncoder:
    """Encodes events for all sessions that share a serializer, a framing and a limit.

    An event that these clients cannot take is encoded as b"", and they miss it.
    """

    __slots__ = ("_frame", "_limit", "_serializer", "per_subscription")

    def __init__(self, serializer: Serializer, frame: Callable[[bytes], bytes], limit: int) -> None:
        """frame: wraps a message for the transport.

        limit: bytes of the longest message that these clients take (WAMP #rawsocket).
        """
        self.per_subscription = True
        self._serializer = serializer
        self._frame = frame
        self._limit = limit

    def event(self, event: Event, subscription: Subscription | None) -> bytes:
        """Encode [EVENT, Subscription|id, Publication|id, Details|dict, Arguments, ArgumentsKw].

        Returns the framed message, or b"" if the serializer cannot express the arguments or the
        message is too long.
        """
        if subscription is None:
            raise ValueError("WAMP delivers for a subscription")
        publish = event.publish
        details = _NO_DETAILS
        if (
            subscription.pattern.kind != EXACT
            or publish.publisher is not None
            or publish.attributes is not None
            or subscription.tells_recorded
        ):
            details = self._event_details(event, subscription)
        return self._encode(event, subscription, details)

    def events(self, events: list[Event], subscription: Subscription | None) -> list[bytes]:
        """Encode each event as `event` does, leaving out those that these clients cannot take."""
        return [chunk for event in events if (chunk := self.event(event, subscription))]

    def retained(self, event: Event, subscription: Subscription) -> bytes:
        """Encode the EVENT that shows a retained key (WAMP #pubsub-event-retention).

        A subscriber that wants to know which keys there are is told of one that these clients
        cannot take, without its value. Others get b"" instead.
        """
        chunk = self._encode(
            event, subscription, {**self._details(event, subscription), "retained": True}
        )
        if not chunk and subscription.shows_keys:
            return self._removed(event, subscription, {"retained": True, "removed": UNREADABLE})
        return chunk

    def selected(self, selected: SelectedEvent, subscription: Subscription, removed: str) -> bytes:
        """Encode the EVENT for a selected event or a key's change.

        removed: why the key is gone, in which case the EVENT has no arguments; otherwise "".
        """
        event = selected.event
        if not removed:
            chunk = self._encode(event, subscription, self._event_details(event, subscription))
            if chunk or not selected.state:
                return chunk
            # These clients must not believe the old value for ever.
            removed = UNREADABLE
        details = {"removed": removed}
        return self._removed(event, subscription, details, selected.reduced)

    def _removed(
        self,
        event: Event,
        subscription: Subscription,
        details: dict[str, Any],
        reduced: int = 0,
    ) -> bytes:
        """Encode the EVENT without arguments that tells of a key without a value to show.

        reduced: see `frames.SelectedEvent`.
        """
        if reduced:
            details["reduced"] = reduced
        if not subscription.pattern.is_exact:
            details["topic"] = event.publish.topic
        return self._framed(
            self._serializer.write((EVENT, subscription.id, event.publication, details))
        )

    def _encode(self, event: Event, subscription: Subscription, details: dict[str, Any]) -> bytes:
        publish = event.publish
        serializer = self._serializer
        args, kwargs = publish.args, publish.kwargs
        if publish.encoding != serializer.encoding:
            try:
                args, kwargs = transcode(publish.encoding, args, kwargs, serializer.encoding)
            except InvalidPayload:
                return b""
        message = serializer.write(
            (EVENT, subscription.id, event.publication, details), args, kwargs
        )
        return self._framed(message)

    def _event_details(self, event: Event, subscription: Subscription) -> dict[str, Any]:
        details = self._details(event, subscription)
        if subscription.tells_recorded and event.publish.flags & TRACE:
            details["recorded"] = True
        return details

    def _details(self, event: Event, subscription: Subscription) -> dict[str, Any]:
        publish = event.publish
        details = details_of(publish, topic=not subscription.pattern.is_exact)
        if publish.attributes is not None:
            details.update(self._serializer.attributes(publish.attributes))
        return details

    def _framed(self, message: bytes) -> bytes:
        return self._frame(message) if len(message) <= self._limit else b""


def details_of(publish: Publish, *, topic: bool) -> dict[str, Any]:
    """Return EVENT.Details (WAMP #pattern-based-subscription, #pubsub-publisher-identification).

    topic: whether they include the topic. A reducer's value says what it comes from.
    """
    details: dict[str, Any] = {}
    if topic:
        details["topic"] = publish.topic
    if publish.retain is not None and publish.retain.reduced:
        details["reduced"] = publish.retain.reduced
    if publish.publisher is not None:
        details["publisher"] = publish.session
        details["publisher_authid"] = publish.publisher.authid
        details["publisher_authrole"] = publish.publisher.authrole
    return details


# The encoders that sessions share: few, because serializers, framings and limits are.
_ENCODERS: Final[dict[tuple[str, Hashable], WampEventEncoder]] = {}


def event_encoder_of(
    serializer: Serializer, frame: Callable[[bytes], bytes], key: Hashable, limit: int
) -> WampEventEncoder:
    """Return the encoder that all sessions with that serializer and key share.

    key: equal for sessions whose `frame` and `limit` do the same.
    """
    name = (serializer.subprotocol, key)
    encoder = _ENCODERS.get(name)
    if encoder is None:
        encoder = _ENCODERS[name] = WampEventEncoder(serializer, frame, limit)
    return encoder
