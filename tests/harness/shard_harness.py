"""One shard, and puppets in the places of all the other processes."""

from random import Random

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    Call,
    Leave,
    Present,
    Publish,
    Register,
    Subscribe,
    SyncEnd,
    Unregister,
    Yield,
    decode,
)
from fox_shard.backplane.link import Link
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.terms import LinkEvent, LinkSettings
from fox_shard.config import Realm
from fox_shard.deadline import Deadline
from fox_shard.documents import payloads
from fox_shard.shard.core import Shard
from fox_shard.topics.ids import pattern_id

REALM = "realm1"
WALL = 1_800_000_000.0


def epoch_of(incarnation):
    """Where a puppet's epochs begin; they count up by one a pair."""
    return incarnation << 40


class Puppet:
    """Another process: what it got, and whether it confirms it."""

    def __init__(self, name, terms, now, *, connects, incarnation=1):
        self.link = Link(
            name,
            "shard-0",
            incarnation=incarnation,
            terms=terms,
            new_epoch=lambda: epoch_of(incarnation),
            deadline=Deadline(),
            connects=connects,
            now=now,
        )
        self.got = []
        self.changes = []
        self.replay = []
        # Silent: what it says does not arrive. Deaf: what it is told does not.
        self.silent = False
        self.deaf = False

    def take(self, data, now):
        change, frames = self.link.receive(decode(data), len(data), now)
        if change is not LinkEvent.NONE:
            self.changes.append(change)
        if change is LinkEvent.OPENED:
            self.link.resume(self.replay)
        self.got.extend(frame for frame in frames if not isinstance(frame, SyncEnd))
        self.link.passed, self.link.durable = self.link.received, self.link.watermark


class Disk:
    """The shard's store: commits what it gets at once, unless `held`; fails if it has `trouble`."""

    def __init__(self, rows=()):
        self.rows = dict(rows)
        self.held = False
        self.trouble = ""
        # Written and not committed.
        self.waiting = []
        self._failed = False

    def write(self, write):
        if write.resume:
            self._failed = False
        if not self._failed:
            self.waiting.append(write)

    def commit(self):
        """Returns the ticket and what became of it; None: there was nothing to commit."""
        if not self.waiting:
            return None
        writes, self.waiting = self.waiting, []
        if self.trouble:
            self._failed = True
            return writes[0].ticket, self.trouble
        for write in writes:
            self.rows.update(write.changes)
        self.rows = {key: value for key, value in self.rows.items() if value is not None}
        return writes[-1].ticket, ""


class Stage:
    """`shard` is shard-0; the others are linked and have replayed nothing, unless told otherwise.

    Nothing moves but in `turn`, which lets what both sides have to say arrive.
    """

    def __init__(
        self,
        gateways=2,
        shards=1,
        *,
        linked=True,
        queue_limit=3,
        credit=8 << 20,
        absent=(),
        unstored=(),
        realms=(),
    ):
        self.terms = LinkSettings(shards=shards, credit=credit)
        self.placement = Placement(shards)
        self.now = 100.0
        self.disk = Disk()
        self._start = lambda incarnation: Shard(
            0,
            gateways=gateways,
            terms=self.terms,
            queue_limit=queue_limit,
            incarnation=incarnation,
            rng=Random(incarnation),
            now=self.now,
            wall=WALL + self.now,
            rows=sorted(self.disk.rows.items()),
            realms=[*realms, *(Realm(name=name, store="memory") for name in unstored)],
        )
        self.shard = self._start(77)
        self.puppets = {}
        names = [f"gateway-{n}" for n in range(gateways)]
        names += [f"shard-{n}" for n in range(1, shards)]
        for name in names:
            if name not in absent:
                self.join(name)
        if linked:
            self.turns()
            self.shard.notices.clear()

    def join(self, name, incarnation=1, replay=()):
        """The process starts, for the first time or again."""
        # The shard connects to shards of higher numbers.
        connects = not name.startswith("shard-")
        puppet = Puppet(name, self.terms, self.now, connects=connects, incarnation=incarnation)
        puppet.replay = [*replay]
        self.puppets[name] = puppet
        return puppet

    def __getitem__(self, name):
        return self.puppets[name]

    def kill(self, name):
        """The process ends, and the shard hears of the broken connection."""
        del self.puppets[name]
        self.shard.lost(name, self.now)

    def restart(self, incarnation=78):
        """The shard is killed, and starts from what is on its disk. Nobody has replayed yet."""
        self.disk = Disk(self.disk.rows)
        self.shard = self._start(incarnation)
        for puppet in self.puppets.values():
            puppet.link.break_off(self.now)
            puppet.got.clear()
            puppet.deaf = False

    # Time

    def commit(self):
        """What the shard has written is committed, or fails."""
        outcome = self.disk.commit()
        if outcome is not None:
            self.shard.journal.outcome(*outcome, self.now)

    def turn(self):
        """What both sides have to say arrives."""
        write = self.shard.journal.take(self.now)
        if write is not None:
            self.disk.write(write)
        if not self.disk.held:
            self.commit()
        for name, data in self.shard.flush(self.now):
            if name in self.puppets and not self.puppets[name].deaf:
                self.puppets[name].take(data, self.now)
        for puppet in self.puppets.values():
            link = puppet.link
            link.tick(self.now)
            if not puppet.silent and (link.outbox or link.urgent):
                for data in link.flush(self.now):
                    self.shard.receive(decode(data), len(data), self.now, WALL + self.now)

    def turns(self, many=4):
        self.shard.tick(self.now)
        for _ in range(many):
            self.turn()

    def pass_time(self, seconds, step=0.25):
        """With everything the shard and the others do meanwhile."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + step, until)
            self.turns(3)

    # What the others do

    def send(self, name, *frames, reliable=False):
        link = self.puppets[name].link
        for frame in frames:
            if reliable:
                link.send_reliable(frame)
            else:
                link.send(frame)

    def say(self, name, *frames, reliable=False):
        """Send, and let everything happen that follows."""
        self.send(name, *frames, reliable=reliable)
        self.turns()

    def got(self, name, kind=object):
        """What it got since it was last asked."""
        puppet = self.puppets[name]
        got = [frame for frame in puppet.got if isinstance(frame, kind)]
        puppet.got = [frame for frame in puppet.got if not isinstance(frame, kind)]
        return got

    @staticmethod
    def id_of(pattern):
        """The id of a registration."""
        return pattern_id(REALM, "registration", pattern)

    def home(self, shard, template="*{}.+.#", realm=REALM):
        """A pattern's text that lives on that shard; template: with a place for a component."""
        texts = (template.format(f"n{n}") for n in range(1000))
        return next(text for text in texts if self.placement.shard_of(realm, text) == shard)


def watched_stage(**more):
    """gateway-1 has subscribed to everything; it and the sessions of gateway-0 outlive restarts."""
    stage = Stage(gateways=2, **more)
    stage["gateway-0"].replay = [Present(session) for session in range(1, 10)]
    stage["gateway-1"].replay = [subscribe("*#")]
    stage.say("gateway-1", subscribe("*#"))
    return stage


def publish(
    topic="a.b", *, session=1, request=1, flags=ACKNOWLEDGE, args=b"[1]", realm=REALM, **more
):
    return Publish(
        realm,
        topic,
        session,
        request,
        more.pop("order", request),
        flags,
        payloads.JSON,
        args,
        **more,
    )


def subscribe(pattern="=a.b", *, token=0, replay=False, realm=REALM):
    return Subscribe(token, realm, pattern, replay)


def register(
    session,
    pattern="=p.q",
    *,
    request=1,
    invoke="single",
    concurrency=0,
    force=False,
    replay=False,
    realm=REALM,
):
    registration = pattern_id(realm, "registration", pattern)
    return Register(
        realm, session, request, pattern, registration, invoke, concurrency, force, replay
    )


def unregister(session, pattern="=p.q", *, request=2, realm=REALM):
    return Unregister(realm, session, request, pattern, pattern_id(realm, "registration", pattern))


def call(session=1, request=1, procedure="p.q", *, flags=0, timeout=0, realm=REALM):
    return Call(realm, procedure, session, request, request, flags, timeout, payloads.JSON, b"[]")


def yield_(invocation, args=b"[1]", *, progress=False):
    return Yield(invocation.invocation, progress, payloads.JSON, args)


def leave(session, *, graceful=True):
    return Leave(session, graceful)
