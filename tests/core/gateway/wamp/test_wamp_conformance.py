"""What WAMP demands of a router and no other test shows: features announced, ids of sessions."""

import pytest
from gateway_harness import GatewayHarness
from wamp_client import ROLES, Client, joined

from fox_shard.backplane.frames import Leave, Subscribe, Subscribed, Unsubscribe
from fox_shard.topics.pattern import Pattern

BROKER = (
    "event_history",
    "event_retention",
    "pattern_based_subscription",
    "payload_passthru_mode",
    "publication_trustlevels",
    "publisher_exclusion",
    "publisher_identification",
    "session_meta_api",
    "subscriber_blackwhite_listing",
    "subscription_meta_api",
    "subscription_revocation",
)
DEALER = (
    "call_canceling",
    "call_reroute",
    "call_timeout",
    "call_trustlevels",
    "caller_identification",
    "pattern_based_registration",
    "payload_passthru_mode",
    "progressive_call_invocations",
    "progressive_call_results",
    "registration_meta_api",
    "registration_revocation",
    "session_meta_api",
    "shared_registration",
    "testament_meta_api",
)
ALL_FEATURES = [("broker", one) for one in BROKER] + [("dealer", one) for one in DEALER]


@pytest.mark.parametrize(("role", "feature"), ALL_FEATURES)
@pytest.mark.cites(
    "advanced.introduction.2",
    "advanced.meta_api_registrations.1",
    "advanced.meta_api_sessions.1",
    "advanced.meta_api_subscriptions.1",
    "advanced.meta_api_subscriptions.2",
    "advanced.payload_passthru_mode.1",
    "advanced.pubsub_event_retention.8",
    "advanced.pubsub_pattern_based_subscription.1",
    "advanced.pubsub_publication_trustlevels.1",
    "advanced.pubsub_publisher_exclusion.1",
    "advanced.pubsub_publisher_identification.1",
    "advanced.pubsub_subscriber_blackwhite_listing.1",
    "advanced.pubsub_subscription_revocation.1",
    "advanced.pubsub_testament.1",
    "advanced.rpc_call_cancelling.1",
    "advanced.rpc_call_rerouting.1",
    "advanced.rpc_call_timeout.4",
    "advanced.rpc_call_trustlevels.1",
    "advanced.rpc_caller_identification.2",
    "advanced.rpc_pattern_based_registration.1",
    "advanced.rpc_progressive_call_invocations.1",
    "advanced.rpc_progressive_call_invocations.3",
    "advanced.rpc_progressive_call_results.1",
    "advanced.rpc_progressive_call_results.2",
    "advanced.rpc_registration_revocation.1",
    "advanced.rpc_shared_registration.3",
)
def test_features_are_announced_in_welcome(role, feature):
    ((_, _, details),) = Client().send([1, "realm1", {"roles": ROLES}])
    assert details["roles"][role]["features"][feature] is True


@pytest.mark.cites("basic.sessions.4")
def test_ids_of_sessions_are_random():
    """WAMP #ids: drawn from a uniform distribution over [1, 2^53]."""
    harness = GatewayHarness()
    ids = [harness.session().id for _ in range(400)]
    assert len(set(ids)) == 400
    assert all(1 <= one <= 2**53 for one in ids)
    eighths = [sum(one >> 50 == eighth for one in ids) for eighth in range(8)]
    assert min(eighths) > 20


@pytest.mark.cites("basic.building_blocks.18", "basic.building_blocks.20")
def test_a_session_that_ends_leaves_its_subscriptions_and_the_shards_are_told():
    """WAMP #protocol-errors: all subscriptions and registrations are disposed of."""
    harness = GatewayHarness(shards=1)
    session, other = harness.session(), harness.session()
    harness.subscribe(session, "=a.b")
    harness.subscribe(other, "=c.d")
    for number, one in enumerate((session, other)):
        pattern = Pattern.parse(f"=p.{number}")
        harness.gateway.requests.register(
            one, 2, pattern, "single", 0, force=False, disclose=False, reroutes=False
        )
    asked = {frame.pattern: frame for frame in harness.got("shard-0", Subscribe)}
    harness.say("shard-0", *(Subscribed(frame.token) for frame in asked.values()))
    harness.gateway.requests.session_ended(session, "wamp.error.protocol_violation")
    told = harness.got("shard-0", Leave | Unsubscribe)
    assert [one.pattern for one in told if isinstance(one, Unsubscribe)] == ["=a.b"]
    assert [one.session for one in told if isinstance(one, Leave)] == [session.id]
    # With its Leave, a session's registrations end: see test_registrar.


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.cites(
    "advanced.rpc_registration_revocation.2", "advanced.rpc_registration_revocation.3"
)
def test_a_revocation_is_told_only_to_callees_that_have_announced_it(announced):
    """WAMP #rpc-registration-revocation: no UNREGISTERED for all others."""
    client = joined(roles={"callee": {"features": {"registration_revocation": announced}}})
    client.session.revoked(77, "wamp.registration.revoked")
    told = [67, 0, {"registration": 77, "reason": "wamp.registration.revoked"}]
    assert client.received() == ([told] if announced else [])
