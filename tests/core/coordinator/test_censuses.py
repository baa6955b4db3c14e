"""Meta events of registrations and subscriptions: what the coordinator makes of what it is told.

WAMP #registration-metapi, #subscription-metapi.
"""

from dataclasses import dataclass, field

import pytest
from msgspec import msgpack

from fox_shard.backplane.frames import (
    Counted,
    Join,
    Leave,
    Listened,
    Listening,
    Membership,
    MembershipEnded,
    Publish,
    TakeCensus,
)
from fox_shard.backplane.placement import META_EVENTS, SESSION, Placement
from fox_shard.coordinator import memberships, rows
from fox_shard.coordinator.core import Coordinator
from fox_shard.coordinator.loading import read
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal

REALM, GATEWAY = "realm1", "gateway-0"
PLACEMENT = Placement(4)
SHARD = f"shard-{PLACEMENT.shard_of(REALM, 'wamp.subscription.on_create')}"
NUMBER = 5


def ignore(*_):
    pass


@dataclass
class Site:
    """A coordinator with its disk. Its effects are collected until they are taken."""

    disk: dict = field(default_factory=dict)
    effects: list = field(default_factory=list)

    def __post_init__(self):
        self.start()

    def start(self):
        """Start the coordinator, for the first time or again, from what is on the disk."""
        self.journal = Journal(Deadline(), ignore, ignore, ignore)
        self.core = Coordinator(PLACEMENT, self.journal)
        stored = read(sorted(self.disk.items()))
        for session in stored.sessions:
            self.core.load(session)
        known = [(one.session, one.gateway) for one in stored.sessions]
        self.core.memberships.load(stored.censuses, stored.members, known)

    def commit(self):
        write = self.journal.take(0.0)
        if write is not None:
            self.disk.update(write.changes)
            self.disk = {key: value for key, value in self.disk.items() if value is not None}
            self.journal.outcome(write.ticket, "", 0.0)
            self.effects += self.core.memberships.committed(write.ticket)

    def hear(self, frame, of=GATEWAY, now=0.0):
        self.effects += self.core.receive(of, frame, now)

    def work(self):
        while self.core.memberships.busy:
            self.effects += self.core.memberships.go_on()

    def take(self, kind):
        taken = [(to, frame) for to, frame in self.effects if isinstance(frame, kind)]
        self.effects = [one for one in self.effects if not isinstance(one[1], kind)]
        return taken

    def told(self):
        """Return the meta events since the last call, without those of sessions."""
        events = [(one.topic, *msgpack.decode(one.args)) for _, one in self.take(Publish)]
        return [event for event in events if "session" not in event[0]]

    def join(self, *sessions, gateway=GATEWAY, replay=False):
        for session in sessions:
            self.hear(
                Join(session, REALM, *["x"] * 7, client="", began=0.0, replay=replay), gateway
            )

    def listen(self, number=NUMBER):
        self.hear(Listening(REALM, "subscription", number), SHARD)

    def subscribe(self, session, id_=9, *, of=GATEWAY, number=NUMBER):
        self.hear(
            Membership(REALM, "subscription", number, session, id_, "^a.", "", 1_800_000_000.0), of
        )

    def unsubscribe(self, session, id_=9, *, number=NUMBER):
        self.hear(MembershipEnded(REALM, "subscription", number, session, id_))

    def counted(self, gateway=GATEWAY, number=NUMBER):
        self.hear(Counted(REALM, "subscription", number), gateway)
        self.commit()


@pytest.fixture
def site():
    """A coordinator that publishes changes; sessions 1 and 2 are at the only gateway."""
    site = Site()
    site.core.memberships.gateway_opened(GATEWAY)
    site.join(1, 2)
    site.listen()
    site.counted()
    site.take(object)
    return site


DETAILS = {"id": 9, "created": "2027-01-15T08:00:00.000Z", "uri": "a.", "match": "prefix"}


def on(step, *args):
    return (f"wamp.subscription.on_{step}", *args)


@pytest.mark.cites("advanced.meta_api_subscriptions.3", "advanced.meta_api_subscriptions.4")
def test_a_life_is_told_in_order(site):
    for change in (site.subscribe, site.unsubscribe):
        change(1)
        change(2)
    assert site.told() == [
        on("create", 1, DETAILS),
        on("subscribe", 1, 9),
        on("subscribe", 2, 9),
        on("unsubscribe", 1, 9),
        on("unsubscribe", 2, 9),
        on("delete", 2, 9),
    ]


def test_a_registration_has_its_policy_in_its_details(site):
    site.hear(Listening(REALM, "registration", 6), SHARD)
    site.hear(Counted(REALM, "registration", 6))
    site.hear(Membership(REALM, "registration", 6, 1, 8, "=p.q", "random", 1_800_000_000.0))
    uri = {"uri": "p.q", "match": "exact", "invoke": "random"}
    assert site.told() == [
        ("wamp.registration.on_create", 1, {**DETAILS, "id": 8, **uri}),
        ("wamp.registration.on_register", 1, 8),
    ]


@pytest.mark.cites(
    "advanced.meta_api_registrations.2",
    "advanced.meta_api_registrations.3",
    "advanced.meta_api_registrations.4",
)
def test_the_life_of_a_registration_is_told_in_order_in_its_realm(site):
    site.hear(Listening(REALM, "registration", 6), SHARD)
    site.hear(Counted(REALM, "registration", 6))
    site.hear(Membership(REALM, "registration", 6, 1, 8, "=p.q", "random", 1_800_000_000.0))
    site.hear(MembershipEnded(REALM, "registration", 6, 1, 8))
    assert {event.realm for _, event in site.effects if isinstance(event, Publish)} == {REALM}
    steps = ("create", "register", "unregister", "delete")
    assert [topic for topic, *_ in site.told()] == [f"wamp.registration.on_{one}" for one in steps]


@pytest.mark.parametrize("kind", META_EVENTS)
def test_all_events_of_a_kind_go_to_one_shard(kind):
    """So that they come in order."""
    for shards in range(1, 9):
        placement = Placement(shards)
        assert len({placement.shard_of(REALM, topic) for topic in META_EVENTS[kind]}) == 1


def test_what_is_told_twice_is_published_once(site):
    for change in (site.subscribe, site.subscribe, site.unsubscribe, site.unsubscribe):
        change(1)
    assert [topic for topic, *_ in site.told()] == [
        on(step)[0] for step in ("create", "subscribe", "unsubscribe", "delete")
    ]


def test_nothing_is_asked_or_stored_if_nobody_listens():
    site = Site()
    assert site.core.memberships.gateway_opened(GATEWAY) == []
    site.hear(Listening(REALM, "subscription", 0), SHARD)
    assert site.effects == []
    assert site.journal.take(0.0) is None


def test_what_was_there_before_somebody_listened_is_not_told():
    site = Site()
    site.core.memberships.gateway_opened(GATEWAY)
    site.join(1, 2)
    site.listen()
    assert site.take(TakeCensus) == [(GATEWAY, TakeCensus(REALM, "subscription", NUMBER))]
    site.subscribe(1)
    site.commit()
    assert site.take(Listened) == []
    site.counted()
    assert site.take(Listened) == [(SHARD, Listened(REALM, "subscription", NUMBER))]
    site.subscribe(2)
    assert site.told() == [on("subscribe", 2, 9)]


def test_listeners_wait_for_each_gateway_that_may_have_sessions():
    site = Site()
    for number in (0, 1):
        site.core.memberships.gateway_opened(f"gateway-{number}")
    site.listen()
    site.counted("gateway-0")
    # One that begins meanwhile is asked, too.
    asked = site.core.memberships.gateway_opened("gateway-2")
    assert asked == [TakeCensus(REALM, "subscription", NUMBER)]
    site.counted("gateway-2")
    assert site.take(Listened) == []
    site.effects += site.core.gateway_gone("gateway-1", 0.0)
    site.commit()
    assert len(site.take(Listened)) == 1


def test_a_shard_that_returns_is_answered_at_once_with_its_new_number(site):
    site.listen(7)
    assert site.take(object) == [(SHARD, Listened(REALM, "subscription", 7))]
    site.subscribe(1)
    assert len(site.told()) == 2


def test_a_shard_is_not_answered_before_it_is_durable_that_the_census_is_complete():
    site = Site()
    site.core.memberships.gateway_opened(GATEWAY)
    site.listen()
    site.hear(Counted(REALM, "subscription", NUMBER))
    site.listen(7)
    assert site.take(Listened) == []
    site.commit()
    assert site.take(Listened) == [(SHARD, Listened(REALM, "subscription", 7))]


@pytest.mark.parametrize("end", ["leave", "gateway gone"])
def test_what_ends_with_a_session_is_told(site, end):
    site.subscribe(1)
    site.subscribe(1, 10)
    site.subscribe(2)
    site.told()
    if end == "leave":
        site.hear(Leave(1, graceful=True))
    else:
        site.effects += site.core.gateway_gone(GATEWAY, 0.0)
    site.work()
    told = site.told()
    for event in (on("unsubscribe", 1, 9), on("unsubscribe", 1, 10), on("delete", 1, 10)):
        assert told.count(event) == 1
    assert told.index(on("unsubscribe", 1, 10)) < told.index(on("delete", 1, 10))
    assert (on("delete", 2, 9) in told) is (end != "leave")


def test_the_end_of_a_session_with_very_many_subscriptions_is_sliced(site, monkeypatch):
    monkeypatch.setattr(memberships, "SLICE", 10)
    for id_ in range(35):
        site.subscribe(1, id_)
    site.take(object)
    site.hear(Leave(1, graceful=True))
    turns = []
    while site.core.memberships.busy:
        site.effects += site.core.memberships.go_on()
        turns.append(len(site.told()))
    assert sum(turns) == 70
    assert max(turns) <= 20


def test_another_subscriber_may_come_while_the_end_of_the_last_one_waits(site):
    site.subscribe(1)
    site.take(object)
    site.hear(Leave(1, graceful=True))
    site.subscribe(2)
    site.work()
    assert site.told() == [on("subscribe", 2, 9), on("unsubscribe", 1, 9)]


def test_a_restarted_coordinator_goes_on_where_it_was(site):
    site.subscribe(1)
    site.subscribe(2)
    site.hear(Leave(2, graceful=True))
    site.commit()
    site.take(object)
    site.start()
    # The gateway tells again what it does not know to be durable, and session 2 has ended.
    site.subscribe(1)
    site.work()
    assert site.told() == [on("unsubscribe", 2, 9)]
    assert site.core.memberships.gateway_opened(GATEWAY) == [
        TakeCensus(REALM, "subscription", NUMBER)
    ]
    site.unsubscribe(1)
    assert site.told() == [on("unsubscribe", 1, 9), on("delete", 1, 9)]
    site.commit()
    assert not [key for key in site.disk if key.startswith(rows.MEMBER)]


def test_a_census_that_was_not_complete_begins_anew_after_a_restart():
    site = Site()
    site.core.memberships.gateway_opened(GATEWAY)
    site.join(1)
    site.listen()
    site.subscribe(1)
    site.commit()
    site.take(object)
    site.start()
    site.work()
    site.commit()
    assert not [key for key in site.disk if key[:1] in (rows.CENSUS, rows.MEMBER)]
    assert site.told() == []
    site.listen(7)
    assert site.take(TakeCensus) == [(GATEWAY, TakeCensus(REALM, "subscription", 7))]


def test_a_census_goes_on_for_a_while_without_listeners(site):
    """A client that subscribes again and again must not have everything told each time."""
    site.hear(Listening(REALM, "subscription", 0), SHARD, now=100.0)
    assert site.core.memberships.next_expiry == 100.0 + memberships.LINGER
    site.core.memberships.expire(100.0 + memberships.LINGER - 1)
    site.listen(8)
    assert site.take(object) == [(SHARD, Listened(REALM, "subscription", 8))]
    assert site.core.memberships.next_expiry == float("inf")


def test_a_census_that_is_over_leaves_nothing(site):
    site.subscribe(1)
    site.commit()
    site.take(object)
    site.hear(Listening(REALM, "subscription", 0), SHARD, now=100.0)
    site.core.memberships.expire(100.0 + memberships.LINGER)
    site.hear(Leave(1, graceful=True))
    site.work()
    site.commit()
    assert site.told() == []
    assert not [key for key in site.disk if key[:1] in (rows.CENSUS, rows.MEMBER)]
    # A gateway that goes on telling hears that nobody wants it.
    site.subscribe(2)
    assert site.take(object) == [(GATEWAY, TakeCensus(REALM, "subscription", 0))]


def test_what_is_told_of_a_session_that_has_ended_is_ignored(site):
    site.hear(Leave(1, graceful=True))
    site.take(object)
    site.subscribe(1)
    assert site.take(object) == []


# Session meta events


def sessions_told(site):
    return [frame.topic.rpartition("_")[2] for _, frame in site.take(Publish)]


def test_sessions_come_and_go_without_a_word_if_nobody_listens():
    site = Site()
    site.join(1)
    site.take(Publish)
    site.hear(Listening(REALM, SESSION, 0), of=SHARD)
    site.join(2)
    site.hear(Leave(1, graceful=True))
    assert sessions_told(site) == []


def test_a_listener_is_told_of_what_comes_after_its_answer_and_of_it_only():
    site = Site()
    site.hear(Listening(REALM, SESSION, 0), of=SHARD)
    site.join(1)
    site.hear(Listening(REALM, SESSION, 7), of=SHARD)
    assert site.take(TakeCensus) == []
    assert site.take(Listened) == []
    site.commit()
    assert site.take(Listened) == [(SHARD, Listened(REALM, SESSION, 7))]
    site.join(2)
    site.hear(Leave(1, graceful=True))
    assert sessions_told(site) == ["join", "leave"]


def test_until_the_shard_has_said_who_listens_everything_is_told():
    """A coordinator that restarts must not be silent towards those who listen."""
    site = Site()
    site.hear(Listening(REALM, SESSION, 7), of=SHARD)
    site.join(1)
    site.take(Publish)
    site.disk.clear()
    site.start()
    site.join(1, replay=True)
    site.join(2)
    assert sessions_told(site) == ["join"]


def test_session_meta_events_end_a_while_after_the_last_listener():
    site = Site()
    site.hear(Listening(REALM, SESSION, 7), of=SHARD)
    site.hear(Listening(REALM, SESSION, 0), of=SHARD, now=10.0)
    site.core.memberships.expire(10.0 + memberships.LINGER - 1)
    site.join(1)
    assert sessions_told(site) == ["join"]
    site.core.memberships.expire(10.0 + memberships.LINGER)
    site.hear(Leave(1, graceful=True))
    assert sessions_told(site) == []
