"""A shard, with fake peers in place of all other processes."""

from random import Random

from fake_peer import FakePeer

from fox_shard.backplane.attached import is_attached
from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    Call,
    Leave,
    Publish,
    Register,
    SessionAlive,
    Subscribe,
    Unregister,
    Yield,
    decode,
)
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.terms import LinkSettings
from fox_shard.config import Keys, Realm, RealmLimits, Reducers, Rpc
from fox_shard.documents import payloads
from fox_shard.shard.core import Shard
from fox_shard.topics.ids import pattern_id

REALM = "realm1"
RPC, KEYS, REDUCERS = Rpc(queue_limit=3), Keys(), Reducers()
REALM_LIMITS = RealmLimits()
WALL = 1_800_000_000.0


class Disk:
    """The shard's store, which commits at once unless `held`, and fails while it has `trouble`."""

    def __init__(self, rows=()):
        self.rows = dict(rows)
        self.held = False
        self.trouble = ""
        # Writes that are not committed yet.
        self.waiting = []
        self._failed = False

    def write(self, write):
        if write.resume:
            self._failed = False
        if not self._failed:
            self.waiting.append(write)

    def commit(self):
        """Commit what has been written, or fail.

        Returns the last ticket and "", or the first ticket and the reason of the failure; None if
        there was nothing to commit.
        """
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


class ShardHarness:
    """The shard `shard-0` with a fake peer for each other process; batches move only in `turn`."""

    def __init__(
        self,
        gateways=2,
        shards=1,
        *,
        linked=True,
        rpc=RPC,
        limits=KEYS,
        reducer=REDUCERS,
        max_message_size=1 << 24,
        credit=8 << 20,
        absent=(),
        unstored=(),
        realms=(),
        realm_limits=REALM_LIMITS,
        **terms,
    ):
        """linked: whether all peers have linked before the test begins; they replay nothing.

        rpc, limits, reducer: settings. max_message_size, credit: bytes. absent: names of peers that
        do not start. unstored: names of realms that are kept in memory. realms, realm_limits:
        settings of realms, and of [limits]. terms: see `LinkSettings`.
        """
        self.terms = LinkSettings(shards=shards, credit=credit, **terms)
        self.placement = Placement(shards)
        # Names of the attached gateways whose processes run, linked or not.
        self.running = set()
        self.now = 100.0
        # Names of peers that work, as the shard is told, even if they say nothing.
        self.working = set()
        # Seconds by which the time of day is wrong.
        self.wrong_by = 0.0
        self.disk = Disk()
        self._start = lambda incarnation: Shard(
            0,
            gateways=gateways,
            terms=self.terms,
            rpc=rpc,
            limits=limits,
            reducer=reducer,
            max_message_size=max_message_size,
            incarnation=incarnation,
            rng=Random(incarnation),
            now=self.now,
            wall=WALL + self.now + self.wrong_by,
            rows=sorted(self.disk.rows.items()),
            is_working=lambda peer, incarnation, now: peer in self.working,
            realm_limits=realm_limits,
            running=lambda: frozenset(self.running),
            realms=[*realms, *(Realm(name=name, store="memory") for name in unstored)],
        )
        self.shard = self._start(77)
        self.peers = {}
        names = [f"gateway-{n}" for n in range(gateways)]
        names += [f"shard-{n}" for n in range(1, shards)]
        for name in names:
            if name not in absent:
                self.join(name)
        if linked:
            self.turns()
            self.shard.notices.clear()

    def join(self, name, incarnation=1, replay=()):
        """Start a peer, for the first time or again. replay: the frames that it replays."""
        # The shard connects to shards of higher numbers.
        connects = not name.startswith("shard-")
        terms = self.terms
        if is_attached(name):
            self.running.add(name)
            terms = terms.for_attached()
        peer = FakePeer(
            name, "shard-0", terms, self.now, connects=connects, incarnation=incarnation
        )
        peer.replay = [*replay]
        self.peers[name] = peer
        return peer

    def __getitem__(self, name):
        return self.peers[name]

    def kill(self, name):
        """End a peer; the shard hears of the broken connection."""
        del self.peers[name]
        self.running.discard(name)
        self.shard.connection_lost(name, self.now)

    def restart(self, incarnation=78):
        """Kill the shard, and start it from the rows on its disk. No peer has replayed yet."""
        self.disk = Disk(self.disk.rows)
        self.shard = self._start(incarnation)
        for peer in self.peers.values():
            peer.link.break_off(self.now)
            peer.got.clear()
            peer.deaf = False

    # Time

    def commit(self):
        """Commit what the shard has written, or let it fail."""
        outcome = self.disk.commit()
        if outcome is not None:
            self.shard.journal.outcome(*outcome, self.now)

    def turn(self):
        """Let one turn pass, in which the batches of the shard and its peers arrive."""
        write = self.shard.journal.take(self.now)
        if write is not None:
            self.disk.write(write)
        if not self.disk.held:
            self.commit()
        for name, data in self.shard.flush(self.now):
            if name in self.peers and not self.peers[name].deaf:
                self.peers[name].take(data, self.now)
        for peer in self.peers.values():
            link = peer.link
            link.tick(self.now)
            if not peer.silent and (link.outbox or link.urgent):
                for data in link.flush(self.now):
                    wall = WALL + self.now + self.wrong_by
                    self.shard.receive(decode(data), len(data), self.now, wall)

    def turns(self, many=4):
        """Tick the shard, and let several turns pass."""
        self.shard.tick(self.now)
        for _ in range(many):
            self.turn()

    def pass_time(self, seconds, step=0.25):
        """Let `seconds` pass, in steps of `step`, while the shard and its peers do their work."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + step, until)
            self.turns(3)

    # What the peers do

    def send(self, name, *frames, reliable=False):
        """Send frames as that peer; they leave with the next turn."""
        link = self.peers[name].link
        for frame in frames:
            if reliable:
                link.send_reliable(frame)
            else:
                link.send(frame)

    def say(self, name, *frames, reliable=False):
        """Send frames as that peer, and let the turns pass in which they take effect."""
        self.send(name, *frames, reliable=reliable)
        self.turns()

    def got(self, name, kind=object):
        """Return and forget the frames of that kind that the peer has received."""
        peer = self.peers[name]
        got = [frame for frame in peer.got if isinstance(frame, kind)]
        peer.got = [frame for frame in peer.got if not isinstance(frame, kind)]
        return got

    @staticmethod
    def id_of(pattern):
        """Return the registration id of a pattern."""
        return pattern_id(REALM, "registration", pattern)

    def home(self, shard, template="*{}.+.#", realm=REALM):
        """Return the text of a pattern with its home at that shard. template: has a gap `{}`."""
        texts = (template.format(f"n{n}") for n in range(1000))
        return next(text for text in texts if self.placement.shard_of(realm, text) == shard)


def watched_harness(**more):
    """Return a harness whose gateway-1 is subscribed to everything.

    After a restart of the shard, gateway-1 subscribes again, and sessions 1 to 9 of gateway-0 are
    alive.
    """
    harness = ShardHarness(gateways=2, **more)
    harness["gateway-0"].replay = [SessionAlive(session) for session in range(1, 10)]
    harness["gateway-1"].replay = [subscribe("*#")]
    harness.say("gateway-1", subscribe("*#"))
    return harness


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
