"""Replays: the keys that a new subscriber is shown, page by page (semantics: subscribing)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack
from shard_harness import REALM, ShardHarness, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Again,
    CaughtUp,
    Event,
    More,
    Paused,
    Retained,
    RetainOptions,
    SelectedEvent,
    SelectorSpec,
    Subscribe,
    Subscribed,
)
from fox_shard.shard.pubsub import replay as replaying

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY
TOKEN = 7
STATE = SelectorSpec(5, state=True)
ON = SelectorSpec(6, filter=msgpack.encode({"on": True}))


def ask(pattern="*#", token=TOKEN, **more):
    return Subscribe(token, REALM, pattern, True, **more)


def key(topic, args=b"[1]", request=1, **more):
    return publish(topic, request=request, flags=KEEP, args=args, **more)


def erase(topic):
    return publish(topic, flags=ERASE, args=b"")


def seen(harness, name="gateway-1"):
    """Return what a gateway got, in short: `a` is a key, `(a)` one sent ahead, `a!` an event."""
    found = []
    for frame in harness.got(name):
        match frame:
            case Retained(event=event, ahead=True, topic=topic):
                found.append(f"({topic})" if event else f"(no {topic})")
            case Retained(event=event):
                found.append(event.publish.topic)
            case Event(publish=publish_):
                found.append(f"{publish_.topic}!")
            case SelectedEvent(event=event, removed=removed):
                found.append(f"{event.publish.topic}!{removed}")
            case Again(event=Event(publish=publish_)):
                found.append(f"{publish_.topic} again")
            case Again(event=SelectedEvent(event=event)):
                found.append(f"{event.publish.topic} again!")
            case Subscribed() | Paused() | CaughtUp():
                assert frame.token == TOKEN
                found.append(type(frame).__name__)
    return found


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(replaying, "PAGE_KEYS", 2)


@pytest.fixture(params=["stored", "memory"])
def harness(request):
    """A harness with the keys a, b, c, d and e; `write` publishes at gateway-0."""
    return with_keys(unstored=() if request.param == "stored" else (REALM,))


def with_keys(topics="abcde", **more):
    harness = ShardHarness(gateways=3, **more)
    harness.write = lambda *frames: harness.say("gateway-0", *frames, reliable=True)
    harness.write(*(key(topic) for topic in topics))
    return harness


def more(harness, *, enough=False):
    harness.say("gateway-1", More(TOKEN, enough))
    return seen(harness)


def quiet(harness):
    """Whether the shard remembers no replay."""
    index = harness.shard.broker.realms[REALM]
    return not index.realm.before_change and not index.observers


# Pages


def test_each_more_is_answered_with_a_page(harness):
    harness.say("gateway-1", ask())
    assert seen(harness) == ["a", "b", "Subscribed", "Paused"]
    assert more(harness) == ["c", "d", "Paused"]
    assert more(harness) == ["e", "CaughtUp"]
    assert more(harness) == []


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("=b", ["b", "Subscribed", "CaughtUp"]),
        ("=x", ["Subscribed", "CaughtUp"]),
        ("^x", ["Subscribed", "CaughtUp"]),
        ("^a", ["a", "Subscribed", "CaughtUp"]),
    ],
)
def test_a_replay_that_fits_into_one_page_ends_with_it(pattern, shown, harness):
    harness.say("gateway-1", ask(pattern))
    assert seen(harness) == shown


def test_the_page_after_a_just_full_one_may_have_no_keys(harness):
    harness.write(erase("e"))
    harness.say("gateway-1", ask())
    assert seen(harness) == ["a", "b", "Subscribed", "Paused"]
    assert more(harness) == ["c", "d", "Paused"]
    assert more(harness) == ["CaughtUp"]


def test_a_page_is_limited_in_bytes_but_has_at_least_one_key(harness, monkeypatch):
    monkeypatch.setattr(replaying, "PAGE_KEYS", 100)
    monkeypatch.setattr(replaying, "PAGE_BYTES", 10)
    harness.write(key("b", b'["0123456789"]'), key("c", b'["0123456789"]'))
    harness.say("gateway-1", ask())
    assert seen(harness) == ["a", "b", "Subscribed", "Paused"]
    assert more(harness) == ["c", "Paused"]
    assert more(harness) == ["d", "e", "CaughtUp"]


def test_the_first_page_ends_after_many_keys_that_a_filter_leaves_out(harness, monkeypatch):
    monkeypatch.setattr(replaying, "SLICE_UNITS", 3)
    harness.write(key("e", b'[{"on":true}]'))
    harness.say("gateway-1", ask(selector=ON))
    assert seen(harness) == ["Subscribed", "Paused"]
    assert more(harness) == ["e", "CaughtUp"]


def test_a_page_is_made_over_several_turns_if_the_pattern_passes_over_many_keys(
    harness, monkeypatch
):
    monkeypatch.setattr(replaying, "SLICE_UNITS", 2)
    harness.write(*(key(f"{number}.x") for number in range(20)), key("y.z"))
    harness.shard.budget.units = 8
    harness.say("gateway-1", ask("*+.z"))
    assert seen(harness) == ["Subscribed", "Paused"]
    harness.send("gateway-1", More(TOKEN))
    turns, found = 0, []
    while "CaughtUp" not in found:
        harness.turn()
        turns += 1
        assert turns < 20
        found += seen(harness)
    assert found == ["y.z", "CaughtUp"]
    assert turns > 4


def test_many_replays_share_the_budget_of_a_turn(monkeypatch):
    monkeypatch.setattr(replaying, "SLICE_UNITS", 10)
    harness = ShardHarness(gateways=2)
    harness.say("gateway-0", *(key(f"{number}.x") for number in range(50)), reliable=True)
    harness.shard.budget.units = 30
    asked = range(1, 11)
    for token in asked:
        harness.send("gateway-1", ask("*+.z", token=token))
    left, ended, turns = [], [], 0
    while len(ended) < len(asked):
        harness.turn()
        left.append(harness.shard.subscriptions.busy)
        turns += 1
        assert turns < 100
        harness.send("gateway-1", *(More(one.token) for one in harness.got("gateway-1", Paused)))
        ended += [one.token for one in harness.got("gateway-1", CaughtUp)]
    assert sorted(ended) == [*asked]
    # 500 keys are passed over, about 30 in a turn.
    assert turns > 12
    assert left[-1] is False
    assert sum(left) > 8


def test_a_replay_that_waits_for_its_turn_can_be_given_up(harness, monkeypatch):
    monkeypatch.setattr(replaying, "SLICE_UNITS", 1)
    harness.shard.budget.units = 1
    harness.shard.budget.begin_turn()
    harness.say("gateway-1", ask(), ask("=b", token=8), More(8, enough=True))
    harness.say("gateway-1", More(TOKEN), More(TOKEN, enough=True))
    assert not harness.shard.subscriptions.busy
    assert quiet(harness)


def test_enough_ends_a_replay_and_is_not_answered(harness):
    harness.say("gateway-1", ask())
    seen(harness)
    assert more(harness, enough=True) == []
    harness.write(key("d"))
    assert seen(harness) == ["d!"]
    assert more(harness) == []
    harness.say("gateway-1", More(999, enough=True), More(999))
    assert seen(harness) == []


def test_each_replay_has_its_own_pace(harness):
    harness.say("gateway-1", ask())
    harness.say("gateway-2", Subscribe(1, REALM, "*#", True), More(1))
    assert seen(harness) == ["a", "b", "Subscribed", "Paused"]
    topics = [frame.event.publish.topic for frame in harness.got("gateway-2", Retained)]
    assert topics == ["a", "b", "c", "d"]
    assert more(harness) == ["c", "d", "Paused"]


def test_a_replay_may_start_after_a_topic(harness):
    harness.say("gateway-1", ask(start_topic="b"))
    assert seen(harness) == ["c", "d", "Subscribed", "Paused"]
    harness.write(key("b"))
    assert seen(harness) == ["b!"]


def test_a_snapshot_leaves_no_subscription_behind(harness):
    harness.say("gateway-1", ask(once=True, selector=STATE))
    assert seen(harness) == ["a", "b", "Subscribed", "Paused"]
    assert more(harness) == ["c", "d", "Paused"]
    assert more(harness) == ["e", "CaughtUp"]
    harness.write(key("a"), key("f"))
    assert seen(harness) == []
    assert quiet(harness)
    assert harness.shard.subscriptions.of(harness.shard.peers["gateway-1"]) == {}


# Changes during a replay


def test_keys_that_were_replayed_are_not_shown_again(harness):
    harness.say("gateway-1", ask())
    seen(harness)
    harness.write(key("a"), erase("b"), key("aa"))
    assert seen(harness) == ["a!", "b!", "aa!"]
    assert more(harness) == ["c", "d", "Paused"]


def test_a_change_of_a_key_that_was_not_replayed_yet_is_preceded_by_the_key(harness):
    harness.say("gateway-1", ask())
    seen(harness)
    harness.write(key("d", b"[2]"), key("d", b"[3]"))
    (ahead,) = harness.got("gateway-1", Retained)
    assert (ahead.ahead, ahead.topic, ahead.event.publish.args) == (True, "d", b"[1]")
    assert seen(harness) == ["d!", "d!"]
    assert more(harness) == ["c", "e", "Paused"]
    assert more(harness) == ["CaughtUp"]


def test_an_event_that_changes_nothing_is_preceded_by_the_key_too(harness):
    harness.say("gateway-1", ask())
    seen(harness)
    harness.write(publish("d", flags=0))
    assert seen(harness) == ["(d)", "d!"]
    assert more(harness) == ["c", "e", "Paused"]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (key("d"), ["(d)", "d!"]),
        (erase("d"), ["(d)", "d!deleted"]),
        (key("dd"), ["(no dd)", "dd!"]),
        (publish("d", flags=0), ["(d)"]),
        (erase("dd"), []),
    ],
)
def test_a_state_stream_is_shown_the_key_before_its_change(change, shown, harness):
    harness.say("gateway-1", ask(selector=STATE))
    seen(harness)
    harness.write(change)
    assert [one for one in seen(harness) if one != "(no dd)"] == [
        one for one in shown if one != "(no dd)"
    ]
    rest = [one for one in more(harness) + more(harness) if one not in ("Paused", "CaughtUp")]
    assert rest == (["c", "e"] if "(d)" in shown else ["c", "d", "e"])


def test_a_new_key_is_preceded_by_the_absence_of_a_key(harness):
    harness.say("gateway-1", ask())
    seen(harness)
    harness.write(key("dd"))
    assert seen(harness) == ["(no dd)", "dd!"]
    assert more(harness) + more(harness) == ["c", "d", "Paused", "e", "CaughtUp"]


def test_a_key_that_expires_or_ends_with_its_session_is_shown_before(harness):
    harness.write(
        key("d", retain=RetainOptions(2.0)), key("e", session=2, retain=RetainOptions(weak=True))
    )
    harness.say("gateway-1", ask(selector=STATE))
    seen(harness)
    harness.pass_time(3.0)
    assert seen(harness) == ["(d)", "d!expired"]
    harness.write(leave(2))
    assert seen(harness) == ["(e)", "e!weak"]
    assert more(harness) == ["c", "CaughtUp"]


def test_a_change_is_preceded_only_by_a_key_that_meets_the_filter(harness):
    harness.say("gateway-1", ask(selector=SelectorSpec(5, True, ON.filter)))
    assert seen(harness) == ["Subscribed", "CaughtUp"]
    harness.write(*(key(topic, b'[{"on":true}]') for topic in "bcd"))
    seen(harness)
    harness.say("gateway-1", ask(selector=SelectorSpec(5, True, ON.filter)))
    assert seen(harness) == ["b", "c", "Subscribed", "Paused"]
    harness.write(key("d"), key("e", b'[{"on":true}]'))
    news = seen(harness)
    assert (
        news.index("(d)") < news.index("d!filter"),
        news.index("(no e)") < news.index("e!"),
    ) == (
        True,
        True,
    )
    assert len(news) == 4
    assert more(harness) == ["CaughtUp"]


def test_topics_that_do_not_match_are_not_shown_ahead(harness):
    harness.write(*(key(f"x.{topic}") for topic in "abc"))
    harness.say("gateway-1", ask("^x."))
    seen(harness)
    harness.write(key("y"), publish("x.c", realm="other", flags=KEEP))
    assert seen(harness) == []


# Changes that are not durable


@pytest.fixture
def slow():
    """A harness with keys, whose disk commits only in `committed`."""
    harness = with_keys()
    harness.disk.held = True
    return harness


def committed(harness):
    harness.commit()
    harness.turns()
    return seen(harness)


def test_a_key_that_is_changing_is_shown_ahead_as_the_disk_has_it(slow):
    slow.write(key("d", b"[2]"), key("f"))
    slow.say("gateway-1", ask())
    shown = {frame.topic: frame.event for frame in slow.got("gateway-1", Retained) if frame.ahead}
    assert set(shown) == {"d", "f"}
    assert (shown["d"].publish.args, shown["f"]) == (b"[1]", None)
    seen(slow)
    assert committed(slow) == ["d!", "f!"]
    assert more(slow) + more(slow) == ["c", "e", "Paused", "CaughtUp"]


def test_a_key_that_begins_to_change_is_shown_ahead_as_it_was(slow):
    slow.say("gateway-1", ask())
    seen(slow)
    slow.write(key("d", b"[2]"), erase("e"), key("f"))
    assert sorted(seen(slow)) == ["(d)", "(e)", "(no f)"]
    assert more(slow) == ["c", "CaughtUp"]
    assert committed(slow) == ["d!", "e!", "f!"]


def test_a_key_whose_erasure_fails_is_shown(slow):
    """The last page is sent while the key already seems to be gone."""
    slow.say("gateway-1", ask("*+"))
    slow.write(erase("e"))
    found = seen(slow) + more(slow) + more(slow)
    assert [one.strip("()") for one in found if one.strip("()") in "abcde"] == [*"abecd"]
    slow.disk.trouble = "full"
    assert committed(slow) == []
    slow.disk.trouble = ""
    assert slow.shard.retained_keys.key((REALM, "e")) is not None


def test_a_change_that_fails_leaves_the_replay_correct(slow):
    slow.say("gateway-1", ask())
    seen(slow)
    slow.write(key("d", b"[2]"), key("f"))
    slow.disk.trouble = "full"
    shown = committed(slow) + more(slow) + more(slow)
    assert [one.strip("()") for one in shown if one.strip("()") in "cdef"].count("d") == 1
    assert "f" not in shown


# Pairs and processes that end


def test_a_replay_ends_with_its_pair_and_is_continued_in_the_next_one(harness):
    harness.say("gateway-1", ask(once=True))
    peer = harness["gateway-1"]
    peer.link.break_off(harness.now)
    harness.shard.connection_lost("gateway-1", harness.now)
    assert quiet(harness)
    peer.replay = [ask(once=True, start_topic="b")]
    seen(harness)
    harness.turns(6)
    assert seen(harness) == ["c", "d", "Subscribed", "Paused"]
    assert more(harness) == ["e", "CaughtUp"]
    assert quiet(harness)


def test_a_snapshot_does_not_stand_for_a_subscription(harness):
    """A subscription that the gateway does not replay is dropped."""
    harness.say("gateway-1", subscribe("*#"))
    peer = harness["gateway-1"]
    peer.link.break_off(harness.now)
    harness.shard.connection_lost("gateway-1", harness.now)
    peer.replay = [ask(once=True)]
    harness.turns(6)
    assert harness.shard.subscriptions.of(harness.shard.peers["gateway-1"]) == {}


def restarted(harness, *asks):
    """Restart the shard without gateway-2; return gateway-2, for `back`."""
    harness["gateway-1"].replay = [*asks]
    absent = harness.peers.pop("gateway-2")
    harness.restart()
    harness.turns(6)
    return absent


def back(harness, absent):
    harness.peers["gateway-2"] = absent
    absent.link.break_off(harness.now)
    harness.turns(8)


def test_a_restarted_shard_replays_when_every_peer_is_back():
    harness = with_keys()
    absent = restarted(harness, ask(), Subscribe(9, REALM, "=x", replay=False))
    assert harness.got("gateway-1", Subscribed) == [Subscribed(9)]
    assert seen(harness) == []
    back(harness, absent)
    assert seen(harness) == ["a", "b", "Subscribed", "Paused"]


def test_events_that_are_sent_again_precede_new_replays():
    harness = with_keys("ab")
    harness.disk.held = True
    harness.write(key("b", b"[2]"))
    harness.commit()
    harness.disk.held = False
    absent = restarted(harness, ask(selector=STATE))
    back(harness, absent)
    assert seen(harness) == ["b again!", "a", "b", "Subscribed", "Paused"]
    harness.write(key("b", b"[3]"))
    assert seen(harness) == ["b!"]


def test_a_replay_that_is_given_up_during_sync_is_forgotten():
    harness = with_keys()
    absent = restarted(harness, ask())
    harness.say("gateway-1", More(TOKEN, enough=True))
    back(harness, absent)
    assert "Subscribed" not in seen(harness) or quiet(harness)
    assert quiet(harness)


def test_the_replay_of_a_gateway_that_is_lost_during_sync_is_forgotten():
    harness = with_keys()
    absent = restarted(harness, ask())
    harness.kill("gateway-1")
    back(harness, absent)
    harness.pass_time(6.0)
    assert quiet(harness)


# Against a model of the subscriber

TOPICS = [f"t{number}" for number in range(6)]
STEPS = st.one_of(
    st.tuples(st.just("key"), st.sampled_from(TOPICS)),
    st.tuples(st.just("erase"), st.sampled_from(TOPICS)),
    st.tuples(st.just("plain"), st.sampled_from(TOPICS)),
    st.tuples(st.sampled_from(["more", "commit", "fail"]), st.just("")),
)


class Viewer:
    """A subscriber's view of the keys. Checks that each topic's key comes before its events."""

    def __init__(self, *, state):
        self.state = state
        self.keys = {}
        self.live = set()

    def take(self, frames):
        for frame in frames:
            match frame:
                case Retained(event=event, topic=topic):
                    topic = topic or event.publish.topic
                    assert topic not in self.live, f"{topic} was shown behind its events"
                    self.live.add(topic) if frame.ahead else None
                    assert topic not in self.keys, f"{topic} was shown twice"
                    if event is not None:
                        self.keys[topic] = event.publication
                case SelectedEvent(event=event, removed=removed):
                    self.change(event, gone=bool(removed))
                case Event(publish=publish_):
                    if publish_.flags & RETAIN:
                        self.change(frame, gone=publish_.flags & EMPTY > 0)

    def change(self, event, *, gone):
        topic = event.publish.topic
        self.live.add(topic)
        assert event.publication > self.keys.get(topic, 0)
        if gone:
            self.keys.pop(topic, None)
        else:
            self.keys[topic] = event.publication


@given(
    stored=st.booleans(),
    state=st.booleans(),
    pattern=st.sampled_from(["*#", "*+", "^t"]),
    before=st.lists(STEPS, max_size=8),
    after=st.lists(STEPS, max_size=20),
)
def test_the_view_of_a_subscriber_is_right_whatever_happens_during_its_replay(
    stored, state, pattern, before, after
):
    harness = ShardHarness(unstored=() if stored else (REALM,))
    harness.disk.held = True
    viewer = Viewer(state=state)
    steps = [*before, ("subscribe", ""), *after]
    for number, (what, topic) in enumerate(steps, 1):
        flags = {"key": KEEP, "erase": ERASE, "plain": ACKNOWLEDGE}.get(what)
        match what:
            case "subscribe":
                harness.say("gateway-1", ask(pattern, selector=STATE if state else None))
            case "more":
                harness.say("gateway-1", More(TOKEN))
            case "commit" | "fail":
                harness.disk.trouble = "full" if what == "fail" else ""
                harness.commit()
                harness.turns()
                harness.disk.trouble = ""
                harness.pass_time(2.0)
            case _:
                args = b"" if what == "erase" else b"[1]"
                sent = publish(topic, session=number, request=number, flags=flags, args=args)
                harness.say("gateway-0", sent, reliable=True)
        viewer.take(harness.got("gateway-1"))
    harness.disk.held = False
    harness.turns()
    harness.say("gateway-1", *[More(TOKEN)] * (len(TOPICS) // 2 + 1))
    viewer.take(harness.got("gateway-1"))
    keys = harness.shard.retained_keys.realms[REALM].keys
    present = {topic: keys.get(topic).publication for topic in TOPICS if keys.get(topic)}
    assert viewer.keys == present


def test_nothing_is_shown_ahead_of_an_event_on_a_topic_without_a_key(harness):
    """Otherwise each new topic would cost memory while a subscriber does not read its replay."""
    harness.say("gateway-1", ask())
    harness.got("gateway-1")
    for number in range(5):
        harness.say("gateway-0", publish(f"x.{number}", flags=0))
    assert harness.got("gateway-1", Retained) == []
