"""What a gateway tells other gateways of the subscribers among its sessions.

Owns: the answers to inquiries about one subscription's subscribers. Never: who asks, and why.
"""

from typing import Final, final

from msgspec import msgpack

from fox_shard.backplane.frames import Inquiry, InquiryPage, RelayedInquiry, RelayedPage
from fox_shard.backplane.link import Link
from fox_shard.backplane.meta_api import SUBSCRIBER_COUNT, id_key, key_id
from fox_shard.gateway.pubsub.subscriptions import Subscriptions

PAGE_IDS: Final = 10_000
"""The most sessions in one page."""


@final
class SubscriberReports:
    """The reports of one gateway's subscribers."""

    __slots__ = ("_links", "_subscriptions")

    def __init__(self, links: list[Link], subscriptions: dict[str, Subscriptions]) -> None:
        """links: to the shards, by number. subscriptions: by the realm's name."""
        self._links = links
        self._subscriptions = subscriptions

    def answer(self, frame: RelayedInquiry, shard: int) -> None:
        """Answer with the next page, by the shard from which the inquiry came."""
        page = self._page(frame.inquiry)
        self._links[shard].send(RelayedPage(frame.gateway, page))

    def _page(self, inquiry: Inquiry) -> InquiryPage:
        subscriptions = self._subscriptions.get(inquiry.realm)
        found = None if subscriptions is None else subscriptions.by_id.get(key_id(inquiry.body))
        if found is None:
            return InquiryPage(inquiry.token, [])
        if inquiry.kind == SUBSCRIBER_COUNT:
            return InquiryPage(inquiry.token, [(b"", msgpack.encode(found.count()))])
        start = key_id(inquiry.start)
        ids = sorted(session.id for session in found.sessions() if session.id >= start)
        if not ids:
            return InquiryPage(inquiry.token, [])
        rest = id_key(ids[PAGE_IDS]) if len(ids) > PAGE_IDS else b""
        value = msgpack.encode(ids[:PAGE_IDS])
        return InquiryPage(inquiry.token, [(id_key(ids[0]), value)], rest)
