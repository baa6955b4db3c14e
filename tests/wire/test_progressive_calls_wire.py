"""Calls in several parts, and rerouting, over two gateways and with real clients."""

from contextlib import closing

import pytest
from raw_wamp import (
    CALL,
    CANCEL,
    ERROR,
    INTERRUPT,
    INVOCATION,
    REGISTER,
    REGISTERED,
    RESULT,
    YIELD,
    at_gateway,
)

FEATURES = {
    "features": {
        "call_canceling": True,
        "call_reroute": True,
        "progressive_call_invocations": True,
        "progressive_call_results": True,
    }
}
ROLES = {"caller": FEATURES, "callee": FEATURES}
MORE = {"progress": True}


def clients(cluster):
    """Return a caller at one gateway, and a callee at the other, with another serializer."""
    caller = at_gateway(cluster, 0, "json", roles=ROLES)
    return closing(caller), closing(at_gateway(cluster, 1, "msgpack", roles=ROLES))


@pytest.mark.parametrize("match", ["exact", "prefix"])
def test_a_call_in_parts_is_one_invocation_at_the_other_gateway(match, cluster):
    one, other = clients(cluster)
    with one as caller, other as callee:
        name = f"parts.{match}"
        callee.do(REGISTER, {"match": match}, name, answer=REGISTERED)
        procedure = name if match == "exact" else f"{name}.a.b"
        caller.send(CALL, 1, {**MORE, "receive_progress": True}, procedure, [0])
        first = callee.receive()
        assert (first[0], first[3]["progress"], first[4]) == (INVOCATION, True, [0])
        callee.send(YIELD, first[1], {"progress": True}, ["got 0"])
        assert caller.receive() == [RESULT, 1, {"progress": True}, ["got 0"]]
        caller.send(CALL, 1, MORE, procedure, [1])
        caller.send(CALL, 1, {}, procedure, [2], {"last": True})
        second, third = callee.receive(), callee.receive()
        assert (second[1], second[3]["progress"], second[4]) == (first[1], True, [1])
        assert (third[1], third[4:]) == (first[1], [[2], {"last": True}])
        assert "progress" not in third[3]
        callee.send(YIELD, first[1], {}, ["all"])
        assert caller.receive() == [RESULT, 1, {}, ["all"]]


def test_the_callee_is_interrupted_if_the_caller_cancels_or_leaves(cluster):
    one, other = clients(cluster)
    with one as caller, other as callee:
        callee.do(REGISTER, {"match": "prefix"}, "parts.ended", answer=REGISTERED)
        caller.send(CALL, 1, MORE, "parts.ended.a", [0])
        first = callee.receive()
        caller.send(CANCEL, 1, {"mode": "skip"})
        assert caller.receive()[4] == "wamp.error.canceled"
        kind, request, options = callee.receive()
        assert (kind, request, options["mode"]) == (INTERRUPT, first[1], "killnowait")
        caller.send(CALL, 2, MORE, "parts.ended.b", [0])
        second = callee.receive()
        caller.sock.close()
        kind, request, options = callee.receive()
        assert (kind, request, options["mode"]) == (INTERRUPT, second[1], "killnowait")


def test_a_callee_that_has_not_announced_it_is_not_invoked(cluster):
    with (
        closing(at_gateway(cluster, 0, roles=ROLES)) as caller,
        closing(at_gateway(cluster, 1)) as callee,
    ):
        callee.do(REGISTER, {}, "parts.unable", answer=REGISTERED)
        error = caller.do(CALL, MORE, "parts.unable", [0], answer=ERROR)
        assert error[4] == "wamp.error.feature_not_supported"
        caller.send(CALL, 1, MORE, "parts.unable", [1])
        caller.send(CALL, 1, {}, "parts.unable", [2])
        caller.request = 1
        count = caller.do(CALL, {}, "wamp.session.count", answer=RESULT)
        assert count[1] == 2


def test_a_call_goes_from_a_callee_that_is_not_available_to_the_next(cluster):
    one, other = clients(cluster)
    with one as caller, other as busy, closing(at_gateway(cluster, 0, roles=ROLES)) as idle:
        for callee in (busy, idle):
            callee.do(REGISTER, {"invoke": "first"}, "parts.shared", answer=REGISTERED)
        caller.send(CALL, 1, {}, "parts.shared", [7])
        busy.send(ERROR, INVOCATION, busy.receive()[1], {}, "wamp.error.unavailable")
        invocation = idle.receive()
        assert invocation[4] == [7]
        idle.send(YIELD, invocation[1], {}, ["done"])
        assert caller.receive() == [RESULT, 1, {}, ["done"]]
        caller.send(CALL, 2, {}, "parts.shared", [8])
        for callee in (busy, idle):
            callee.send(ERROR, INVOCATION, callee.receive()[1], {}, "wamp.error.unavailable")
        assert caller.receive()[4] == "wamp.error.no_available_callee"
