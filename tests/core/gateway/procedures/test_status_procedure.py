"""`fox.status`: the gateway's own state."""

from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World


def test_a_gateway_says_how_it_is():
    world = World(seed=1, gateways=2, shards=2)
    world.run_until(lambda: world.linked)
    client = WampClient(world, 1)
    world.run_until(lambda: client.session)
    request = client.call("fox.status")
    world.run_until(lambda: client.answer(50, request))
    health = client.answer(50, request)[3][0]
    assert (health["name"], health["status"], health["sessions"]) == ("gateway-1", "ok", 1)
    refused = client.call("fox.status", 1)
    world.run_until(lambda: client.answer(8, refused))
    assert client.answer(8, refused)[4] == "wamp.error.invalid_argument"
