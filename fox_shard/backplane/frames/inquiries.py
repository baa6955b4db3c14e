"""Frames: what gateways ask of shards, page by page.

Owns: the question and the page. Never: what is asked, and what answers.
"""

from typing import TypeAlias

from msgspec import Struct


class Inquiry(Struct, array_like=True, tag=35, gc=False):
    """The gateway wants to know what `kind` and `body` say: gateway to one or all shards.

    token: the gateway's number for the request. kind: names what answers in the shard. body: what
    that needs to know, in a form of its own. start: where the page begins, `InquiryPage.next` of
    the page before; b"": the first page. limit: how many items at most. Answered by `InquiryPage`.
    """

    token: int
    realm: str
    kind: str
    body: bytes
    start: bytes
    limit: int


class InquiryPage(Struct, array_like=True, tag=36, gc=False):
    """Items that answer an `Inquiry`: shard to gateway.

    items: keys and values, in the order of keys. next: where the next page begins; b"": there is
    none. A page may have fewer items than the limit, even none. uri, message: of the error with
    which the inquiry is refused; "": it is not.
    """

    token: int
    items: list[tuple[bytes, bytes]]
    next: bytes = b""
    uri: str = ""
    message: str = ""

    @property
    def more(self) -> bool:
        """Whether there are items beyond this page."""
        return self.next != b""


class RelayedInquiry(Struct, array_like=True, tag=37, gc=False):
    """An inquiry that another gateway answers: gateway to shard to gateway.

    gateway: on the way to the shard, the name of the one that is to answer; from there on, of the
    one that asks. Answered by `RelayedPage`.
    """

    gateway: str
    inquiry: Inquiry


class RelayedPage(Struct, array_like=True, tag=38, gc=False):
    """Items that answer a `RelayedInquiry`: gateway to shard to gateway.

    gateway: on the way to the shard, the name of the one that asks; from there on, of the one that
    answers.
    """

    gateway: str
    page: InquiryPage


InquiryFrame: TypeAlias = Inquiry | InquiryPage | RelayedInquiry | RelayedPage
