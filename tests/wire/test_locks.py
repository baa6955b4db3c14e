"""Locks as clients use them: one holder at a time, in order, whatever process is killed."""

import socket
import struct
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from cluster import Cluster, await_true
from programs import of_script
from raw_wamp import ERROR, PUBLISH, PUBLISHED, at_gateway

LOCK = {"acknowledge": True, "retain": True, "when": None, "weak": True, "watch": True}
CLIENT = Path(__file__).with_name("lock_client.py")


@pytest.fixture(scope="module")
def keeper():
    """A broker that every test leaves running and linked."""
    with Cluster() as cluster:
        yield cluster


def ask_for(client, key):
    """Ask for the lock, without waiting for it, and return the request."""
    client.request += 1
    client.send(PUBLISH, client.request, LOCK, key, [client.session])
    return client.request


def take(client, key):
    """Take a lock that is free, and return the token."""
    return wait_for(client, ask_for(client, key))


def wait_for(client, request):
    """Wait until the request is granted, and return the token."""
    reply = client.receive()
    assert reply[:2] == [PUBLISHED, request], reply
    return reply[2]


def release(client, key, token):
    options = {"acknowledge": True, "retain": True, "when_id": token}
    client.do(PUBLISH, options, key, [], answer=PUBLISHED)


def await_durable(cluster, client):
    """Until whatever the client has sent is on disk: each shard commits in order of arrival."""
    for topic in cluster.on_each_shard("mark"):
        client.do(PUBLISH, {"acknowledge": True, "retain": True}, topic, [1], answer=PUBLISHED)


def await_waiting(cluster, many):
    await_true(f"{many} wait", lambda: cluster.waiting_publishes() == many)


def test_a_lock_goes_from_hand_to_hand_over_two_gateways(keeper):
    key = "lock.hands"
    with ExitStack() as stack:
        one, two, three = (
            stack.enter_context(closing(at_gateway(keeper, number))) for number in (0, 1, 0)
        )
        token = take(one, key)
        second = ask_for(two, key)
        await_waiting(keeper, 1)
        third = ask_for(three, key)
        await_waiting(keeper, 2)
        tokens = [token]
        release(one, key, token)
        tokens.append(wait_for(two, second))
        release(two, key, tokens[-1])
        tokens.append(wait_for(three, third))
        assert tokens == sorted(set(tokens))
        release(three, key, tokens[-1])


def test_a_session_that_waits_for_a_lock_goes_on_with_everything_else(keeper):
    key = "lock.else"
    with closing(at_gateway(keeper, 0)) as one, closing(at_gateway(keeper, 1)) as two:
        token = take(one, key)
        request = ask_for(two, key)
        for _ in range(3):
            two.do(
                PUBLISH, {"acknowledge": True, "retain": 60}, "lock.other", [1], answer=PUBLISHED
            )
        release(one, key, token)
        assert wait_for(two, request) > token


def test_a_session_that_does_not_wait_is_refused_with_the_token(keeper):
    key = "lock.refused"
    with closing(at_gateway(keeper, 0)) as one, closing(at_gateway(keeper, 1)) as two:
        token = take(one, key)
        options = {**LOCK, "watch": False}
        refused = two.do(PUBLISH, options, key, [2], answer=ERROR)
        assert (refused[4], refused[6]) == ("fox.error.condition_failed", {"publication": token})


@contextmanager
def competitor(cluster, key):
    """A process that asks for the lock; `says()` returns the words of its next line."""
    process = subprocess.Popen(
        [sys.executable, str(CLIENT), str(cluster.rawsocket), key],
        env=of_script(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.says = lambda: process.stdout.readline().split()
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_the_next_process_in_line_gets_the_lock_of_a_killed_one(keeper):
    key = "lock.processes"
    with ExitStack() as stack:
        queue, tokens = [], []
        for others in range(3):
            queue.append(stack.enter_context(competitor(keeper, key)))
            assert queue[-1].says() == ["waiting"]
            # What it was told of is another topic, which may be at another shard than the lock.
            await_waiting(keeper, others)
        for turn in range(5):
            said, token = queue[0].says()
            assert said == "held"
            tokens.append(int(token))
            await_waiting(keeper, len(queue) - 1)
            holder = queue.pop(0)
            if turn % 2:
                holder.stdin.write("release\n")
                holder.stdin.flush()
                assert holder.says() == ["waiting"]
                queue.append(holder)
            else:
                holder.kill()  # SIGKILL
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 5
    await_waiting(keeper, 0)


def test_waiting_sessions_keep_their_places_when_shards_are_killed(keeper):
    key = "lock.shards"
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(at_gateway(keeper, n))) for n in (0, 1, 0)]
        tokens = [take(clients[0], key)]
        requests = []
        for client in clients[1:]:
            requests.append(ask_for(client, key))
            await_waiting(keeper, len(requests))
            # A waiter that is not on disk when its shard is killed waits anew, behind later ones.
            await_durable(keeper, client)
        for _ in range(2):
            for shard in keeper.shard_names:
                keeper.kill(shard)
                keeper.start(shard)
            keeper.await_ready()
            await_waiting(keeper, 2)
        release(clients[0], key, tokens[0])
        tokens.append(wait_for(clients[1], requests[0]))
        clients[1].close()
        tokens.append(wait_for(clients[2], requests[1]))
        assert tokens == sorted(set(tokens))


def test_a_holder_that_leaves_while_the_shards_are_down_loses_the_lock(keeper):
    key = "lock.down"
    with closing(at_gateway(keeper, 1)) as two:
        with closing(at_gateway(keeper, 0)) as one:
            token = take(one, key)
            request = ask_for(two, key)
            await_waiting(keeper, 1)
            for shard in keeper.shard_names:
                keeper.kill(shard)
        for shard in keeper.shard_names:
            keeper.start(shard)
        assert wait_for(two, request) > token
    keeper.await_ready()


def reset(client):
    """Close the connection with RST instead of FIN."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_connection_that_is_reset_holds_nothing_and_waits_for_nothing(keeper):
    key = "lock.reset"
    with closing(at_gateway(keeper, 1)) as last:
        one, two = at_gateway(keeper, 0), at_gateway(keeper, 0)
        token = take(one, key)
        for many, client in ((1, two), (2, last)):
            request = ask_for(client, key)
            await_waiting(keeper, many)
        reset(two)
        await_waiting(keeper, 1)
        reset(one)
        assert wait_for(last, request) > token


def test_the_locks_of_a_killed_gateways_sessions_become_free(keeper):
    key = "lock.gateway"
    with ExitStack() as stack:
        one, two = (stack.enter_context(closing(at_gateway(keeper, 0))) for _ in range(2))
        last = stack.enter_context(closing(at_gateway(keeper, 1)))
        token = take(one, key)
        for many, client in ((1, two), (2, last)):
            request = ask_for(client, key)
            await_waiting(keeper, many)
        keeper.kill("gateway-0")
        assert wait_for(last, request) > token
        keeper.start("gateway-0")
        keeper.await_ready()
        assert keeper.waiting_publishes() == 0
