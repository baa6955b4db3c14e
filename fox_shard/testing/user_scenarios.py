"""Scenarios of users in retained keys.

Owns: setting and erasing them under faults, and the check that logins agree with the keys. Never:
other ways to log in.
"""

import json
from functools import partial
from random import Random
from typing import Any, Final

from fox_shard.config import Auth, Role, Rule
from fox_shard.gateway.core import Gateway
from fox_shard.testing.clients import MqttClient
from fox_shard.testing.faults import kill, lose, recover, sever
from fox_shard.testing.world import World
from fox_shard.users.user import User, Users

NAMES: Final = ("ann", "bob", "cid", "dan")
ROLES: Final = ("a", "b")
# These verifiers cost little, and are of these passwords.
PASSWORDS: Final = {
    "one": "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2"
    "RlZg$Ptl9bsgejmEouKnS1COh/8V3SxNhSY01M5EKH/CTniA",
    "two": "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2"
    "RlZg$9eIsPnsFulszQHqr2c+dAZY/fIeLnYyL0YsCObW4TQA",
}
ADMIN: Final[dict[str, Any]] = {"user_name": "admin", "password": b"one"}


def users_in_keys(seed: int) -> None:
    """In the end, whom the keys allow can log in at all gateways, and nobody else is there."""
    rng = Random(f"users in keys {seed}")
    admin = Role(
        name="admin",
        rule=(Rule(uri="u.", match="prefix", allow=("publish", "subscribe")),),
    )
    world = World(
        seed,
        gateways=2,
        shards=rng.choice((1, 2, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        roles=(admin, *(Role(name=name) for name in ROLES)),
        users=Users([User(name="admin", realm="realm1", role="admin", password=PASSWORDS["one"])]),
        user_keys="u.*",
        auth=Auth(max_failures=1_000_000),
    )
    world.run_until(lambda: world.linked)
    admins: list[MqttClient] = []
    for _ in range(rng.choice((30, 80))):
        world.run(rng.random() * 0.2)
        what = rng.random()
        gateway = rng.randrange(2)
        ready = [one for one in admins if one.connected and not one.closed]
        if what < 0.15:
            _fault(world, rng)
        elif f"gateway-{gateway}" not in world.nodes:
            continue
        elif what < 0.3 or not ready:
            admins.append(MqttClient(world, gateway, **ADMIN))
        elif what < 0.5:
            _log_in(world, gateway, rng.choice(NAMES), rng.choice((*PASSWORDS,)))
        else:
            _change(rng, rng.choice(ready))
    recover(world)
    _check(world)


def _fault(world: World, rng: Random) -> None:
    what = rng.choice(
        (partial(kill, world, rng.choice(world.names), rng),) * 2
        + (partial(sever, world, rng), partial(lose, world, rng))
    )
    what()


def _log_in(world: World, gateway: int, name: str, password: str) -> MqttClient:
    return MqttClient(world, gateway, user_name=name, password=password.encode())


def _change(rng: Random, admin: MqttClient) -> None:
    """Put, erase or spoil the key of a user."""
    what, payload = rng.random(), b""
    if what < 0.6:
        verifier = PASSWORDS[rng.choice((*PASSWORDS,))]
        payload = json.dumps({"role": rng.choice(ROLES), "password": verifier}).encode()
    elif what < 0.7:
        payload = rng.choice((b"{}", b"[]", b"\xff", b'{"role": 1}'))
    admin.publish(f"u/{rng.choice(NAMES)}", payload, rng.choice((0, 1)), retain=True)


def _keys(world: World) -> dict[str, Any]:
    """Return the documents of all keys that are now, by name."""
    reader = MqttClient(world, 0, **ADMIN)
    world.run_until(lambda: reader.connected)
    reader.subscribe("u/+")
    world.run(1)
    found: dict[str, Any] = {}
    for message in reader.messages:
        try:
            found[message.topic.removeprefix("u/")] = json.loads(message.payload)
        except ValueError:
            world.note(f"{message.topic} has no document")
    reader.drop()
    world.run(1)
    return found


def _check(world: World) -> None:
    keys = _keys(world)
    valid = {
        name: value
        for name, value in keys.items()
        if isinstance(value, dict) and value.get("role") in ROLES
    }
    for gateway in [one for one in world.nodes.values() if isinstance(one, Gateway)]:
        for join in gateway.registry.joins():
            allowed = valid.get(join.authid, {}).get("role")
            world.check(
                join.authid == "admin" or allowed == join.authrole,
                f"{gateway.name} has a session of {join.authid} as {join.authrole}: {keys}",
            )
    tries = [
        (name, password, number, _log_in(world, number, name, password))
        for name in NAMES
        for password in PASSWORDS
        for number in (0, 1)
    ]
    world.run(3)
    for name, password, number, client in tries:
        right = name in valid and valid[name]["password"] == PASSWORDS[password]
        world.check(
            client.connected is right,
            f"gateway-{number}: {name} with {password}: {client.connected}, the keys are {keys}",
        )
