"""Batched WebSocket messages (WAMP #batchedwebsocket)."""

import pytest
from websocket_client import connected

from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.gateway.clients.connection import ADVICE, Connection
from fox_shard.gateway.transports.batches import BatchReceiver, framing

LONGEST = 5


class Session:
    def __init__(self):
        self.got = []

    def message(self, data, now):
        self.got.append(data)

    def abort(self, uri, message):
        self.got.append((uri, message))


def received(batch, *, text):
    session = Session()
    receiver = BatchReceiver(
        Connection([], "peer"), session, LONGEST, LimitCounts(["batch_messages"]), text=text
    )
    receiver.batch(batch, 1.0)
    return session.got


def prefixed(*messages):
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor"])
def test_a_batched_subprotocol_can_be_chosen(name):
    server, client = connected("/ws", [f"wamp.2.{name}.batched"])
    assert client.subprotocol == f"wamp.2.{name}.batched"
    # The events are framed for these clients alone.
    assert server.session.told["serializer"] == f"wamp.2.{name}"
    assert server.session.told["encoder"] == f"wamp.2.{name}.batched/websocket"
    framed = server.session.frame(b"[1]")
    assert framed[2:] == (b"[1]\x1e" if name == "json" else b"\0\0\0\3[1]")


@pytest.mark.parametrize(
    ("batch", "text"),
    [(b"[1]\x1e[22]\x1e[3]\x1e", True), (prefixed(b"[1]", b"[22]", b"[3]"), False)],
)
def test_the_messages_of_a_batch_are_handled_in_order(batch, text):
    assert received(batch, text=text) == [b"[1]", b"[22]", b"[3]"]


@pytest.mark.parametrize(
    ("batch", "text", "sentence"),
    [
        (b"", True, "at least one"),
        (b"", False, "at least one"),
        (b"[1]\x1e[2]", True, "0x1e"),
        (b"[1]", True, "0x1e"),
        (prefixed(b"[1]") + b"\0\0\0\4[2]", False, "shorter"),
        (prefixed(b"[1]") + b"\0\0\0", False, "shorter"),
        (b"\xff\xff\xff\xff[1]", False, "shorter"),
        (b"[1]\x1e" * (LONGEST + 1), True, "at most"),
        (prefixed(b"") * (LONGEST + 1), False, "at most"),
    ],
)
@pytest.mark.cites("advanced.transport_batched_websocket.1")
def test_a_batch_that_is_not_legal_ends_the_session_before_any_of_it_is_handled(
    batch, text, sentence
):
    ((uri, message),) = received(batch, text=text)
    assert uri == "wamp.error.protocol_violation"
    assert sentence in message


@pytest.mark.parametrize(("messages", "counted"), [(5, {}), (6, {"batch_messages": 1})])
def test_the_setting_says_how_long_a_batch_may_be_and_longer_ones_are_counted(messages, counted):
    counts = LimitCounts(["batch_messages"])
    session = Session()
    BatchReceiver(Connection([], "peer"), session, 5, counts, text=True).batch(
        b"[1]\x1e" * messages, 1.0
    )
    assert counts.totals() == counted
    if counted:
        assert session.got == [("wamp.error.protocol_violation", "a batch has at most 5 messages")]


def test_the_longest_batch_is_handled_and_costs_as_much_as_its_messages():
    connection = Connection([], "peer")
    connection.budget = 0
    session = Session()
    counts = LimitCounts(["batch_messages"])
    BatchReceiver(connection, session, LONGEST, counts, text=True).batch(b"[1]\x1e" * LONGEST, 1.0)
    assert counts.totals() == {}
    assert len(session.got) == LONGEST
    # The batch itself has been counted as one message.
    assert connection.budget == -10 * (LONGEST - 1)


@pytest.mark.parametrize("text", [True, False])
def test_each_message_is_sent_as_a_batch_of_one(text):
    frame = framing(lambda message: b"<" + message + b">", text=text)
    assert frame(b"[1]") == (b"<[1]\x1e>" if text else b"<\0\0\0\3[1]>")


def test_the_rest_of_a_batch_waits_if_a_message_waits_for_advice():
    connection = Connection([], "peer")

    class Asking(Session):
        def message(self, data, now):
            super().message(data, now)
            if data == b"ask":
                connection.hold(ADVICE)

    session = Asking()
    receiver = BatchReceiver(
        connection, session, LONGEST, LimitCounts(["batch_messages"]), text=False
    )
    receiver.batch(prefixed(b"1", b"ask", b"2", b"3"), 1.0)
    assert session.got == [b"1", b"ask"]
    connection.pause(paused=False, why=ADVICE)
    for rest in connection.backlog:
        rest(2.0)
    assert session.got == [b"1", b"ask", b"2", b"3"]
