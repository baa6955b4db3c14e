"""Replays: what a new subscriber is shown first, a page at a time (semantics: subscribing)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack
from shard_harness import REALM, Stage, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    EMPTY,
    RETAIN,
    Again,
    CaughtUp,
    Event,
    Keep,
    More,
    Paused,
    Retained,
    Selected,
    Selection,
    Subscribe,
    Subscribed,
)
from fox_shard.shard.pubsub import replay as replaying

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY
TOKEN = 7
STATE = Selection(5, state=True)
ON = Selection(6, filter=msgpack.encode({"on": True}))


def ask(pattern="*#", token=TOKEN, **more):
    return Subscribe(token, REALM, pattern, True, **more)


def key(topic, args=b"[1]", request=1, **more):
    return publish(topic, request=request, flags=KEEP, args=args, **more)


def erase(topic):
    return publish(topic, flags=ERASE, args=b"")


def seen(stage, name="gateway-1"):
    """What that gateway got, in short: `a` is a key, `(a)` one that comes ahead, `a!` an event."""
    found = []
    for frame in stage.got(name):
        match frame:
            case Retained(event=event, ahead=True, topic=topic):
                found.append(f"({topic})" if event else f"(no {topic})")
            case Retained(event=event):
                found.append(event.publish.topic)
            case Event(publish=publish_):
                found.append(f"{publish_.topic}!")
            case Selected(event=event, removed=removed):
                found.append(f"{event.publish.topic}!{removed}")
            case Again(event=Event(publish=publish_)):
                found.append(f"{publish_.topic} again")
            case Again(event=Selected(event=event)):
                found.append(f"{event.publish.topic} again!")
            case Subscribed() | Paused() | CaughtUp():
                assert frame.token == TOKEN
                found.append(type(frame).__name__)
    return found


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(replaying, "PAGE_KEYS", 2)


@pytest.fixture(params=["stored", "memory"])
def stage(request):
    """Writers are at gateway-0; there are keys a, b, c, d, e."""
    return with_keys(unstored=() if request.param == "stored" else (REALM,))


def with_keys(topics="abcde", **more):
    stage = Stage(gateways=3, **more)
    stage.write = lambda *frames: stage.say("gateway-0", *frames, reliable=True)
    stage.write(*(key(topic) for topic in topics))
    return stage


def more(stage, *, enough=False):
    stage.say("gateway-1", More(TOKEN, enough))
    return seen(stage)


def quiet(stage):
    """Does the shard remember no replay?"""
    index = stage.shard.broker.realms[REALM]
    return not index.realm.before and not index.attentive


# Pages


def test_a_page_comes_for_each_more(stage):
    stage.say("gateway-1", ask())
    assert seen(stage) == ["a", "b", "Subscribed", "Paused"]
    assert more(stage) == ["c", "d", "Paused"]
    assert more(stage) == ["e", "CaughtUp"]
    assert more(stage) == []


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("=b", ["b", "Subscribed", "CaughtUp"]),
        ("=x", ["Subscribed", "CaughtUp"]),
        ("^x", ["Subscribed", "CaughtUp"]),
        ("^a", ["a", "Subscribed", "CaughtUp"]),
    ],
)
def test_what_fits_into_one_page_needs_no_more(pattern, shown, stage):
    stage.say("gateway-1", ask(pattern))
    assert seen(stage) == shown


def test_a_page_that_is_just_full_may_be_the_last(stage):
    stage.write(erase("e"))
    stage.say("gateway-1", ask())
    assert seen(stage) == ["a", "b", "Subscribed", "Paused"]
    assert more(stage) == ["c", "d", "Paused"]
    assert more(stage) == ["CaughtUp"]


def test_a_page_has_bytes_enough_and_one_key_at_least(stage, monkeypatch):
    monkeypatch.setattr(replaying, "PAGE_KEYS", 100)
    monkeypatch.setattr(replaying, "PAGE_BYTES", 10)
    stage.write(key("b", b'["0123456789"]'), key("c", b'["0123456789"]'))
    stage.say("gateway-1", ask())
    assert seen(stage) == ["a", "b", "Subscribed", "Paused"]
    assert more(stage) == ["c", "Paused"]
    assert more(stage) == ["d", "e", "CaughtUp"]


def test_nobody_waits_while_a_filter_leaves_most_keys_out(stage, monkeypatch):
    monkeypatch.setattr(replaying, "SEEN_A_PAGE", 3)
    stage.write(key("e", b'[{"on":true}]'))
    stage.say("gateway-1", ask(selection=ON))
    assert seen(stage) == ["Subscribed", "Paused"]
    assert more(stage) == ["e", "CaughtUp"]


def test_enough_ends_a_replay_and_is_not_answered(stage):
    stage.say("gateway-1", ask())
    seen(stage)
    assert more(stage, enough=True) == []
    stage.write(key("d"))
    assert seen(stage) == ["d!"]
    assert more(stage) == []
    stage.say("gateway-1", More(999, enough=True), More(999))
    assert seen(stage) == []


def test_two_replays_have_paces_of_their_own(stage):
    stage.say("gateway-1", ask())
    stage.say("gateway-2", Subscribe(1, REALM, "*#", True), More(1))
    assert seen(stage) == ["a", "b", "Subscribed", "Paused"]
    topics = [frame.event.publish.topic for frame in stage.got("gateway-2", Retained)]
    assert topics == ["a", "b", "c", "d"]
    assert more(stage) == ["c", "d", "Paused"]


def test_a_replay_goes_on_behind_a_topic(stage):
    stage.say("gateway-1", ask(start_topic="b"))
    assert seen(stage) == ["c", "d", "Subscribed", "Paused"]
    stage.write(key("b"))
    assert seen(stage) == ["b!"]


def test_once_leaves_no_subscription_behind(stage):
    stage.say("gateway-1", ask(once=True, selection=STATE))
    assert seen(stage) == ["a", "b", "Subscribed", "Paused"]
    assert more(stage) == ["c", "d", "Paused"]
    assert more(stage) == ["e", "CaughtUp"]
    stage.write(key("a"), key("f"))
    assert seen(stage) == []
    assert quiet(stage)
    assert stage.shard.subscriptions.of(stage.shard.peers["gateway-1"]) == {}


# Changes meanwhile


def test_what_is_past_is_not_shown_again(stage):
    stage.say("gateway-1", ask())
    seen(stage)
    stage.write(key("a"), erase("b"), key("aa"))
    assert seen(stage) == ["a!", "b!", "aa!"]
    assert more(stage) == ["c", "d", "Paused"]


def test_a_change_before_its_turn_is_preceded_by_the_key(stage):
    stage.say("gateway-1", ask())
    seen(stage)
    stage.write(key("d", b"[2]"), key("d", b"[3]"))
    (ahead,) = stage.got("gateway-1", Retained)
    assert (ahead.ahead, ahead.topic, ahead.event.publish.args) == (True, "d", b"[1]")
    assert seen(stage) == ["d!", "d!"]
    assert more(stage) == ["c", "e", "Paused"]
    assert more(stage) == ["CaughtUp"]


def test_so_is_an_event_that_changes_nothing(stage):
    stage.say("gateway-1", ask())
    seen(stage)
    stage.write(publish("d", flags=0))
    assert seen(stage) == ["(d)", "d!"]
    assert more(stage) == ["c", "e", "Paused"]


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
def test_a_stream_of_state_is_shown_the_key_before_its_change(change, shown, stage):
    stage.say("gateway-1", ask(selection=STATE))
    seen(stage)
    stage.write(change)
    assert [one for one in seen(stage) if one != "(no dd)"] == [
        one for one in shown if one != "(no dd)"
    ]
    rest = [one for one in more(stage) + more(stage) if one not in ("Paused", "CaughtUp")]
    assert rest == (["c", "e"] if "(d)" in shown else ["c", "d", "e"])


def test_a_new_key_is_no_key_before(stage):
    stage.say("gateway-1", ask())
    seen(stage)
    stage.write(key("dd"))
    assert seen(stage) == ["(no dd)", "dd!"]
    assert more(stage) + more(stage) == ["c", "d", "Paused", "e", "CaughtUp"]


def test_a_key_that_goes_by_itself_is_shown_before(stage):
    stage.write(key("d", keep=Keep(2.0)), key("e", session=2, keep=Keep(weak=True)))
    stage.say("gateway-1", ask(selection=STATE))
    seen(stage)
    stage.pass_time(3.0)
    assert seen(stage) == ["(d)", "d!expired"]
    stage.write(leave(2))
    assert seen(stage) == ["(e)", "e!weak"]
    assert more(stage) == ["c", "CaughtUp"]


def test_of_a_key_that_its_filter_leaves_out_nothing_is_shown_before(stage):
    stage.say("gateway-1", ask(selection=Selection(5, True, ON.filter)))
    assert seen(stage) == ["Subscribed", "CaughtUp"]
    stage.write(*(key(topic, b'[{"on":true}]') for topic in "bcd"))
    seen(stage)
    stage.say("gateway-1", ask(selection=Selection(5, True, ON.filter)))
    assert seen(stage) == ["b", "c", "Subscribed", "Paused"]
    stage.write(key("d"), key("e", b'[{"on":true}]'))
    news = seen(stage)
    assert (
        news.index("(d)") < news.index("d!filter"),
        news.index("(no e)") < news.index("e!"),
    ) == (
        True,
        True,
    )
    assert len(news) == 4
    assert more(stage) == ["CaughtUp"]


def test_topics_that_it_is_not_about_are_let_alone(stage):
    stage.write(*(key(f"x.{topic}") for topic in "abc"))
    stage.say("gateway-1", ask("^x."))
    seen(stage)
    stage.write(key("y"), publish("x.c", realm="other", flags=KEEP))
    assert seen(stage) == []


# Changes that are not durable


@pytest.fixture
def slow():
    """A store that commits when it is told to."""
    stage = with_keys()
    stage.disk.held = True
    return stage


def committed(stage):
    stage.commit()
    stage.turns()
    return seen(stage)


def test_a_key_that_is_changing_is_shown_first_as_the_disk_has_it(slow):
    slow.write(key("d", b"[2]"), key("f"))
    slow.say("gateway-1", ask())
    shown = {frame.topic: frame.event for frame in slow.got("gateway-1", Retained) if frame.ahead}
    assert set(shown) == {"d", "f"}
    assert (shown["d"].publish.args, shown["f"]) == (b"[1]", None)
    seen(slow)
    assert committed(slow) == ["d!", "f!"]
    assert more(slow) + more(slow) == ["c", "e", "Paused", "CaughtUp"]


def test_a_key_that_begins_to_change_is_shown_as_it_was(slow):
    slow.say("gateway-1", ask())
    seen(slow)
    slow.write(key("d", b"[2]"), erase("e"), key("f"))
    assert sorted(seen(slow)) == ["(d)", "(e)", "(no f)"]
    assert more(slow) == ["c", "CaughtUp"]
    assert committed(slow) == ["d!", "e!", "f!"]


def test_a_key_that_was_to_be_erased_and_stays_is_shown(slow):
    """Its page is sent while it seems to be gone already."""
    slow.say("gateway-1", ask("*+"))
    slow.write(erase("e"))
    found = seen(slow) + more(slow) + more(slow)
    assert [one.strip("()") for one in found if one.strip("()") in "abcde"] == [*"abecd"]
    slow.disk.trouble = "full"
    assert committed(slow) == []
    slow.disk.trouble = ""
    assert slow.shard.retention.key((REALM, "e")) is not None


def test_a_change_that_fails_leaves_the_replay_right(slow):
    slow.say("gateway-1", ask())
    seen(slow)
    slow.write(key("d", b"[2]"), key("f"))
    slow.disk.trouble = "full"
    shown = committed(slow) + more(slow) + more(slow)
    assert [one.strip("()") for one in shown if one.strip("()") in "cdef"].count("d") == 1
    assert "f" not in shown


# Pairs and processes that end


def test_with_the_pair_the_replay_ends(stage):
    stage.say("gateway-1", ask(once=True))
    puppet = stage["gateway-1"]
    puppet.link.break_off(stage.now)
    stage.shard.lost("gateway-1", stage.now)
    assert quiet(stage)
    puppet.replay = [ask(once=True, start_topic="b")]
    seen(stage)
    stage.turns(6)
    assert seen(stage) == ["c", "d", "Subscribed", "Paused"]
    assert more(stage) == ["e", "CaughtUp"]
    assert quiet(stage)


def test_a_replay_alone_does_not_stand_for_the_subscription(stage):
    """What a gateway that is back does not tell again has gone."""
    stage.say("gateway-1", subscribe("*#"))
    puppet = stage["gateway-1"]
    puppet.link.break_off(stage.now)
    stage.shard.lost("gateway-1", stage.now)
    puppet.replay = [ask(once=True)]
    stage.turns(6)
    assert stage.shard.subscriptions.of(stage.shard.peers["gateway-1"]) == {}


def restarted(stage, *asks):
    """The shard has been killed; gateway-2 has not come back yet."""
    stage["gateway-1"].replay = [*asks]
    absent = stage.puppets.pop("gateway-2")
    stage.restart()
    stage.turns(6)
    return absent


def back(stage, absent):
    stage.puppets["gateway-2"] = absent
    absent.link.break_off(stage.now)
    stage.turns(8)


def test_a_restarted_shard_replays_when_everybody_is_back():
    stage = with_keys()
    absent = restarted(stage, ask(), Subscribe(9, REALM, "=x", replay=False))
    assert stage.got("gateway-1", Subscribed) == [Subscribed(9)]
    assert seen(stage) == []
    back(stage, absent)
    assert seen(stage) == ["a", "b", "Subscribed", "Paused"]


def test_what_is_sent_again_is_before_what_a_newcomer_is_shown():
    stage = with_keys("ab")
    stage.disk.held = True
    stage.write(key("b", b"[2]"))
    stage.commit()
    stage.disk.held = False
    absent = restarted(stage, ask(selection=STATE))
    back(stage, absent)
    assert seen(stage) == ["b again!", "a", "b", "Subscribed", "Paused"]
    stage.write(key("b", b"[3]"))
    assert seen(stage) == ["b!"]


def test_who_has_had_enough_before_that_is_not_shown_anything():
    stage = with_keys()
    absent = restarted(stage, ask())
    stage.say("gateway-1", More(TOKEN, enough=True))
    back(stage, absent)
    assert "Subscribed" not in seen(stage) or quiet(stage)
    assert quiet(stage)


def test_who_is_lost_again_before_that_is_forgotten():
    stage = with_keys()
    absent = restarted(stage, ask())
    stage.kill("gateway-1")
    back(stage, absent)
    stage.pass_time(6.0)
    assert quiet(stage)


# Whatever happens

TOPICS = [f"t{number}" for number in range(6)]
STEPS = st.one_of(
    st.tuples(st.just("key"), st.sampled_from(TOPICS)),
    st.tuples(st.just("erase"), st.sampled_from(TOPICS)),
    st.tuples(st.just("plain"), st.sampled_from(TOPICS)),
    st.tuples(st.sampled_from(["more", "commit", "fail"]), st.just("")),
)


class Viewer:
    """What a subscriber believes, and whether each topic's key came before its events."""

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
                case Selected(event=event, removed=removed):
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
def test_a_view_is_right_whatever_happens_while_it_is_replayed(
    stored, state, pattern, before, after
):
    stage = Stage(unstored=() if stored else (REALM,))
    stage.disk.held = True
    viewer = Viewer(state=state)
    steps = [*before, ("subscribe", ""), *after]
    for number, (what, topic) in enumerate(steps, 1):
        flags = {"key": KEEP, "erase": ERASE, "plain": ACKNOWLEDGE}.get(what)
        match what:
            case "subscribe":
                stage.say("gateway-1", ask(pattern, selection=STATE if state else None))
            case "more":
                stage.say("gateway-1", More(TOKEN))
            case "commit" | "fail":
                stage.disk.trouble = "full" if what == "fail" else ""
                stage.commit()
                stage.turns()
                stage.disk.trouble = ""
                stage.pass_time(2.0)
            case _:
                args = b"" if what == "erase" else b"[1]"
                sent = publish(topic, session=number, request=number, flags=flags, args=args)
                stage.say("gateway-0", sent, reliable=True)
        viewer.take(stage.got("gateway-1"))
    stage.disk.held = False
    stage.turns()
    stage.say("gateway-1", *[More(TOKEN)] * (len(TOPICS) // 2 + 1))
    viewer.take(stage.got("gateway-1"))
    keys = stage.shard.retention.realms[REALM].keys
    there = {topic: keys.get(topic).publication for topic in TOPICS if keys.get(topic)}
    assert viewer.keys == there


def test_nothing_is_kept_in_mind_of_events_on_topics_without_keys(stage):
    """Else each new topic would cost memory as long as somebody does not read his replay."""
    stage.say("gateway-1", ask())
    stage.got("gateway-1")
    for number in range(5):
        stage.say("gateway-0", publish(f"x.{number}", flags=0))
    assert stage.got("gateway-1", Retained) == []
