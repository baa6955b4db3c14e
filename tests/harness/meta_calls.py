"""A session that calls `wamp.registration.…` or `wamp.subscription.…`, and the shards that answer.

Owns: making calls, and the answers of shards and gateways. Never: what is right.
"""

from gateway_harness import GatewayHarness
from msgspec import msgpack

from fox_shard.backplane.frames import Inquiry, InquiryPage, RelayedInquiry, RelayedPage
from fox_shard.backplane.meta_api import id_key
from fox_shard.documents import payloads


class MetaCalls:
    """One session, and two shards."""

    def __init__(self, what, **settings):
        """what: `registration` or `subscription`. settings: of the gateway."""
        self.what = what
        self.harness = GatewayHarness(2, **settings)
        self.session = self.harness.session()
        self._answers = []
        self.session.result = self.session.call_error = self._answers.append

    def call(self, name, *args):
        encoded = payloads.encode(list(args), {}, payloads.JSON)
        self.harness.gateway.requests.call(
            self.session, 1, f"wamp.{self.what}.{name}", 0, 0, payloads.JSON, *encoded, None
        )
        self.harness.turns()

    def asked(self):
        """Return the shards that were asked, with the inquiries."""
        return {n: one for n in (0, 1) for one in self.harness.got(f"shard-{n}", Inquiry)}

    def answer(self, found=(), by=0):
        """Let all shards that were asked answer, `by` with the items; return what was asked."""
        asked = self.asked()
        for shard, frame in asked.items():
            items = [*found] if shard == by or len(asked) == 1 else []
            self.harness.say(f"shard-{shard}", InquiryPage(frame.token, items, b""))
        return {(shard, one.kind, one.body) for shard, one in asked.items()}

    def relayed(self, shard=1):
        """Return the inquiries that the shard is to pass on to gateways."""
        return self.harness.got(f"shard-{shard}", RelayedInquiry)

    def page(self, frame, value=None, *, more=b"", **refusal):
        """Let the gateway that was asked by way of shard-1 answer."""
        items = [] if value is None else [(id_key(value[0]), msgpack.encode(value))]
        page = InquiryPage(frame.inquiry.token, items, more, **refusal)
        self.harness.say("shard-1", RelayedPage(frame.gateway, page))

    @property
    def result(self):
        """The answer to the last call: its value, or the URI of its error."""
        (answer,) = self._answers
        self._answers.clear()
        (value,), _ = payloads.decode(answer.encoding, answer.args, answer.kwargs)
        return getattr(answer, "uri", value)
