"""How many subscriptions all sessions of a realm may have (semantics: limits of a realm)."""

from gateway_harness import REALM, GatewayHarness
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import CaughtUp, NotSubscribed, Subscribe, Subscribed
from fox_shard.config import RealmLimits

EXCEEDED = "fox.error.limit_exceeded"


def made(limit, gateways=1):
    limits = RealmLimits(max_subscriptions=limit)
    return GatewayHarness(shards=1, gateways=gateways, realm_limits=limits)


def confirm(harness):
    """Let the shard confirm what it was asked for."""
    for asked in harness.got("shard-0", Subscribe):
        harness.say("shard-0", Subscribed(asked.token))


def refused(*sessions):
    """Return the requests that were refused because of the limit."""
    answers = [answer for session in sessions for answer in session.take()]
    return [answer[1] for answer in answers if answer[0] == "not subscribed"]


def counts(harness):
    subscriptions = harness.gateway.subscriptions[REALM]
    return subscriptions.count, subscriptions.incomplete


def test_the_sessions_of_a_realm_share_its_subscriptions():
    harness = made(3)
    one, other = harness.session(), harness.session()
    harness.subscribe(one, "=a", request=1)
    harness.subscribe(other, "=a", request=2)
    confirm(harness)
    harness.subscribe(other, "=b", request=3)
    harness.subscribe(one, "=c", request=4)
    harness.subscribe(other, "=a", request=5, replay=True)
    answers = [*one.take(), *other.take()]
    assert [answer for answer in answers if answer[0] != "subscribed"] == [
        ("not subscribed", 4, EXCEEDED, 0)
    ]
    assert harness.gateway.health()["refused"] == {"realm_max_subscriptions": 1}
    confirm(harness)
    # One that ends makes room, at once, and so does a session.
    assert harness.gateway.requests.unsubscribe(one, "=a")
    harness.subscribe(one, "=c", request=6)
    harness.subscribe(one, "=d", request=7)
    assert refused(one) == [7]
    harness.gateway.requests.session_ended(other, "gone")
    harness.subscribe(one, "=d", request=8)
    assert refused(one) == []


def test_a_gateway_has_its_share():
    harness = made(5, gateways=2)
    session = harness.session()
    for request in range(1, 6):
        harness.subscribe(session, f"=t{request}", request=request)
    assert refused(session) == [4, 5]


def test_0_is_no_limit_and_other_realms_do_not_count():
    harness = made(0)
    session = harness.session()
    for request in range(1, 50):
        harness.subscribe(session, f"=t{request}", request=request)
    assert refused(session) == []
    assert counts(harness) == (0, 49)
    assert harness.gateway.subscriptions["other"].incomplete == 0


def test_a_long_pattern_counts_as_several():
    harness = made(6)
    session = harness.session()
    harness.subscribe(session, "=" + "a" * 2100, request=1)
    harness.subscribe(session, "=" + "b" * 2100, request=2)
    harness.subscribe(session, "=" + "c" * 2100, request=3)
    assert refused(session) == [3]


def test_one_that_a_shard_refuses_does_not_count():
    harness = made(1)
    session = harness.session()
    harness.subscribe(session, "=a", request=1, after=[])
    (asked,) = harness.got("shard-0", Subscribe)
    harness.say("shard-0", NotSubscribed(asked.token, "fox.error.history_gap", "", 7))
    assert counts(harness) == (0, 0)
    session.take()
    harness.subscribe(session, "=b", request=2)
    assert refused(session) == []


STEPS = st.one_of(
    st.tuples(
        st.just("subscribe"),
        st.integers(0, 2),
        st.sampled_from(["=a", "=b", "*a.#"]),
        st.sampled_from(
            [{}, {"replay": True}, {"after": []}, {"replay": True, "snapshot": True, "state": True}]
        ),
    ),
    st.tuples(st.just("unsubscribe"), st.integers(0, 2), st.integers(0, 9), st.none()),
    st.tuples(st.sampled_from(["confirm", "catch up"]), st.just(0), st.integers(0, 9), st.none()),
    st.tuples(st.just("end"), st.integers(0, 2), st.just(0), st.none()),
)


@given(st.lists(STEPS, max_size=30))
def test_the_counts_are_those_of_the_sessions_whatever_happens(steps):
    harness = made(0)
    sessions = [harness.session() for _ in range(3)]
    asked, confirmed, request = [], [], 0
    for step, number, what, options in steps:
        session = sessions[number]
        if step == "subscribe":
            request += 1
            harness.subscribe(session, what, request=request, **options)
            asked += [one.token for one in harness.got("shard-0", Subscribe) if one.token]
        elif step == "unsubscribe":
            names = [*(session.subscriptions or {})]
            if names:
                harness.gateway.requests.unsubscribe(session, names[what % len(names)])
        elif step == "confirm" and asked:
            confirmed.append(asked.pop(what % len(asked)))
            harness.say("shard-0", Subscribed(confirmed[-1]))
        elif step == "catch up" and confirmed:
            harness.say("shard-0", CaughtUp(confirmed.pop(what % len(confirmed))))
        elif step == "end":
            harness.gateway.requests.session_ended(session, "gone")
            sessions[number] = harness.session()
        count, incomplete = counts(harness)
        assert count == sum(len(one.subscriptions or {}) for one in sessions)
        pending = harness.gateway.subscribe_requests._pending.values()
        assert incomplete == sum(
            not one.confirmed or one.options.after is not None or one.options.snapshot
            for one in pending
        )
