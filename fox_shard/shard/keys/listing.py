"""Listing keys, for gateways: what there is, how it ends, and who waits for it.

Owns: which keys answer a question. Never: their values; who may know of them.
"""

from typing import Final, final

from fox_shard.backplane.frames import Event
from fox_shard.backplane.key_states import (
    KEYS,
    LEVEL,
    KeysQuery,
    KeyState,
    decode_query,
    encode,
)
from fox_shard.shard.inquiries import Inquiries, Page
from fox_shard.shard.keys.realm import Realm, Realms
from fox_shard.shard.keys.wait_queues import WaitQueues
from fox_shard.topics.pattern import Pattern

PER_UNIT: Final = 8
"""Topics that are only looked at, for a unit of the turn's budget."""

SHOWN_WAITERS: Final = 20
"""The most sessions that are named for one key."""


@final
class KeyListing:
    """Answers inquiries about keys with what is durable."""

    __slots__ = ("_realms", "_waiting")

    def __init__(self, realms: Realms, waiting: WaitQueues, inquiries: Inquiries) -> None:
        self._realms = realms
        self._waiting = waiting
        inquiries.answerers[KEYS] = self.keys
        inquiries.answerers[LEVEL] = self.level

    def keys(self, realm: str, body: bytes, page: Page) -> None:
        """Fill a page with the keys that a `KeysQuery` asks for (see `inquiries`)."""
        query = decode_query(body)
        found = self._realms[realm]
        pattern = Pattern.wamp(query.topic, query.match)
        position = page.start.decode() or query.after
        for looked_at, topic in enumerate(found.keys.steps(pattern, position)):
            if looked_at % PER_UNIT == 0:
                page.spend(1)
            # Without a position, nothing has been looked at: the next page would be this one again.
            if page.is_full and position:
                page.go_on_at(position.encode())
                return
            if topic is not None:
                position = topic
                self._look(found, topic, query, page)

    def _look(self, realm: Realm, topic: str, query: KeysQuery, page: Page) -> None:
        if query.contains and query.contains not in topic:
            return
        event = realm.keys.durable_value(topic)
        if event is None:
            return
        waiters = self._waiting.count_at((realm.name, topic))
        retain = event.publish.retain
        if query.owned and not waiters and (retain is None or not retain.owned):
            return
        page.spend(1)
        page.add(topic.encode(), encode(self._state(realm, topic, event, waiters)))

    def _state(self, realm: Realm, topic: str, event: Event, waiters: int) -> KeyState:
        publish = event.publish
        size = len(publish.args) + len(publish.kwargs)
        state = KeyState(event.publication, publish.session, size, audience=publish.audience)
        if (retain := publish.retain) is not None:
            state.expires = retain.expires
            state.weak = retain.weak
            state.will = retain.will is not None
            state.private = retain.private
            state.reduced = bool(retain.reduced)
        if waiters:
            state.waiters = waiters
            state.waiting = self._waiting.first_at((realm.name, topic), SHOWN_WAITERS)
        return state

    def level(self, realm: str, body: bytes, page: Page) -> None:
        """Fill a page with what is one level below a topic."""
        query = decode_query(body)
        found = self._realms[realm]
        above = f"{query.topic}." if query.topic else ""
        position = page.start.decode() or query.after
        for topic, below in found.keys.level(above, position):
            if page.is_full and position:
                page.go_on_at(position.encode())
                return
            position = topic
            if below:
                page.spend(1)
                page.add(topic.encode(), encode(below))
            else:
                self._look(found, topic, query, page)
