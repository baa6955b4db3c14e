"""One gateway, with sessions that record the calls they get, and fake peers for the shards."""

from random import Random

from fake_peer import FakePeer

from fox_shard.backplane.frames import (
    Call,
    Event,
    Fence,
    Invocation,
    Publish,
    decode,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Auth, Mqtt, RealmLimits, Reducers
from fox_shard.config import Gateway as Settings
from fox_shard.config import Realm as RealmSettings
from fox_shard.deadline import Deadline
from fox_shard.documents import payloads
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.topics.pattern import Pattern

REALM = "realm1"
WALL = 1_800_000_000.0
REALM_LIMITS = RealmLimits()


class FakeEncoder:
    """An event encoder that writes `<name>:<publication>;` and counts the events it has encoded."""

    def __init__(self, name="w", *, per_subscription=True, refuses=()):
        self.name = name
        self.per_subscription = per_subscription
        self.refuses = refuses
        self.encoded = 0

    def event(self, event, subscription):
        self.encoded += 1
        if event.publish.topic in self.refuses:
            return b""
        return f"{self.name}:{event.publication};".encode()

    def events(self, events, subscription):
        return [chunk for event in events if (chunk := self.event(event, subscription))]

    def selected(self, selected, subscription, removed):
        """Write `<name>:<publication>`, and after it the reason if the key is gone."""
        return f"{self.name}:{selected.event.publication}{removed};".encode()


class RecordingSession(Session):
    """A session that records each call of the gateway in `told`, as (name, arguments …)."""

    def __init__(
        self, realm, encoder, id_=0, *, dirty=None, authid="user", authrole="role", expires=None
    ):
        super().__init__(Connection([] if dirty is None else dirty, "peer"))
        self.realm = realm
        self.encoder = encoder
        self.id = id_
        self.authid = authid
        self.authrole = authrole
        self.expires = expires
        self.told = []
        self.gateway = None
        self.connection.owner = self

    def __repr__(self):
        return f"RecordingSession({self.id})"

    @property
    def written(self):
        """The events written since this was last read, as a list."""
        data = b"".join(self.connection.out).decode()
        self.connection.out.clear()
        return data.split(";")[:-1]

    def take(self):
        told, self.told = self.told, []
        return told

    def deliver(self, event, granted_qos):
        self.told.append(("deliver", event.publication, granted_qos))

    def published(self, requests, publications):
        self.told.append(("published", requests, publications))

    def refused(self, refused):
        self.told.append(("refused", refused.request, refused.uri))

    def subscribed(self, request, subscription, retained):
        ids = [event.publication for event in retained]
        self.told.append(("subscribed", request, subscription.pattern.text, ids))

    def more_keys(self, events, subscription, granted_qos):
        self.told.append(("shown", [event.publication for event in events]))

    def not_subscribed(self, request, uri, message, oldest):
        self.told.append(("not subscribed", request, uri, oldest))

    def unsubscribed_early(self, request, subscription):
        self.told.append(("unsubscribed early", request, subscription.pattern.text))

    def subscription_revoked(self, subscription, reason):
        self.told.append(("subscription revoked", subscription.pattern.text))

    def registered(self, request, registration):
        self.told.append(("registered", request, registration))

    def unregistered(self, request):
        self.told.append(("unregistered", request))

    def revoked(self, registration, reason):
        self.told.append(("revoked", registration, reason))

    def invocation(self, request, registration, call):
        self.told.append(("invocation", request, call.request))

    def reduction(self, request, reduce):
        self.told.append(("reduction", request, reduce.event.publication))

    def interrupt(self, request, interrupt):
        self.told.append(("interrupt", request, interrupt.mode))

    def result(self, result):
        self.told.append(("result", result.request, result.progress))

    def call_error(self, error):
        self.told.append(("call_error", error.request, error.uri))

    def admitted(self):
        self.told.append(("admitted",))

    def end(self, reason, message):
        self.told.append(("end", reason))
        if self.gateway is not None:
            self.gateway.requests.session_ended(self, "ended")


def realm(shards=1):
    return Realm(REALM, Placement(shards))


def links(shards=2, *, opened=True):
    """Return the gateway's ends of links to shards that never answer."""
    made = []
    for shard in range(shards):
        link = Link(
            "gateway-0",
            f"shard-{shard}",
            incarnation=1,
            settings=LinkSettings(shards=shards),
            new_epoch=lambda shard=shard: 100 * (shard + 1),
            deadline=Deadline(),
            connects=True,
            now=0.0,
        )
        link.open = opened
        made.append(link)
    return made


def sent_on(link):
    """Return the frames sent on the link since the last call."""
    frames = [*link.outbox]
    link.outbox.clear()
    link.reliable.clear()
    return frames


def event(publication=1, topic="a.b", *, session=99, order=1, flags=0, **more):
    publish = Publish(REALM, topic, session, 1, order, flags, payloads.JSON, b"[1]", **more)
    return Event(publication, publish)


def invocation(number=1, callee=1, *, registration=5, session=99, order=1, request=1, fence=None):
    call = Call(REALM, "p.q", session, request, order, 0, 0, payloads.JSON, b"[]", fence=fence)
    return Invocation(number, callee, registration, call)


def fence(*marks, origin="gateway-1"):
    return Fence(origin, [*marks])


class GatewayHarness:
    """A gateway linked to fake peers. Batches move only in `turn`, in both directions."""

    def __init__(
        self,
        shards=2,
        *,
        linked=True,
        credit=8 << 20,
        absent=(),
        reducer=None,
        users=None,
        anonymous=False,
        user_keys="",
        roles=(),
        auth=None,
        gateways=1,
        realm_limits=REALM_LIMITS,
        **settings,
    ):
        self.terms = LinkSettings(shards=shards, credit=credit)
        self.now = 100.0
        # Seconds by which somebody has set the machine's clock.
        self.wrong_by = 0.0
        self.gateway = Gateway(
            0,
            realms=[
                RealmSettings(
                    name=name,
                    anonymous=anonymous,
                    users=user_keys if name == REALM else "",
                    role=roles,
                )
                for name in (REALM, "other")
            ],
            auth=auth or Auth(),
            settings=Settings(**settings),
            mqtt=Mqtt(),
            reducer=reducer or Reducers(),
            terms=self.terms,
            incarnation=7,
            rng=Random(1),
            now=self.now,
            wall=WALL,
            users=users,
            gateways=gateways,
            realm_limits=realm_limits,
        )
        self.realm = self.gateway.realms[REALM]
        self.peers = {}
        for name in [*(f"shard-{n}" for n in range(shards)), "coordinator"]:
            if name not in absent:
                self.join(name)
        if linked:
            self.turns()
            self.gateway.notices.clear()

    def join(self, name, incarnation=1):
        """Start the peer of that name, for the first time or again."""
        peer = self.peers[name] = FakePeer(
            name, "gateway-0", self.terms, self.now, incarnation=incarnation
        )
        return peer

    def kill(self, name):
        del self.peers[name]
        self.gateway.connection_lost(name, self.now)

    def __getitem__(self, name):
        return self.peers[name]

    def turn(self):
        for name, data in self.gateway.flush(self.now):
            if name in self.peers:
                self.peers[name].take(data, self.now)
        hashing = self.gateway.authentication.hashing
        for job in hashing.due():
            hashing.finished(job, right=job.run())
        for peer in [*self.peers.values()]:
            link = peer.link
            link.tick(self.now)
            if not peer.silent and (link.outbox or link.urgent):
                for data in link.flush(self.now):
                    wall = WALL + self.now - 100.0 + self.wrong_by
                    self.gateway.receive(decode(data), len(data), self.now, wall)

    def turns(self, many=4):
        self.gateway.tick(self.now)
        for _ in range(many):
            self.turn()

    def pass_time(self, seconds, step=0.25):
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + step, until)
            self.turns(3)

    def say(self, name, *frames):
        """Let the peer send the frames, and take the turns that follow."""
        for frame in frames:
            self.peers[name].link.send(frame)
        self.turns()

    def got(self, name, kind=object):
        """Return the frames of this kind that the peer got since the last call."""
        self.turns()
        peer = self.peers[name]
        got = [frame for frame in peer.got if isinstance(frame, kind)]
        peer.got = [frame for frame in peer.got if not isinstance(frame, kind)]
        return got

    def session(
        self, encoder=None, *, client="", protocol="wamp.2.json", authmethod="anonymous", **identity
    ):
        """Return a session that has joined."""
        session = RecordingSession(
            self.realm, encoder or FakeEncoder(), dirty=self.gateway.dirty, **identity
        )
        session.gateway = self.gateway
        self.gateway.requests.session_opened(
            session,
            protocol=protocol,
            transport="websocket",
            authmethod=authmethod,
            authprovider="static",
            client=client,
        )
        return session

    def topic(self, shard, word="t"):
        """Return a topic that belongs to the shard."""
        names = (f"{word}{n}" for n in range(1000))
        return next(name for name in names if self.realm.shard_of(name) == shard)

    def publish(self, session, topic, flags=0, request=1, **more):
        route = self.realm.route(topic)
        self.gateway.requests.publish(session, route, flags, request, payloads.JSON, b"[1]", **more)

    def subscribe(self, session, text, *, request=1, granted_qos=0, **subscribe_options):
        pattern = Pattern.parse(text)
        self.gateway.requests.subscribe(
            session, request, pattern, granted_qos, SubscribeOptions(**subscribe_options)
        )
