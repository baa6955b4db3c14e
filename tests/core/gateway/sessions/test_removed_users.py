"""Sessions end whose users are removed, and no others."""

import pytest
from gateway_harness import GatewayHarness
from user_samples import peter, users

from fox_shard.backplane.frames import Leave
from fox_shard.gateway.sessions import removed_users
from fox_shard.users.user import Users


def session(harness, authid, authrole="dev", method="ticket", client=""):
    made = harness.session(authid=authid, authrole=authrole, authmethod=method, client=client)
    made.take()
    return made


def do_chores(harness):
    while harness.gateway.turns.busy:
        harness.gateway.turns.begin(harness.now)
        harness.gateway.turns.do_chores()
    harness.turns()


def test_only_sessions_of_users_that_are_gone_end():
    harness = GatewayHarness(users=users())
    stays = session(harness, "peter")
    gone = session(harness, "paul")
    promoted = session(harness, "peter", "boss")
    anonymous = session(harness, "peter", "dev", "anonymous")
    harness.gateway.set_users(users())
    do_chores(harness)
    assert stays.take() == []
    ended = ("end", "fox.close.user_removed")
    assert [one.take() for one in (gone, promoted, anonymous)] == [[ended]] * 3
    assert {frame.session for frame in harness.got("coordinator", Leave)} == {
        gone.id,
        promoted.id,
        anonymous.id,
    }


def test_anonymous_sessions_stay_in_a_realm_that_is_open_to_them():
    harness = GatewayHarness(anonymous=True)
    anonymous = session(harness, "anonymous", "anonymous", "anonymous")
    harness.gateway.set_users(Users([peter()]))
    do_chores(harness)
    assert anonymous.take() == []


def test_very_many_sessions_end_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(removed_users, "LOOKED_AT", 3)
    monkeypatch.setattr(removed_users, "ENDED", 2)
    harness = GatewayHarness(users=users())
    sessions = [session(harness, "paul" if number < 5 else "peter") for number in range(10)]
    chores = []
    removed = removed_users.RemovedUsers(
        harness.gateway.registry, harness.gateway.authentication, chores.append
    )
    removed.look()
    removed.look()
    (chore,) = chores
    ended = []
    while more := chore():
        ended.append(sum(bool(one.take()) for one in sessions))
    ended.append(sum(bool(one.take()) for one in sessions))
    assert not more
    assert sum(ended) == 5
    assert max(ended) == 2


@pytest.mark.parametrize("left", [True, False])
def test_a_session_that_leaves_meanwhile_is_no_trouble(left):
    harness = GatewayHarness(users=users())
    one = session(harness, "paul")
    harness.gateway.set_users(users())
    if left:
        harness.gateway.requests.session_ended(one, "left")
    do_chores(harness)
    assert bool(one.take()) is not left


def test_sessions_with_tokens_are_no_users_of_the_file():
    harness = GatewayHarness(users=users())
    one = session(harness, "nobody")
    join = harness.gateway.registry.join_of(one.id)
    join.authprovider = "jwt"
    harness.gateway.set_users(users())
    do_chores(harness)
    assert one.take() == []
