"""The decisions about a webhook's events, by the answers of its target."""

import pytest

from fox_shard.config import Webhook
from fox_shard.worker.webhooks.delivery import (
    REMEMBERED,
    SPARED_AFTER,
    Answered,
    Delivered,
    GivenUp,
    Later,
    Now,
    State,
    Target,
    Unanswered,
)

DAY = 86_400


def target(chance=0.0, **more):
    settings = Webhook(name="w", topic="a", url="https://example.com/", **more)
    return Target(settings, lambda: chance)


def send(target, publication, status, *, now=0.0, age=0.0, retry_after=0.0):
    """Let an event go out, and the target answer; return what becomes of it."""
    may = target.may_send(publication, age, now)
    if may is not Now.SEND:
        return may
    outcome = Answered(status, "", retry_after) if status else Unanswered("no answer")
    return target.ended(publication, age, outcome, now)


def spared(**more):
    """Return a target that has failed so often that it is spared; until 1 s at chance 0."""
    one = target(**more)
    for publication in range(1, 1 + SPARED_AFTER):
        assert isinstance(send(one, publication, 500), Later)
    return one


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_a_delivery(status):
    one = target()
    assert send(one, 1, status) == Delivered()
    assert one.state is State.WELL


@pytest.mark.parametrize("status", [400, 405, 406, 411, 413, 415, 422, 451])
def test_an_event_that_the_target_will_never_take_is_given_up_at_once(status):
    one = target()
    assert send(one, 1, status) == GivenUp(str(status))
    assert one.state is State.WELL
    assert send(one, 2, 200) == Delivered()


@pytest.mark.parametrize(
    "status", [0, 301, 302, 307, 308, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504, 599]
)
def test_all_else_is_tried_again_after_times_that_double(status):
    one = target(longest_delay=6)
    waits = [send(one, 1, status, now=now).seconds for now in (0, 100, 200, 300, 400)]
    assert waits == [1, 2, 4, 6, 6]
    assert one.state is State.FAILING


def test_redirects_are_told_as_what_they_are():
    assert "redirects are not followed" in send(target(), 1, 302).why


def test_chance_takes_away_up_to_a_half_of_a_delay():
    assert send(target(chance=0.999), 1, 500).seconds == pytest.approx(0.5, abs=0.01)


def test_an_event_that_was_not_delivered_in_time_is_given_up_with_the_last_reason():
    one = target(give_up_after=100)
    assert isinstance(send(one, 1, 500, age=50), Later)
    found = send(one, 1, 503, age=100)
    assert found == GivenUp("not delivered within 100 s (give_up_after); the last failure: 503")


def test_the_last_try_is_when_the_time_is_over():
    one = target(give_up_after=100, longest_delay=600)
    for now in range(0, 8000, 1000):
        send(one, 1, 500, now=now)
    assert send(one, 1, 500, now=9000, age=90) == Later(10, "500")


def test_an_event_that_is_late_only_because_it_waited_is_tried_once():
    assert send(target(give_up_after=100), 1, 200, age=5 * DAY) == Delivered()


def test_a_target_that_is_down_gets_one_request_now_and_then_however_many_events_wait():
    one = spared()
    assert [send(one, publication, 500).seconds for publication in (10, 11)] == [1, 1]
    assert one.may_send(12, 0, 1.5) is Now.SEND
    assert one.may_send(13, 0, 1.5) is Now.AWAIT_PROBE
    one.ended(12, 0, Unanswered("no answer"), 2.0)
    assert one.may_send(13, 0, 3.0) == Later(1.0, "no answer")
    assert one.may_send(13, 0, 4.0) is Now.SEND


def test_requests_that_fail_together_spare_the_target_for_no_longer():
    one = target()
    for publication in range(1, 101):
        assert one.may_send(publication, 0, 0.0) is Now.SEND
    for publication in range(1, 101):
        one.ended(publication, 0, Unanswered("no answer"), 0.0)
    assert one.may_send(101, 0, 1.0) is Now.SEND


def test_those_that_wait_for_the_probe_do_not_come_back_at_once():
    one = spared(chance=0.5)
    waits = one.may_send(10, 0, 0.0)
    assert isinstance(waits, Later)
    assert 0.75 < waits.seconds < 0.82


def test_when_the_probe_succeeds_all_go_out():
    one = spared()
    assert send(one, 10, 200, now=2.0) == Delivered()
    assert one.may_send(11, 0, 2.0) is Now.SEND
    assert one.may_send(12, 0, 2.0) is Now.SEND
    assert one.state is State.WELL


def test_an_event_that_alone_is_refused_with_500_does_not_hold_up_others():
    one = target()
    for number in range(20):
        assert isinstance(send(one, 1, 500, now=1000.0 * number), Later)
        assert send(one, 100 + number, 200, now=1000.0 * number) == Delivered()


def test_a_probe_that_is_broken_off_makes_room_for_another_one():
    one = spared()
    assert one.may_send(10, 0, 2.0) is Now.SEND
    one.abandoned(10)
    assert one.may_send(11, 0, 2.0) is Now.SEND


def test_the_target_is_spared_as_long_as_it_asks_for():
    one = target()
    assert send(one, 1, 429, retry_after=40) == Later(40, "429")
    assert one.may_send(2, 0, 10.0) == Later(30, "429")
    assert one.may_send(2, 0, 41.0) is Now.SEND


def test_a_target_cannot_ask_for_more_time_than_the_longest_delay():
    assert send(target(longest_delay=60), 1, 503, retry_after=1e9) == Later(60, "503")


def test_other_answers_cannot_ask_for_time():
    assert send(target(), 1, 500, retry_after=40) == Later(1, "500")


def test_a_target_that_is_gone_gets_no_request_any_more_and_its_events_wait():
    one = target(longest_delay=60, give_up_after=DAY)
    assert isinstance(send(one, 1, 410), Later)
    assert one.state is State.STOPPED
    found = one.may_send(2, 0, 1e6)
    assert isinstance(found, Later)
    assert found.seconds == 60
    assert "410" in found.why
    assert isinstance(one.may_send(2, DAY, 1e6), GivenUp)


def test_an_event_that_is_too_old_is_not_tried_while_the_target_is_down():
    one = spared(give_up_after=100)
    assert isinstance(one.may_send(10, 100, 2.0), GivenUp)
    assert one.may_send(11, 0, 2.0) is Now.SEND


def test_what_is_remembered_of_events_is_bounded():
    one = target()
    for publication in range(REMEMBERED + 10):
        one.ended(publication, 0, Answered(500), 0.0)
    assert len(one._tries) == REMEMBERED
    for publication in range(10, REMEMBERED + 10):
        one.ended(publication, 0, Answered(200), 0.0)
    assert len(one._tries) == 0
