"""Keys and rows of tables as HTTP resources."""

import asyncio

import pytest
from web_sessions import FakeSessions, key, request

from fox_shard.client.failures import Refused
from fox_shard.web.context import Limits

A = "com.example.a"
PATH = f"/api/keys/{A}"


@pytest.fixture
def sessions():
    return FakeSessions()


def test_the_value_of_a_key_has_its_publication_id_as_etag(sessions):
    sessions.keys = [key(A, 128, {"on": True})]
    answer = request(sessions, "GET", PATH)
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (
        200,
        {"on": True},
        '"128"',
    )
    options = {"match": "exact", "get_retained": True, "snapshot": True}
    assert sessions.asked == [("subscribe", A, options)]


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        (key(A, 1, 1, 2), [1, 2]),
        (key(A, 1, 1), 1),
        (key(A, 1, unit="K"), {"unit": "K"}),
        (key(A, 1, 1, unit="K"), {"args": [1], "kwargs": {"unit": "K"}}),
    ],
)
def test_arguments_become_one_value_as_for_mqtt(sessions, shown, value):
    sessions.keys = [shown]
    assert request(sessions, "GET", PATH).json() == value


def test_a_key_that_is_known_already_is_not_sent_again(sessions):
    sessions.keys = [key(A, 128, 1)]
    for known, status in (('"128"', 304), ('"1", "128"', 304), ("*", 304), ('"1"', 200)):
        answer = request(sessions, "GET", PATH, headers={"if-none-match": known})
        assert (answer.status_code, answer.headers["etag"]) == (status, '"128"')


def test_a_key_is_shown_if_it_still_has_the_etag(sessions):
    sessions.keys = [key(A, 128, 1)]
    for wanted, status in (('"128"', 200), ('"1", "128"', 200), ("*", 200), ('"1"', 412)):
        answer = request(sessions, "GET", PATH, headers={"if-match": wanted})
        assert (answer.status_code, answer.headers["etag"]) == (status, '"128"')


def test_other_methods_are_told_which_there_are(sessions):
    for path, methods in (
        (PATH, {"GET", "HEAD", "PUT", "DELETE"}),
        ("/api/keys", {"GET", "HEAD"}),
        ("/api/publish", {"POST"}),
    ):
        answer = request(sessions, "PATCH", path)
        assert answer.status_code == 405
        assert {*answer.headers["allow"].split(", ")} == methods


def test_a_key_that_is_not_there_or_cannot_be_shown(sessions):
    assert request(sessions, "GET", PATH).status_code == 404
    sessions.keys = [key(A, 128, removed="unreadable")]
    assert request(sessions, "GET", PATH).status_code == 409
    assert request(sessions, "GET", "/api/keys/a.*").status_code == 400


@pytest.mark.parametrize(
    ("body", "args"), [("21.5", [21.5]), ("[1, 2]", [1, 2]), ('{"on": true}', [{"on": True}])]
)
def test_a_value_is_published_as_a_key(sessions, body, args):
    headers = {"content-type": "application/json"}
    answer = request(sessions, "PUT", f"{PATH}?realm=other", content=body, headers=headers)
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, {"id": 64}, '"64"')
    assert sessions.asked == [("publish", A, args, {}, {"exclude_me": False, "retain": True})]
    assert sessions.visitors[0].realm == "other"


def test_a_lifetime_is_in_seconds(sessions):
    request(sessions, "PUT", f"{PATH}?retain=60", json=1)
    assert sessions.asked[0][4]["retain"] == 60
    for wrong in ("-1", "0", "x", "1e3", "9" * 20):
        answer = request(sessions, "PUT", f"{PATH}?retain={wrong}", json=1)
        assert answer.json()["errors"][0]["parameter"] == "retain"


@pytest.mark.parametrize("body", ["null", "[]", "[null]"])
def test_a_value_that_would_erase_the_key_is_refused(sessions, body):
    headers = {"content-type": "application/json"}
    assert request(sessions, "PUT", PATH, content=body, headers=headers).status_code == 400
    assert sessions.asked == []


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({}, {}),
        ({"if-match": '"128"'}, {"when_id": 128}),
        ({"if-none-match": "*"}, {"when_id": 0}),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_preconditions_are_conditions(sessions, method, headers, condition):
    body = {"json": 1} if method == "PUT" else {}
    assert request(sessions, method, PATH, headers=headers, **body).status_code == 200
    (asked,) = sessions.asked
    assert asked[2] == ([1] if method == "PUT" else [])
    assert asked[4] == {"exclude_me": False, "retain": True, **condition}


@pytest.mark.parametrize(
    "headers",
    [
        {"if-match": "*"},
        {"if-match": "128"},
        {"if-match": 'W/"128"'},
        {"if-match": '"1", "2"'},
        {"if-none-match": '"128"'},
        {"if-match": '"1"', "if-none-match": "*"},
    ],
)
def test_preconditions_that_are_no_condition_are_refused(sessions, headers):
    assert request(sessions, "DELETE", PATH, headers=headers).status_code == 400
    assert sessions.asked == []


def test_a_condition_that_does_not_hold_tells_the_present_version(sessions):
    sessions.answers["publish"] = Refused(
        "fox.error.condition_failed", ["no"], {"publication": 192}
    )
    answer = request(sessions, "PUT", PATH, json=1, headers={"if-match": '"128"'})
    assert (answer.status_code, answer.headers["etag"]) == (412, '"192"')


def test_keys_are_listed_by_topic(sessions):
    sessions.keys = [key("b", 2, 2), key("a", 1, 1), key("c", 3, removed="unreadable")]
    answer = request(sessions, "GET", "/api/keys?topic=&match=prefix")
    assert answer.json()["errors"][0]["parameter"] == "topic"
    answer = request(sessions, "GET", "/api/keys?topic=com.&match=prefix")
    assert answer.json() == {
        "keys": [
            {"topic": "a", "publication": 1, "value": 1},
            {"topic": "b", "publication": 2, "value": 2},
            {"topic": "c", "publication": 3, "removed": "unreadable"},
        ],
        "more": False,
    }
    for wrong in ("&match=all", "&limit=0", "&limit=10001", "&colour=1", "&topic=b"):
        assert request(sessions, "GET", f"/api/keys?topic=com.{wrong}").status_code == 400


def test_a_list_has_no_more_than_there_is_room_for(sessions):
    sessions.keys = [key(f"k{number}", number, "x" * 1000) for number in range(100)]
    answer = request(sessions, "GET", "/api/keys?topic=k&match=prefix&limit=10").json()
    assert (len(answer["keys"]), answer["more"]) == (10, True)
    answer = request(
        sessions, "GET", "/api/keys?topic=k&match=prefix", Limits(answer=20_000)
    ).json()
    assert 10 < len(answer["keys"]) < 20
    assert answer["more"]


def test_a_list_that_does_not_end_is_not_waited_for(sessions):
    async def silent():
        await asyncio.Event().wait()
        yield

    sessions._snapshot = silent
    answer = request(sessions, "GET", "/api/keys?topic=k", Limits(answer_timeout=0.01))
    assert answer.status_code == 504
    assert sessions.open == 0


def test_without_a_pattern_all_keys_are_listed(sessions):
    sessions.keys = [key(A, 128, 1)]
    assert request(sessions, "GET", "/api/keys").json()["keys"][0]["topic"] == A
    assert sessions.asked[0][1] == "#"
    for wrong in ("match=prefix", "topic="):
        answer = request(sessions, "GET", f"/api/keys?{wrong}")
        assert answer.json()["errors"][0]["parameter"] == "topic"


def test_a_table_that_is_not_there_is_not_found(sessions):
    def call(procedure, args, *_):
        if procedure == "fox.table.list":
            return [[{"table": "invoice"}]], {}
        return Refused("wamp.error.invalid_argument", [f"{args[0]}: that is wrong"])

    sessions.answers["call"] = call
    answer = request(sessions, "GET", "/api/tables/invoices")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no table invoices.")
    answer = request(sessions, "GET", "/api/tables/invoice")
    assert (answer.status_code, answer.json()["detail"]) == (400, "invoice: that is wrong")


def test_tables_and_their_rows(sessions):
    sessions.answers["call"] = ([[{"table": "invoice"}]], {})
    assert request(sessions, "GET", "/api/tables").json() == {"tables": [{"table": "invoice"}]}
    page = ([[{"id": 1}]], {"more": True, "after": [1]})
    sessions.answers["call"] = page
    path = '/api/tables/invoice?filter={"id":1}&limit=1&after=[0]&realm=other'
    answer = request(sessions, "GET", path)
    assert answer.json() == {"rows": [{"id": 1}], "more": True, "after": [1]}
    options = {"limit": 1, "filter": {"id": 1}, "after": [0]}
    assert sessions.asked[1:] == [("call", "fox.table.rows", ["invoice", options], {}, {})]
    for wrong in ("filter=[]", "filter=x", "after=x", "after=1", "limit=x"):
        assert request(sessions, "GET", f"/api/tables/invoice?{wrong}").status_code == 400


@pytest.mark.parametrize(
    ("path", "topic"),
    [
        ("2019-04-11/acme", "invoice.2019-04-11.acme"),
        ("5/true", "invoice.5.true"),
        ("A.%20%26%20B./%2F%25", "invoice.A%2E%20&%20B%2E.%2F%25"),
        ("/x", "invoice.%.x"),
        ("~1", "invoice.%7E1"),
        ("*", "invoice.%2A"),
    ],
)
def test_a_row_is_found_by_the_values_of_its_key(sessions, path, topic):
    sessions.keys = [key(topic, 128, {"id": 1})]
    answer = request(sessions, "GET", f"/api/tables/invoice/{path}")
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, {"id": 1}, '"128"')
    assert sessions.asked[0][1] == topic
