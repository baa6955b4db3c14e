"""The directory of subscriptions: those of which this shard is the home, by id.

Owns: which gateways have which subscription, and the answers to inquiries about subscriptions (WAMP
#subscription-metapi). Never: events; sessions, which only their gateways know.

Every shard has all pattern subscriptions, so each subscription is listed by one shard only, its
*home*: that of its topic, or of its pattern's text.
"""

from typing import final

from msgspec import msgpack

from fox_shard.backplane.meta_api import (
    MATCHING_SUBSCRIPTIONS,
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    SubscriptionState,
    id_key,
    id_lists,
    key_id,
)
from fox_shard.backplane.placement import Placement
from fox_shard.shard.inquiries import Inquiries, Page, chunks
from fox_shard.shard.links.peer import Peer
from fox_shard.topics.ids import OWN_SUBSCRIPTIONS, pattern_id
from fox_shard.topics.pattern import Pattern
from fox_shard.topics.trie import Trie


@final
class Entry:
    """A subscription that at least one gateway has.

    number: its place in the order in which the realm's subscriptions came. kind: the pattern's.
    created: seconds since 1970. peers: the gateways that have it.
    """

    __slots__ = ("created", "id", "kind", "number", "pattern", "peers")

    def __init__(self, id_: int, number: int, pattern: Pattern, created: float) -> None:
        self.id = id_
        self.number = number
        self.kind = pattern.kind
        self.pattern = pattern
        self.created = created
        self.peers: dict[Peer, None] = {}


@final
class RealmEntries:
    """The entries of one realm. by_id: in the order of their numbers."""

    __slots__ = ("by_id", "last", "trie")

    def __init__(self) -> None:
        self.by_id: dict[int, Entry] = {}
        self.trie: Trie[Entry] = Trie()
        self.last = 0


@final
class Directory:
    """The directory of one shard."""

    __slots__ = ("_placement", "_realms", "_shard")

    def __init__(self, shard: int, placement: Placement, inquiries: Inquiries) -> None:
        """shard: this one's number."""
        self._shard = shard
        self._placement = placement
        self._realms: dict[str, RealmEntries] = {}
        inquiries.answerers[SUBSCRIPTIONS] = self._list
        inquiries.answerers[SUBSCRIPTION] = self._describe
        inquiries.answerers[MATCHING_SUBSCRIPTIONS] = self._match

    # Changes

    def add(self, peer: Peer, realm: str, pattern: Pattern, selector: int, created: float) -> None:
        """Note that the gateway has a subscription, unless its home is another shard, or it is the
        gateway's own.

        selector: the id of the selector; 0: there is none. created: seconds since 1970.
        """
        if selector >= OWN_SUBSCRIPTIONS or not self._is_home(realm, pattern):
            return
        entries = self._realms.get(realm)
        if entries is None:
            entries = self._realms[realm] = RealmEntries()
        id_ = selector or pattern_id(realm, "subscription", pattern.text)
        entry = entries.by_id.get(id_)
        if entry is None:
            entries.last += 1
            entry = entries.by_id[id_] = Entry(id_, entries.last, pattern, created)
            entries.trie.add(pattern, entry)
        entry.created = min(entry.created, created)
        entry.peers[peer] = None

    def remove(self, peer: Peer, realm: str, pattern: Pattern, selector: int) -> None:
        """Undo `add`."""
        if selector >= OWN_SUBSCRIPTIONS or not self._is_home(realm, pattern):
            return
        entries = self._realms[realm]
        id_ = selector or pattern_id(realm, "subscription", pattern.text)
        entry = entries.by_id[id_]
        del entry.peers[peer]
        if not entry.peers:
            del entries.by_id[id_]
            entries.trie.remove(pattern, entry)

    def _is_home(self, realm: str, pattern: Pattern) -> bool:
        # Only the topic's shard is told of an exact subscription.
        return pattern.is_exact or self._placement.shard_of(realm, pattern.text) == self._shard

    # Answers

    def _list(self, realm: str, _body: bytes, page: Page) -> None:
        entries = self._realms.get(realm)
        if entries is None:
            return
        for key, chunk in chunks(page, list(entries.by_id.values()), _number):
            lists = id_lists([(entry.id, entry.kind) for entry in chunk])
            page.add(key, msgpack.encode(lists))

    def _describe(self, realm: str, body: bytes, page: Page) -> None:
        entries = self._realms.get(realm)
        entry = None if entries is None else entries.by_id.get(key_id(body))
        if entry is not None:
            state = SubscriptionState(
                entry.id,
                entry.created,
                entry.pattern.text,
                self._shard,
                [peer.name for peer in entry.peers],
            )
            page.add(id_key(entry.id), msgpack.encode(state))

    def _match(self, realm: str, body: bytes, page: Page) -> None:
        """Add the subscriptions that match a topic. All of them are looked at for each page."""
        entries = self._realms.get(realm)
        if entries is None:
            return
        matching = sorted(entries.trie.match(body.decode()), key=_number)
        page.spend(len(matching) // MATCHED_PER_UNIT)
        for key, chunk in chunks(page, matching, _number):
            page.add(key, msgpack.encode([entry.id for entry in chunk]))


MATCHED_PER_UNIT = 8
"""Matching subscriptions that cost a unit of the budget."""


def _number(entry: Entry) -> int:
    return entry.number
