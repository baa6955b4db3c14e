"""How events look to WAMP sessions: one form for each serializer and transport.

Owns: EVENT. Never: who gets it.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, final
from weakref import WeakValueDictionary

from fox_shard.backplane.frames import Event, Publish, Selected
from fox_shard.documents.payloads import transcode
from fox_shard.errors import InvalidPayload
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.gateway.wamp.messages import EVENT
from fox_shard.gateway.wamp.serializer import Serializer
from fox_shard.topics.pattern import EXACT

NO_LIMIT: Final = 1 << 62

_NO_DETAILS: Final[dict[str, Any]] = {}


@final
class WampFlavour:
    """Encodes events. An event that a flavour's clients cannot take is b"": they miss it."""

    __slots__ = ("__weakref__", "_frame", "_limit", "_serializer", "per_subscription")

    def __init__(self, serializer: Serializer, frame: Callable[[bytes], bytes], limit: int) -> None:
        """limit: bytes of the longest message that these clients take (WAMP #rawsocket)."""
        self.per_subscription = True
        self._serializer = serializer
        self._frame = frame
        self._limit = limit

    def event(self, event: Event, subscription: Subscription | None) -> bytes:
        """[EVENT, Subscription|id, Publication|id, Details|dict, Arguments, ArgumentsKw], framed.

        Nothing (b"") if its arguments have no form in this serializer, or where it is too long.
        """
        if subscription is None:
            raise ValueError("WAMP delivers for a subscription")
        publish = event.publish
        details = _NO_DETAILS
        if subscription.pattern.kind != EXACT or publish.publisher is not None:
            details = _details(event, subscription)
        return self._encode(event, subscription, details)

    def events(self, events: list[Event], subscription: Subscription | None) -> list[bytes]:
        """As `event` for each; those that these clients cannot take are left out."""
        return [chunk for event in events if (chunk := self.event(event, subscription))]

    def retained(self, event: Event, subscription: Subscription) -> bytes:
        """The same of a retained key (WAMP #pubsub-event-retention)."""
        return self._encode(
            event, subscription, {**_details(event, subscription), "retained": True}
        )

    def selected(self, selected: Selected, subscription: Subscription, removed: str) -> bytes:
        """The same for a selection; of a key that is no more, an empty one that says why."""
        event = selected.event
        if not removed:
            return self._encode(event, subscription, _details(event, subscription))
        publish = event.publish
        details: dict[str, Any] = {"removed": removed}
        if not subscription.pattern.is_exact:
            details["topic"] = publish.topic
        message = self._serializer.write((EVENT, subscription.id, event.publication, details))
        return self._frame(message)

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
        return self._frame(message) if len(message) <= self._limit else b""


def details_of(publish: Publish, *, topic: bool) -> dict[str, Any]:
    """EVENT.Details (WAMP #pattern-based-subscription, #pubsub-publisher-identification).

    topic: whether it is among them.
    """
    details: dict[str, Any] = {}
    if topic:
        details["topic"] = publish.topic
    if publish.publisher is not None:
        details["publisher"] = publish.session
        details["publisher_authid"] = publish.publisher.authid
        details["publisher_authrole"] = publish.publisher.authrole
    return details


def _details(event: Event, subscription: Subscription) -> dict[str, Any]:
    return details_of(event.publish, topic=not subscription.pattern.is_exact)


# Sessions find each other's flavour here; one that nobody has any more goes.
_FLAVOURS: Final[WeakValueDictionary[tuple[str, Hashable], WampFlavour]] = WeakValueDictionary()


def flavour_of(
    serializer: Serializer, frame: Callable[[bytes], bytes], key: Hashable, limit: int
) -> WampFlavour:
    """Return the flavour that all sessions of that serializer and key share.

    key: equal where frame and limit do the same.
    """
    name = (serializer.subprotocol, key)
    flavour = _FLAVOURS.get(name)
    if flavour is None:
        flavour = _FLAVOURS[name] = WampFlavour(serializer, frame, limit)
    return flavour
