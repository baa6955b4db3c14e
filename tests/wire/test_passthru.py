"""Payload passthru mode and custom attributes of real clients (WAMP #payload-passthru-mode)."""

import asyncio
from contextlib import closing

import node
import pytest
from raw_wamp import (
    CALL,
    ERROR,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    YIELD,
    at_gateway,
)

PPT = {"ppt_scheme": "x_mine", "ppt_serializer": "cbor"}


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
async def test_wampy_clients_pass_payloads_through(cluster, serializer):
    node.modules()
    prefix = f"passthru.{serializer}"
    port = cluster.ports["websocket"]
    seen = await asyncio.to_thread(node.run, "passthru.cjs", serializer, port, prefix)
    assert seen == {
        "event": [[1], {"k": "v"}, "x_secret", "key1", {"id": 7}],
        "result": [[5, "x_secret"], "key1"],
    }


def test_custom_attributes_reach_the_other_gateway(cluster):
    with closing(at_gateway(cluster, 0)) as one, closing(at_gateway(cluster, 1, "json")) as other:
        other.do(SUBSCRIBE, {}, "custom.topic", answer=SUBSCRIBED)
        custom = {"x_trace": {"id": [1, "a"]}, "_hint": b"\1"}
        shown = {"x_trace": {"id": [1, "a"]}, "_hint": "\0AQ=="}
        one.do(PUBLISH, {**custom, "acknowledge": True}, "custom.topic", [1], answer=PUBLISHED)
        assert other.receive()[3:] == [shown, [1]]
        # A pattern's home may be another shard.
        other.do(REGISTER, {"match": "prefix"}, "custom.procedure", answer=REGISTERED)
        one.request += 1
        one.send(CALL, one.request, custom, "custom.procedure.a", [2])
        invocation = other.receive()
        assert invocation[0] == INVOCATION
        assert invocation[3:] == [{"procedure": "custom.procedure.a", **shown}, [2]]
        other.send(YIELD, invocation[1], {"_more": 3, "more": 4}, [5])
        assert one.receive() == [RESULT, one.request, {"_more": 3}, [5]]


def test_a_callee_without_passthru_gets_no_passthru_call(cluster):
    with closing(at_gateway(cluster, 0)) as caller, closing(at_gateway(cluster, 1)) as callee:
        callee.do(REGISTER, {}, "passthru.unable", answer=REGISTERED)
        # This caller has not announced the mode.
        caller.request += 1
        caller.send(CALL, caller.request, PPT, "passthru.unable", [b"x"])
        assert caller.receive()[2] == "wamp.error.protocol_violation"
    features = {"features": {"payload_passthru_mode": True}}
    with (
        closing(at_gateway(cluster, 0, roles={"caller": features})) as caller,
        closing(at_gateway(cluster, 1)) as callee,
    ):
        callee.do(REGISTER, {}, "passthru.unable", answer=REGISTERED)
        error = caller.do(CALL, PPT, "passthru.unable", [b"x"], answer=ERROR)
        assert error[4] == "wamp.error.feature_not_supported"
