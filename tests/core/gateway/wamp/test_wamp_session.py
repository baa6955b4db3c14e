"""The life of a session, but not its requests: WAMP #sessions, #protocol-errors."""

import msgspec
import pytest
from autobahn.wamp.message import Welcome
from wamp_client import ALL, CANCELABLE, ENCODE, ROLES, SESSION, Client, joined

from fox_shard import __version__
from fox_shard.gateway.wamp.hello import CANCELING, PROGRESS

VIOLATION = "wamp.error.protocol_violation"
DETAILS = {"roles": ROLES}


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.cites(
    "basic.introduction.1",
    "basic.messages.6",
    "basic.sessions.5",
    "basic.sessions.6",
    "basic.sessions.7",
)
def test_hello_is_answered_by_welcome(subprotocol):
    client = Client(subprotocol)
    ((kind, session, details),) = client.send([1, "realm1", DETAILS])
    assert (kind, session) == (2, SESSION)
    roles = details.pop("roles")
    assert details == {
        "realm": "realm1",
        "authid": "anonymous",
        "authrole": "anonymous",
        "authmethod": "anonymous",
        "authprovider": "static",
        "agent": f"fox-shard/{__version__}",
    }
    assert set(roles) == {"broker", "dealer"}
    assert roles["broker"]["features"]["event_retention"] is True
    assert roles["broker"]["features"]["subscription_revocation"] is True
    assert roles["dealer"]["features"]["call_canceling"] is True
    assert client.asked == [
        (
            "session_opened",
            {
                "protocol": subprotocol,
                "transport": "websocket",
                "authmethod": "anonymous",
                "authprovider": "static",
            },
        )
    ]
    assert client.session.realm is client.gateway.realms["realm1"]


@pytest.mark.parametrize(
    ("hello", "reason", "says", "source"),
    [
        ([1, "realm2", DETAILS], "wamp.error.no_such_realm", "'realm2'", "WAMP #hello"),
        ([1, None, DETAILS], "wamp.error.no_such_realm", "names no realm", "WAMP #hello"),
        ([1, "", DETAILS], "wamp.error.invalid_uri", "''", "WAMP #uris"),
        ([1, "a b", DETAILS], "wamp.error.invalid_uri", "'a b'", "WAMP #uris"),
        (
            [1, "realm1", {**DETAILS, "authmethods": ["ticket"]}],
            "wamp.error.no_matching_auth_method",
            "'anonymous'",
            "WAMP #ap-uris",
        ),
        ([1, 7, DETAILS], VIOLATION, "at `realm`", "WAMP #messages"),
        ([1, "realm1"], VIOLATION, "at least length 3", "WAMP #messages"),
        ([1, "realm1", DETAILS, 1], VIOLATION, "at most length 2", "WAMP #messages"),
        ([1, "realm1", []], VIOLATION, "HELLO.Details", "WAMP #messages"),
        ([1, "realm1", {}], VIOLATION, "`roles`", "WAMP #client-role"),
        ([1, "realm1", {"roles": {}}], VIOLATION, "at least one role", "WAMP #client-role"),
        ([1, "realm1", {"roles": {"cook": {}}}], VIOLATION, "at least one", "WAMP #client-role"),
        ([1, "realm1", {"roles": ["callee"]}], VIOLATION, "roles", "WAMP #client-role"),
        ([1, "realm1", {"roles": {"cook": 7}}], VIOLATION, "at least one", "WAMP #client-role"),
        ([1, "realm1", {"roles": {"callee": 1}}], VIOLATION, "roles", "WAMP #client-role"),
        (
            [1, "realm1", {"roles": {"callee": {"features": []}}}],
            VIOLATION,
            "features",
            "WAMP #client-role",
        ),
        ([1, "realm1", {**DETAILS, "authmethods": "x"}], VIOLATION, "authmethods", "#auth"),
        ([1, "realm1", {**DETAILS, "authid": 7}], VIOLATION, "authid", "WAMP #authentication"),
    ],
)
@pytest.mark.cites(
    "basic.messages.6", "basic.sessions.8", "basic.sessions.9", "basic.uri_reference.2"
)
def test_a_bad_hello_is_answered_by_abort(hello, reason, says, source):
    client = Client()
    ((kind, details, uri),) = client.send(hello)
    assert (kind, uri) == (3, reason)
    assert says in details["message"]
    assert client.hung_up == 1
    assert client.asked == []
    assert client.send([1, "realm1", DETAILS]) == []


@pytest.mark.parametrize("subprotocol", ALL)
def test_a_client_that_names_no_realm_is_told_in_which_one_it_is(subprotocol):
    client = Client(subprotocol)
    client.gateway.authentication.assigned_realm = "realm1"
    ((kind, _, details),) = client.send([1, None, DETAILS])
    assert (kind, details["realm"]) == (2, "realm1")
    assert client.session.realm is client.gateway.realms["realm1"]


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize("stranger", [{}, 7, None, ["x"], {"features": 7}])
@pytest.mark.cites("basic.messages.5")
def test_roles_that_the_router_does_not_know_are_ignored(stranger, subprotocol):
    """WAMP #extensibility: so are other attributes of HELLO."""
    roles = {"callee": {"features": {"call_canceling": True}, "more": 1}, "cook": stranger}
    client = Client(subprotocol)
    ((kind, *_),) = client.send([1, "realm1", {"roles": roles, "resumable": [1], "x": None}])
    assert kind == 2
    assert client.session._abilities == CANCELING


@pytest.mark.parametrize("authmethods", [None, [], ["anonymous"], ["ticket", "anonymous"]])
def test_a_client_that_offers_anonymous_or_nothing_is_anonymous(authmethods):
    client = Client()
    details = {**DETAILS, "authmethods": authmethods, "authid": "boss"}
    ((kind, _, welcome),) = client.send([1, "realm1", details])
    assert (kind, welcome["authid"], welcome["authrole"]) == (2, "anonymous", "anonymous")


def test_an_authid_of_null_means_no_authid():
    (welcome,) = Client().send([1, "realm1", {**DETAILS, "authid": None}])
    assert welcome[0] == 2


BEFORE = [
    [2, 1, {}],
    [4, "ticket", {}],
    [5, "signature", {}],
    [6, {}, "wamp.close.normal"],
    [8, 68, 1, {}, "com.error"],
    [16, 1, {}, "com.topic"],
    [17, 1, 2],
    [32, 1, {}, "com.topic"],
    [33, 1, 2],
    [34, 1, 2],
    [35, 1],
    [36, 1, 2, {}],
    [48, 1, {}, "com.procedure"],
    [49, 1, {}],
    [50, 1, {}],
    [64, 1, {}, "com.procedure"],
    [65, 1, 2],
    [66, 1, 2],
    [67, 1],
    [68, 1, 2, {}],
    [69, 1, {}],
    [70, 1, {}],
    [],
    [7],
]
AFTER = [
    [1, "realm1", DETAILS],
    [2, 1, {}],
    [4, "ticket", {}],
    [5, "signature", {}],
    [8, 48, 1, {}, "com.error"],
    [8, 16, 1, {}, "com.error"],
    [8, 0, 1, {}, "com.error"],
    [8, 68, 1, {}, "com.error"],
    [8, 68, 1, [], "com.error"],
    [17, 1, 2],
    [33, 1, 2],
    [35, 1],
    [36, 1, 2, {}],
    [50, 1, {}],
    [65, 1, 2],
    [67, 1],
    [68, 1, 2, {}],
    [69, 1, {}],
    [70, 1, {}],
    [6, [], "wamp.close.normal"],
    [6, {}],
    [6, {}, 7],
    [16, 1, [], "com.topic"],
    [16, 1, "", "com.topic"],
    [16, 0, {}, "com.topic"],
    [16, 2**53 + 1, {}, "com.topic"],
    [32, 1, None, "com.topic"],
    [34, 1, 0],
    [48, 1, 7, "com.procedure"],
    [49, 1, []],
    [64, 1, [], "com.procedure"],
    [],
    [0],
    [16.5, 1, {}, "com.topic"],
    [16, 1.5, {}, "com.topic"],
    [16, 2.0**54, {}, "com.topic"],
]


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize("message", BEFORE, ids=str)
@pytest.mark.cites("basic.building_blocks.19", "basic.building_blocks.21", "basic.sessions.1")
def test_any_other_message_before_hello_is_a_violation(message, subprotocol):
    """WAMP #protocol-errors."""
    client = Client(subprotocol)
    ((kind, details, uri),) = client.send(message)
    assert (kind, uri) == (3, VIOLATION)
    assert details["message"]
    assert client.hung_up == 1
    assert client.asked == []


@pytest.mark.parametrize("subprotocol", ALL)
@pytest.mark.parametrize("message", AFTER, ids=str)
@pytest.mark.cites(
    "basic.building_blocks.18",
    "basic.building_blocks.19",
    "basic.building_blocks.20",
    "basic.building_blocks.21",
    "basic.sessions.2",
    "basic.sessions.10",
    "basic.sessions.11",
)
def test_violations_end_an_open_session(message, subprotocol):
    """WAMP #protocol-errors: send ABORT, dispose of everything, process no later message."""
    client = joined(subprotocol)
    ((kind, details, uri),) = client.send(message)
    assert (kind, uri) == (3, VIOLATION)
    assert details["message"]
    assert client.hung_up == 1
    assert client.asked == [("session_ended", False)]
    assert client.send([16, 1, {"acknowledge": True}, "com.topic"]) == []
    client.session.connection_lost(client.gateway.now)
    assert client.asked == []


@pytest.mark.cites("basic.sessions.2")
def test_the_abort_names_a_second_hello():
    (answer,) = joined().send([1, "realm1", DETAILS])
    assert answer[1]["message"] == "received HELLO after the session was established"


@pytest.mark.cites("basic.messages.6", "basic.sessions.10", "basic.sessions.11")
def test_goodbye_is_answered_and_ends_the_session():
    """WAMP #goodbye."""
    client = joined()
    assert client.send([6, {"message": "bye"}, "wamp.close.close_realm"]) == [
        [6, {}, "wamp.close.goodbye_and_out"]
    ]
    assert client.asked == [("session_ended", True)]
    assert client.hung_up == 1
    assert client.send([6, {}, "wamp.close.close_realm"]) == []
    client.session.end("wamp.close.killed", "")
    client.session.connection_lost(client.gateway.now)
    assert (client.received(), client.asked, client.hung_up) == ([], [], 1)


@pytest.mark.parametrize("message", [[3, {}, "wamp.error.x"], [3, {}, "x", ["why"], {"a": 1}]])
def test_abort_is_not_answered(message):
    """WAMP #abort."""
    client = joined()
    assert client.send(message) == []
    assert (client.asked, client.hung_up) == ([("session_ended", False)], 1)
    client = Client()
    assert client.send(message) == []
    assert (client.asked, client.hung_up) == ([], 1)


def test_a_lost_connection_ends_the_session_once():
    client = joined()
    client.session.connection_lost(client.gateway.now)
    client.session.connection_lost(client.gateway.now)
    assert client.asked == [("session_ended", False)]
    assert client.send([16, 1, {"acknowledge": True}, "com.topic"]) == []


class TestTheRouterEndsTheSession:
    REASON = "wamp.close.killed"

    def ended(self):
        client = joined()
        client.session.end(self.REASON, "enough")
        assert client.received() == [[6, {"message": "enough"}, self.REASON]]
        assert client.asked == [("session_ended", False)]
        assert client.hung_up == 0
        return client

    def test_the_clients_goodbye_is_awaited(self):
        client = self.ended()
        assert client.send([6, {}, "wamp.close.goodbye_and_out"]) == []
        assert (client.hung_up, client.asked) == (1, [])
        client.gateway.pass_time(60)
        assert client.hung_up == 1

    def test_other_messages_are_ignored(self):
        """WAMP #session-statechart, transition 14."""
        client = self.ended()
        for message in ([16, 1, {"acknowledge": True}, "com.topic"], [1, "realm1", DETAILS], [0]):
            assert client.send(message) == []
        assert (client.hung_up, client.asked) == (0, [])

    def test_an_abort_counts_as_the_answer(self):
        client = self.ended()
        assert client.send([3, {}, "wamp.error.x"]) == []
        assert client.hung_up == 1

    def test_the_clients_goodbye_is_not_awaited_for_ever(self):
        client = self.ended()
        client.gateway.pass_time(9.9)
        assert client.hung_up == 0
        client.gateway.pass_time(0.2)
        assert client.hung_up == 1

    def test_a_session_ends_only_once(self):
        client = self.ended()
        client.session.end(self.REASON, "enough")
        assert client.received() == []

    def test_a_client_that_has_not_sent_hello_gets_abort(self):
        client = Client()
        client.session.end("wamp.close.system_shutdown", "later")
        assert client.received() == [[3, {"message": "later"}, "wamp.close.system_shutdown"]]
        assert (client.hung_up, client.asked) == (1, [])


def test_a_client_that_never_sends_hello_is_disconnected():
    client = Client(handshake_timeout=3.0)
    client.gateway.pass_time(2.9)
    assert client.received() == []
    client.gateway.pass_time(0.2)
    assert client.received() == [[3, {"message": "no HELLO came in 3 seconds"}, VIOLATION]]
    assert client.hung_up == 1


def test_a_client_that_has_sent_hello_may_be_silent():
    client = joined()
    client.gateway.pass_time(1000)
    assert (client.received(), client.hung_up) == ([], 0)


@pytest.mark.parametrize(
    ("features", "abilities", "source"),
    [
        ({}, 0, "WAMP #client-role"),
        ({"call_canceling": True}, CANCELING, "WAMP #rpc-call-canceling"),
        (
            {"call_canceling": True, "progressive_call_results": True},
            CANCELING | PROGRESS,
            "WAMP #rpc-progressive-call-results",
        ),
        (
            {"progressive_call_results": True},
            PROGRESS,
            "autobahn-js announces no canceling: deviations.md",
        ),
        ({"call_canceling": 1}, 0, "WAMP #messages: bool"),
    ],
)
def test_the_announced_features_of_a_callee_are_kept_as_bits(features, abilities, source):
    client = joined(roles={"callee": {"features": features}})
    assert client.session._abilities == abilities
    assert joined(roles={"caller": {"features": features}}).session._abilities == 0


@pytest.mark.parametrize("subprotocol", ALL)
def test_sessions_of_one_kind_share_an_event_encoder(subprotocol):
    one, two = Client(subprotocol), Client(subprotocol)
    assert one.session.encoder is two.session.encoder
    assert one.session.encoder is not Client(subprotocol, limit=512).session.encoder
    others = [name for name in ALL if name != subprotocol]
    assert all(Client(name).session.encoder is not one.session.encoder for name in others)


@pytest.mark.cites("basic.sessions.6")
def test_welcome_can_be_read_by_a_client_library():
    client = Client()
    client.session.message(ENCODE["wamp.2.json"]([1, "realm1", {"roles": CANCELABLE}]), 0.0)
    welcome = Welcome.parse(msgspec.json.decode(client.connection.out[0]))
    assert (welcome.session, welcome.realm) == (SESSION, "realm1")
    assert welcome.roles["dealer"].progressive_call_results is True
