"""One gateway with sessions that write down what they are told, and puppets for the shards."""

from random import Random

from fox_shard.backplane.frames import (
    Call,
    Event,
    Fence,
    Invocation,
    Publish,
    SyncEnd,
    decode,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.terms import LinkEvent, LinkSettings
from fox_shard.config import Gateway as Settings
from fox_shard.config import Mqtt
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


class Flavour:
    """Writes events as `<name>:<publication>`, and counts how often."""

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
        """`<name>:<publication>`, and behind it why the key is no more."""
        return f"{self.name}:{selected.event.publication}{removed};".encode()


class Spy(Session):
    """A session; what it is told is in `told`, as (what, …)."""

    def __init__(self, realm, flavour, id_=0, *, dirty=None, authid="user", authrole="role"):
        super().__init__(Connection([] if dirty is None else dirty, "peer"))
        self.realm = realm
        self.flavour = flavour
        self.id = id_
        self.authid = authid
        self.authrole = authrole
        self.told = []
        self.gateway = None
        self.connection.owner = self

    def __repr__(self):
        return f"Spy({self.id})"

    @property
    def written(self):
        """What was written since this was last asked, as a list."""
        data = b"".join(self.connection.out).decode()
        self.connection.out.clear()
        return data.split(";")[:-1]

    def take(self):
        told, self.told = self.told, []
        return told

    def deliver(self, event, grant):
        self.told.append(("deliver", event.publication, grant))

    def published(self, requests, publications):
        self.told.append(("published", requests, publications))

    def refused(self, refused):
        self.told.append(("refused", refused.request, refused.uri))

    def subscribed(self, request, subscription, retained):
        ids = [event.publication for event in retained]
        self.told.append(("subscribed", request, subscription.pattern.text, ids))

    def shown(self, events, subscription, grant):
        self.told.append(("shown", [event.publication for event in events]))

    def not_subscribed(self, request, uri, message, oldest):
        self.told.append(("not subscribed", request, uri, oldest))

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

    def interrupt(self, request, interrupt):
        self.told.append(("interrupt", request, interrupt.mode))

    def result(self, result):
        self.told.append(("result", result.request, result.progress))

    def call_error(self, error):
        self.told.append(("call_error", error.request, error.uri))

    def end(self, reason, message):
        self.told.append(("end", reason))
        if self.gateway is not None:
            self.gateway.requests.detach(self, "ended")


def realm(shards=1):
    return Realm(REALM, Placement(shards))


def links(shards=2, *, opened=True):
    """Ends of links to shards, which nobody answers."""
    made = []
    for shard in range(shards):
        link = Link(
            "gateway-0",
            f"shard-{shard}",
            incarnation=1,
            terms=LinkSettings(shards=shards),
            new_epoch=lambda shard=shard: 100 * (shard + 1),
            deadline=Deadline(),
            connects=True,
            now=0.0,
        )
        link.open = opened
        made.append(link)
    return made


def taken(link):
    """What was sent there since this was last asked."""
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


class Puppet:
    """Another process, to which the gateway connects."""

    def __init__(self, name, terms, now, incarnation=1):
        self.link = Link(
            name,
            "gateway-0",
            incarnation=incarnation,
            terms=terms,
            new_epoch=lambda: incarnation << 40,
            deadline=Deadline(),
            connects=False,
            now=now,
        )
        self.got = []
        self.changes = []
        self.silent = False

    def take(self, data, now):
        change, frames = self.link.receive(decode(data), len(data), now)
        if change is not LinkEvent.NONE:
            self.changes.append(change)
        if change is LinkEvent.OPENED:
            self.link.resume([])
        self.got.extend(frame for frame in frames if not isinstance(frame, SyncEnd))
        self.link.passed, self.link.durable = self.link.received, self.link.watermark


class GatewayStage:
    """Nothing moves but in `turn`, which lets what both sides have to say arrive."""

    def __init__(self, shards=2, *, linked=True, credit=8 << 20, absent=(), **settings):
        self.terms = LinkSettings(shards=shards, credit=credit)
        self.now = 100.0
        self.gateway = Gateway(
            0,
            realms=[RealmSettings(name=name) for name in (REALM, "other")],
            settings=Settings(**settings),
            mqtt=Mqtt(),
            terms=self.terms,
            incarnation=7,
            rng=Random(1),
            now=self.now,
            wall=WALL,
        )
        self.realm = self.gateway.realms[REALM]
        self.puppets = {}
        for name in [*(f"shard-{n}" for n in range(shards)), "coordinator"]:
            if name not in absent:
                self.join(name)
        if linked:
            self.turns()
            self.gateway.notices.clear()

    def join(self, name, incarnation=1):
        """The process starts, for the first time or again."""
        puppet = self.puppets[name] = Puppet(name, self.terms, self.now, incarnation)
        return puppet

    def kill(self, name):
        del self.puppets[name]
        self.gateway.lost(name, self.now)

    def __getitem__(self, name):
        return self.puppets[name]

    def turn(self):
        for name, data in self.gateway.flush(self.now):
            if name in self.puppets:
                self.puppets[name].take(data, self.now)
        for puppet in [*self.puppets.values()]:
            link = puppet.link
            link.tick(self.now)
            if not puppet.silent and (link.outbox or link.urgent):
                for data in link.flush(self.now):
                    wall = WALL + self.now - 100.0
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
        """The process sends that, and everything happens that follows."""
        for frame in frames:
            self.puppets[name].link.send(frame)
        self.turns()

    def got(self, name, kind=object):
        """What that process got since this was last asked."""
        self.turns()
        puppet = self.puppets[name]
        got = [frame for frame in puppet.got if isinstance(frame, kind)]
        puppet.got = [frame for frame in puppet.got if not isinstance(frame, kind)]
        return got

    def session(self, flavour=None, *, client="", protocol="wamp.2.json", **who):
        """A session that has joined."""
        session = Spy(self.realm, flavour or Flavour(), dirty=self.gateway.dirty, **who)
        session.gateway = self.gateway
        self.gateway.requests.attach(
            session,
            protocol=protocol,
            transport="websocket",
            authmethod="anonymous",
            authprovider="static",
            client=client,
        )
        return session

    def topic(self, shard, word="t"):
        """A topic that lives on that shard."""
        names = (f"{word}{n}" for n in range(1000))
        return next(name for name in names if self.realm.shard_of(name) == shard)

    def publish(self, session, topic, flags=0, request=1, **more):
        route = self.realm.route(topic)
        self.gateway.requests.publish(session, route, flags, request, payloads.JSON, b"[1]", **more)

    def subscribe(self, session, text, *, request=1, grant=0, **wish):
        pattern = Pattern.parse(text)
        self.gateway.requests.subscribe(session, request, pattern, grant, SubscribeOptions(**wish))
