"""A client of a Conversation, on a gateway that only records its requests."""

import inspect
from random import Random
from types import SimpleNamespace

import cbor2
import msgspec

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.placement import Placement
from fox_shard.config import Auth
from fox_shard.config import Gateway as Settings
from fox_shard.deadline import Deadline
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limits import NAMES
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.router import Router
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.gateway.wamp.event_encoder import NO_LIMIT
from fox_shard.gateway.wamp.serializers import SERIALIZERS
from fox_shard.gateway.wamp.states import WampConversation
from fox_shard.topics.pattern import Pattern

SESSION = 1234567
ALL = ["wamp.2.json", "wamp.2.msgpack", "wamp.2.cbor"]
ENCODE = {
    "wamp.2.json": msgspec.json.encode,
    "wamp.2.msgpack": msgspec.msgpack.encode,
    "wamp.2.cbor": cbor2.dumps,
}
DECODE = {
    "wamp.2.json": msgspec.json.decode,
    "wamp.2.msgpack": msgspec.msgpack.decode,
    "wamp.2.cbor": cbor2.loads,
}
ROLES = {"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}}
CANCELABLE = {"callee": {"features": {"call_canceling": True, "progressive_call_results": True}}}


class FakeGateway:
    """A gateway that records each request in `asked`: (name, arguments …, {keyword arguments})."""

    def __init__(self, **settings):
        self.settings = Settings(**settings)
        self.realms = {"realm1": Realm("realm1", Placement(2))}
        self.timers = Timers(Deadline())
        self.limit_counts = LimitCounts(NAMES)
        self.wall = 1_800_000_000.0
        self.authentication = Authentication(
            Auth(), (), self.limit_counts, Random(1), lambda: self.now
        )
        self.now = 100.0
        self.asked = []
        self.subscribed = set()

    def open_realm(self, name):
        """Make no realm."""

    def session_opened(self, session, **how):
        session.id = SESSION
        session.connection.owner = session
        self.asked.append(("session_opened", how))

    def session_ended(self, session, reason, *, graceful=False):
        self.asked.append(("session_ended", graceful))

    def unsubscribe(self, session, name):
        self.asked.append(("unsubscribe", name))
        return name in self.subscribed

    def __getattr__(self, name):
        shape = inspect.signature(getattr(Router, name))

        def record(session, *args, **named):
            given = shape.bind(self, session, *args, **named).arguments
            if given.get("attributes", ()) is None:  # the last one: nothing is passed on
                args = args[:-1]
            named = {key: one for key, one in named.items() if one != shape.parameters[key].default}
            self.asked.append((name, *args, *([named] if named else [])))

        return record

    def pass_time(self, seconds):
        self.now += seconds
        self.timers.run(self.now)


class Client:
    """A client on one connection, whose messages are plain lists."""

    def __init__(self, subprotocol="wamp.2.json", *, limit=NO_LIMIT, **settings):
        self.encode = ENCODE[subprotocol]
        self.decode = DECODE[subprotocol]
        self.serializer = SERIALIZERS[subprotocol]
        self.gateway = FakeGateway(**settings)
        self.connection = Connection([], "127.0.0.1:5000")
        self.hung_up = 0
        self.session = WampConversation(
            self.gateway,
            self.connection,
            self.serializer,
            lambda message: message,
            self._hang_up,
            "websocket",
            ("test", limit),
            limit=limit,
        )

    def _hang_up(self):
        self.hung_up += 1

    def send(self, message):
        """Send one message and return the answers."""
        return self.send_bytes(self.encode(message))

    def send_bytes(self, data):
        self.session.message(data, self.gateway.now)
        return self.received()

    def received(self):
        messages = [self.decode(chunk) for chunk in self.connection.out]
        self.connection.out.clear()
        return messages

    def join(self, roles=ROLES):
        (welcome,) = self.send([1, "realm1", {"roles": roles}])
        assert welcome[0] == 2
        self.gateway.asked.clear()
        return self

    @property
    def asked(self):
        """The requests that the gateway got since this was last read."""
        asked, self.gateway.asked = self.gateway.asked, []
        return asked


def joined(subprotocol="wamp.2.json", *, roles=ROLES, **more):
    return Client(subprotocol, **more).join(roles)


def subscription(uri="com.example", match="exact"):
    return Subscription("realm1", Pattern.wamp(uri, match), SubscribeOptions())


def registered(client, registration, uri, match="exact", *, disclose=False):
    """Give the session a registration, in the form in which the gateway's core records it."""
    text = Pattern.wamp(uri, match).text
    client.session.registrations = {registration: SimpleNamespace(pattern=text, disclose=disclose)}
