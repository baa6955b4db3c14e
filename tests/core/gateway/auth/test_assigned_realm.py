"""The realm of clients that name none (WAMP #authentication)."""

import pytest
from gateway_harness import GatewayHarness
from test_dynamic_authentication import assert_dynamic, dynamic
from test_wamp_authentication import challenged

from fox_shard.config import Realm
from fox_shard.gateway.auth.assigned_realm import assigned_realm
from fox_shard.testing.world import World

PLAIN = Realm(name="plain")
OTHER = Realm(name="other")
ASKED = Realm(name="asked", authenticator="com.example.authenticate")
ALSO_ASKED = Realm(name="too", authenticator="com.example.authenticate")


@pytest.mark.parametrize(
    ("realms", "assigned"),
    [
        ([PLAIN], "plain"),
        ([PLAIN, OTHER], ""),
        ([ASKED], "asked"),
        ([PLAIN, ASKED, OTHER], "asked"),
        ([PLAIN, ASKED, ALSO_ASKED], ""),
    ],
)
def test_the_only_realm_or_the_only_one_with_an_authenticator_is_assigned(realms, assigned):
    assert assigned_realm(realms) == assigned
    assert assigned_realm(iter(realms)) == assigned


def test_a_gateway_assigns_the_only_realm_of_its_configuration():
    world = World(seed=1, gateways=1, shards=1, realms=("realm1",))
    assert world.gateway(0).authentication.assigned_realm == "realm1"
    assert GatewayHarness().gateway.authentication.assigned_realm == ""  # it has two


def test_the_authenticator_is_asked_about_a_client_that_names_no_realm():
    """As about any other, with the realm that the client would join."""
    client, authenticator = dynamic()
    client.gateway.authentication.assigned_realm = "realm1"
    challenged(client, "ticket", name="paul", realm=None)
    assert client.send([5, "open sesame", {}]) == []
    ((realm, authid, _),) = authenticator.asked()
    assert (realm, authid) == ("realm1", "paul")
    authenticator.answers("guest")
    details = assert_dynamic(client.received())
    assert details["realm"] == "realm1"
