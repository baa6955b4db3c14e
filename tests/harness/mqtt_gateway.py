"""A gateway that records the requests of MQTT sessions, and a client of such a session."""

from random import Random

from fox_shard.backplane.frames import ACKNOWLEDGE, QOS1, QOS2, Event, Publish, Refused
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.placement import Placement
from fox_shard.config import Auth, Mqtt
from fox_shard.config import Gateway as Settings
from fox_shard.deadline import Deadline
from fox_shard.documents.payloads import RAW
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.limits import NAMES
from fox_shard.gateway.clients.timers import Timers
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.gateway.mqtt.codec import decode, encode
from fox_shard.gateway.mqtt.framing import Splitter
from fox_shard.gateway.mqtt.reader import Reader
from fox_shard.gateway.mqtt.session import MqttSession
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.subscription import SubscribeOptions


class FakeGateway:
    """A gateway that records each request in `calls`, as a tuple without the session."""

    def __init__(self, **settings):
        self.settings = Settings(**settings)
        self.now = 100.0
        self.timers = Timers(Deadline())
        self.limit_counts = LimitCounts(NAMES)
        self.wall = 1_800_000_000.0
        self.authentication = Authentication(
            Auth(), (), self.limit_counts, Random(1), lambda: self.now
        )
        self.realms = {name: Realm(name, Placement(2)) for name in ("realm1", "other")}
        self.mqtt = Mqtt(realm="realm1", max_inflight=3)
        self.dropped = 0
        self.calls = []
        self.attached = 0
        self.admits = True

    def open_realm(self, name):
        """Make no realm."""

    def session_opened(self, session, *, protocol, transport, authmethod, authprovider, client=""):
        self.attached += 1
        session.id = self.attached
        session.connection.owner = session
        self.calls.append(("session_opened", session.realm.name, protocol, transport, client))
        return self.admits

    def session_ended(self, session, reason, *, graceful=False):
        self.calls.append(("session_ended", graceful))

    def set_will(self, session, route, flags, encoding, args):
        self.calls.append(("will", route.topic, flags, encoding, args))

    def publish(
        self,
        session,
        route,
        flags,
        request,
        encoding,
        args,
        kwargs=b"",
        publisher=None,
        audience=None,
        retain=None,
        attributes=None,
    ):
        assert encoding == RAW
        assert (kwargs, publisher, audience, retain) == (b"", None, None, None)
        self.calls.append(("publish", route.topic, flags, request, args))

    def publish_all(self, session, route, flags, request, encoding, payloads):
        for args in payloads:
            self.publish(session, route, flags, request, encoding, args)
            request += bool(flags & ACKNOWLEDGE)

    def subscribe(self, session, request, pattern, granted_qos, options):
        assert options == SubscribeOptions(replay=True)
        self.calls.append(("subscribe", request, pattern.text, granted_qos))

    def unsubscribe(self, session, name):
        self.calls.append(("unsubscribe", name))
        return True

    def slow(self, connection):
        self.calls.append(("slow",))
        connection.owner.end("fox.error.slow_consumer", "too slow")

    def advance(self, seconds):
        """Let time pass, and run each timer exactly when it is due."""
        end = self.now + seconds
        while (due := self.timers.next()) <= end:
            self.now = max(self.now, due)
            self.timers.run(self.now)
        self.now = end


class Client:
    """The client's end of a connection with an MQTT session."""

    def __init__(self, gateway=None, frame=None, hangup=None):
        self.gateway = gateway or FakeGateway()
        self.connection = Connection([], "test")
        self.session = MqttSession(self.gateway, self.connection, frame, hangup)
        self.connection.owner = self.session
        self.reader = Reader(self.session)
        self._splitter = Splitter()

    @property
    def calls(self):
        """The requests of the session since this was last read."""
        calls = self.gateway.calls[:]
        self.gateway.calls.clear()
        return calls

    @property
    def closed(self):
        return self.connection.closing

    def feed(self, data):
        self.reader.receive(data, self.gateway.now)
        return self

    def send(self, *packets):
        """Send all packets so that the session reads them at once."""
        return self.feed(b"".join(encode(packet) for packet in packets))

    def received(self):
        """Return the packets that the client was sent since the last call."""
        data = b"".join(self.connection.out)
        self.connection.out.clear()
        return [decode(header, body, 4) for header, body in self._splitter.feed(data)]

    def answers(self, *packets):
        return self.send(*packets).received()

    def confirm(self, *requests):
        """Confirm the publishes with these requests; return the packets sent to the client."""
        for request in requests:
            self.session.published([request], [1000 + request])
        return self.received()

    def refuse(self, request, uri):
        self.session.refused(Refused(self.session.id, request, 1, uri, "a sentence"))
        return self.received()


def connected(gateway=None, *, level=4, frame=None, **connect):
    """Return a client whose CONNECT has been accepted."""
    client = Client(gateway, frame)
    client.send(mqtt.Connect(**{"level": level, "client_id": "c", **connect}))
    if frame is None:
        assert client.received() == [mqtt.Connack(mqtt.ACCEPTED)]
    client.gateway.calls.clear()
    return client


def event(topic="a.b", payload=b"x", qos=1, flags=0, encoding=RAW, kwargs=b"", publication=7):
    flags |= (0, ACKNOWLEDGE | QOS1, ACKNOWLEDGE | QOS2)[qos]
    return Event(publication, Publish("realm1", topic, 1, 1, 1, flags, encoding, payload, kwargs))
