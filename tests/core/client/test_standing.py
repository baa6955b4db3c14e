"""Subscriptions and registrations outlive a connection, and programs miss no change."""

import pytest
from client_cores import CoreEnd

from fox_shard.client.effects import Answered, Failed, Over
from fox_shard.client.failures import ConnectionLost, Failure, Refused
from fox_shard.topics.ids import SHARDS

STATE = {"retained": True}
SNAPSHOT = {"retained": True, "snapshot": True}


def key(end, number, topic, publication, value=1):
    """Let the router show a key of a replay."""
    end.says(36, number, publication, {"topic": topic, "retained": True}, [value])


def change(end, number, topic, publication, value=1, **details):
    end.says(36, number, publication, {"topic": topic, **details}, [value])


def removal(end, number, topic, publication, removed="deleted"):
    end.says(36, number, publication, {"topic": topic, "removed": removed})


def end_of_snapshot(end, number):
    end.says(35, 0, {"subscription": number, "reason": "fox.close.snapshot"})


def again(end, *numbers):
    """Lose the connection, join again, and let the router confirm what is asked for."""
    end.take_sent()
    end.lose()
    end.join(8)
    end.take_told()
    end.confirm(*numbers)


# Making


def test_a_subscription_gets_its_events_until_it_ends():
    end = CoreEnd()
    end.take_told()
    end.subscribed(1, "com.a", {"match": "exact"}, 11)
    assert end.take_told() == [Answered(1, [11])]
    end.says(36, 11, 640, {}, [21.5], {"unit": "K"})
    (arrived,) = end.take_told()
    event = arrived.event
    assert (event.topic, event.publication, event.args) == ("com.a", 640, [21.5])
    assert event.kwargs == {"unit": "K"}
    end.do("unsubscribe", 1)
    assert end.take_sent() == [[34, 2, 11]]
    end.says(35, 2)
    end.says(36, 11, 704, {}, [22])
    assert end.take_told() == []


def test_what_is_wanted_without_a_session_is_asked_for_in_the_next_one_in_order():
    end = CoreEnd(joins=False)
    end.do("subscribe", 1, "com.a", {}, stays=True)
    end.do("register", 2, "com.p", {})
    end.do("subscribe", 3, "com.b", {}, stays=True)
    assert end.take_sent() == []
    end.join()
    assert [message[:1] + message[3:] for message in end.take_sent()[1:]] == [
        [32, "com.a"],
        [64, "com.p"],
        [32, "com.b"],
    ]


def test_a_first_refusal_is_told_and_nothing_stays():
    end = CoreEnd()
    end.do("subscribe", 1, "com.a", {}, stays=True)
    end.do("register", 2, "com.p", {})
    end.take_told()
    end.says(8, 32, 1, {}, "wamp.error.unavailable", ["later"])
    end.says(8, 64, 2, {}, "wamp.error.procedure_already_exists", ["taken"])
    assert [(type(one), one.error.uri) for one in end.take_told()] == [
        (Failed, "wamp.error.unavailable"),
        (Failed, "wamp.error.procedure_already_exists"),
    ]
    again(end)


def test_a_line_that_is_cut_before_the_answer_changes_nothing_for_the_program():
    end = CoreEnd()
    end.do("subscribe", 1, "com.a", {}, stays=True)
    end.do("register", 2, "com.p", {})
    end.take_sent()
    end.lose()
    end.join(8)
    end.take_told()
    end.confirm(11, 12)
    assert end.take_told() == [Answered(1, [11]), Answered(2, [12])]


def test_everything_is_made_again_in_order_and_told_no_more():
    end = CoreEnd()
    end.subscribed(1, "com.a", {}, 11)
    end.do("register", 2, "com.p", {"invoke": "random"})
    end.confirm(12)
    end.subscribed(3, "com.b", {}, 13)
    end.do("unsubscribe", 1)
    again(end, 22, 23)
    assert end.take_told() == []
    change(end, 23, "com.b", 640)
    assert end.shown(3) == [("com.b", 640, "")]
    end.says(68, 1, 22, {})
    assert end.take_told()[0].ticket == 2


def test_a_procedure_that_the_dead_session_still_has_is_registered_a_while_later():
    end = CoreEnd()
    end.do("register", 1, "com.p", {})
    end.confirm(12)
    again_at = [0.25, 0.5, 1.0]
    end.lose()
    end.join(8)
    end.take_told()
    now = 100.0
    end.now = now
    for seconds in again_at:
        ((_, request, *_),) = end.take_sent(64)
        end.says(8, 64, request, {}, "wamp.error.procedure_already_exists", ["taken"])
        assert end.core.deadline == now + seconds
        end.tick(now + seconds - 0.01)
        assert end.take_sent() == []
        now += seconds
        end.tick(now)
    end.confirm(12)
    assert end.take_told() == []
    assert end.core.deadline == float("inf")


@pytest.mark.parametrize("verb", ["subscribe", "register"])
def test_what_is_refused_for_good_in_a_later_session_is_over(verb):
    end = CoreEnd()
    if verb == "subscribe":
        end.do("subscribe", 1, "com.a", {}, stays=True)
    else:
        end.do("register", 1, "com.a", {})
    end.confirm(11)
    end.lose()
    end.join(8)
    end.take_told()
    request = end.take_sent()[-1][1]
    end.says(8, 32, request, {}, "wamp.error.not_authorized", ["no"])
    (over,) = end.take_told()
    assert isinstance(over, Over)
    assert isinstance(over.error, Refused)
    again(end)


def test_a_subscription_that_does_not_stay_is_over_with_its_session():
    end = CoreEnd()
    end.subscribed(1, "com.lock", STATE, 11, stays=False)
    end.do("subscribe", 2, "com.other", STATE, stays=False)
    end.take_told()
    end.lose()
    _, over, failed = end.take_told()
    assert (over.ticket, type(over), type(over.error)) == (1, Over, ConnectionLost)
    assert (failed.ticket, type(failed), type(failed.error)) == (2, Failed, ConnectionLost)


# Sharing


def test_programs_that_want_the_same_share_it_until_the_last_one_leaves():
    end = CoreEnd()
    end.subscribed(1, "com.a", {"filter": {"b": 1, "a": 2}}, 11)
    end.subscribed(2, "com.a", {"match": "exact", "filter": {"a": 2, "b": 1}}, 11)
    change(end, 11, "com.a", 640)
    assert [one.ticket for one in end.take_told()[-2:]] == [1, 2]
    end.do("unsubscribe", 1)
    assert end.take_sent() == []
    end.do("unsubscribe", 2)
    assert end.take_sent(34) == [[34, 3, 11]]


def test_a_subscription_is_not_ended_while_the_router_is_asked_for_it_again():
    end = CoreEnd()
    end.subscribed(1, "com.a", {}, 11)
    end.do("subscribe", 2, "com.a", {}, stays=True)
    end.do("unsubscribe", 1)
    end.confirm(11)
    end.take_told()
    change(end, 11, "com.a", 640)
    assert end.shown(2) == [("com.a", 640, "")]
    end.do("unsubscribe", 2)
    assert end.take_sent() == [[34, 3, 11]]


def test_a_subscription_that_ends_before_it_is_confirmed_is_ended_then():
    end = CoreEnd()
    end.do("subscribe", 1, "com.a", {}, stays=True)
    end.do("unsubscribe", 1)
    end.take_told()
    end.confirm(11)
    assert end.take_sent() == [[34, 2, 11]]
    assert end.take_told() == []


def test_only_those_that_asked_for_keys_are_shown_them_among_events():
    end = CoreEnd()
    end.subscribed(1, "com.a", {}, 11)
    end.subscribed(2, "com.a", {"get_retained": True}, 11)
    end.take_told()
    key(end, 11, "com.a", 640)
    assert [one.ticket for one in end.take_told()] == [2]


def test_one_client_follows_a_pattern_once():
    end = CoreEnd()
    end.subscribed(1, "com.a", {"after": 0}, 11)
    with pytest.raises(Failure, match="follows"):
        end.core.subscribe(2, "com.a", {"after": 640}, stays=True)


def test_a_snapshot_that_its_reader_leaves_is_ended_before_the_next_one_begins():
    """Or else the next reader would get the rest of it, and its end, as if these were all keys."""
    end = CoreEnd()
    end.subscribed(1, "com.#", SNAPSHOT, 11)
    end.do("subscribe", 2, "com.#", SNAPSHOT, stays=False)
    assert end.take_sent() == []
    end.do("unsubscribe", 1)
    assert end.take_sent() == [[34, 3, 11], [32, 2, SNAPSHOT, "com.#"]]


def test_snapshots_of_the_same_keys_come_one_after_the_other():
    end = CoreEnd()
    end.subscribed(1, "com", {**SNAPSHOT, "match": "prefix"}, 11)
    end.do("subscribe", 2, "com", {**SNAPSHOT, "match": "prefix"}, stays=False)
    assert end.take_sent() == []
    key(end, 11, "com.a", 640)
    end.take_told()
    end_of_snapshot(end, 11)
    assert end.take_told() == [Over(1, None)]
    end.confirm(11)
    key(end, 11, "com.a", 640)
    assert end.shown(2) == [("com.a", 640, "")]
    end_of_snapshot(end, 11)
    assert end.take_told() == [Over(2, None)]


# State streams


def test_a_state_stream_goes_on_with_what_has_changed_meanwhile():
    end = CoreEnd()
    end.subscribed(1, "com.#", STATE, 11)
    for number, topic in enumerate(["com.same", "com.changed", "com.gone", "com.left"], 1):
        key(end, 11, topic, 64 * number)
    removal(end, 11, "com.left", 320, "weak")
    again(end, 21)
    end.confirm(22)  # the snapshot, which is asked for behind the stream
    key(end, 21, "com.same", 64)
    key(end, 21, "com.changed", 384)
    key(end, 21, "com.new", 448)
    key(end, 22, "com.same", 64)
    key(end, 22, "com.changed", 384)
    key(end, 22, "com.new", 448)
    assert end.shown(1) == [("com.changed", 384, ""), ("com.new", 448, "")]
    end_of_snapshot(end, 22)
    assert end.shown(1) == [("com.gone", 192, "missed")]
    removal(end, 21, "com.new", 512)
    assert end.shown(1) == [("com.new", 512, "deleted")]


def test_a_key_that_only_the_snapshot_shows_in_time_has_not_gone():
    end = CoreEnd()
    end.subscribed(1, "com.#", STATE, 11)
    key(end, 11, "com.a", 64)
    again(end, 21)
    end.confirm(22)
    key(end, 22, "com.a", 64)
    end_of_snapshot(end, 22)
    key(end, 21, "com.a", 64)
    assert end.shown(1) == []


def test_the_snapshot_is_one_of_the_same_keys():
    end = CoreEnd()
    options = {"match": "prefix", "filter": {"on": True}, "retained": True}
    end.subscribed(1, "com", options, 11)
    key(end, 11, "com.a", 64)
    again(end, 21)
    ((_, _, asked, pattern),) = end.take_sent()
    assert (asked, pattern) == ({**options, "snapshot": True}, "com")


def test_a_stream_that_has_shown_nothing_needs_no_snapshot():
    end = CoreEnd()
    end.subscribed(1, "com.#", STATE, 11)
    again(end, 21)
    assert end.take_sent() == []


def test_a_connection_that_is_lost_during_the_snapshot_loses_no_removal():
    end = CoreEnd()
    end.subscribed(1, "com.#", STATE, 11)
    key(end, 11, "com.gone", 64)
    again(end, 21)
    end.confirm(22)
    again(end, 31)
    end.confirm(32)
    end_of_snapshot(end, 32)
    assert end.shown(1) == [("com.gone", 64, "missed")]


def test_a_snapshot_that_is_refused_for_a_while_is_asked_for_again():
    end = CoreEnd()
    end.subscribed(1, "com.#", STATE, 11)
    key(end, 11, "com.gone", 64)
    again(end, 21)
    ((_, request, *_),) = end.take_sent(32)
    end.says(8, 32, request, {}, "wamp.error.unavailable", ["later"])
    end.tick(end.core.deadline)
    end.confirm(22)
    end_of_snapshot(end, 22)
    assert end.shown(1) == [("com.gone", 64, "missed")]


def test_a_second_stream_of_the_same_keys_is_shown_them_and_the_first_one_not_again():
    end = CoreEnd()
    end.subscribed(1, "com.#", STATE, 11)
    key(end, 11, "com.a", 64)
    end.subscribed(2, "com.#", STATE, 11)
    end.take_told()
    key(end, 11, "com.a", 64)
    assert [one.ticket for one in end.take_told()] == [2]


# Following


@pytest.mark.parametrize("after", [0, []])
def test_a_follower_goes_on_behind_what_it_has_seen_of_each_shard(after):
    end = CoreEnd()
    end.do("subscribe", 1, "com.#", {"after": after}, stays=True)
    assert end.sent[-1][2] == {"after": after}
    end.confirm(11)
    for publication in (64 * 5 + 1, 64 * 7 + 1, 64 * 6 + 2):
        change(end, 11, "com.a", publication, recorded=True)
    end.lose()
    end.join(8)
    assert end.take_sent(32)[0][2] == {"after": [64 * 6 + 2, 64 * 7 + 1]}


def test_an_event_that_is_not_recorded_does_not_move_a_follower():
    """It may come before one with a smaller id that still waits for the disk."""
    end = CoreEnd()
    end.subscribed(1, "com.#", {"after": 0}, 11)
    change(end, 11, "com.a", 64 * 5 + 1, recorded=True)
    change(end, 11, "com.b", 64 * 7 + 1)
    assert end.shown(1) == [("com.a", 64 * 5 + 1, ""), ("com.b", 64 * 7 + 1, "")]
    end.lose()
    end.join(8)
    assert end.take_sent(32)[0][2] == {"after": [64 * 5 + 1]}


def test_a_follower_from_one_id_does_not_begin_anew_at_the_shards_it_has_not_heard_of():
    end = CoreEnd()
    start = 64 * 10_000_000 + 3
    end.subscribed(1, "com.#", {"after": start}, 11)
    change(end, 11, "com.a", start + 64, recorded=True)
    end.lose()
    end.join(8)
    ((_, _, options, _),) = end.take_sent(32)
    after = {publication % SHARDS: publication for publication in options["after"]}
    assert len(after) == SHARDS
    assert after[3] == start + 64
    assert all(start - 64 * 300_000 < after[shard] < start for shard in after if shard != 3)


def test_a_gap_in_the_history_is_told():
    end = CoreEnd()
    end.subscribed(1, "com.#", {"after": 64}, 11)
    end.lose()
    end.join(8)
    end.take_told()
    ((_, request, *_),) = end.take_sent(32)
    end.says(8, 32, request, {}, "fox.error.history_gap", ["gone"], {"oldest": 640})
    (over,) = end.take_told()
    assert over.error.kwargs == {"oldest": 640}


@pytest.mark.parametrize("reason", ["fox.error.history_gap", "wamp.error.not_authorized"])
def test_a_subscription_that_the_router_revokes_is_over(reason):
    end = CoreEnd()
    end.subscribed(1, "com.#", {}, 11)
    end.take_told()
    end.says(35, 0, {"subscription": 11, "reason": reason})
    (over,) = end.take_told()
    assert over.error.uri == reason
    again(end)


def test_a_subscription_to_what_has_become_a_table_goes_on():
    end = CoreEnd()
    end.subscribed(1, "invoice", {}, 11)
    end.take_told()
    end.says(35, 0, {"subscription": 11, "reason": "fox.close.table_defined"})
    end.confirm(12)
    change(end, 12, "invoice.1", 640)
    assert end.shown(1) == [("invoice.1", 640, "")]
