"""Tables on a real server: schemas from files and by procedure, rows by MQTT and WAMP, restarts."""

import json
import os
import re
import signal
from contextlib import contextmanager

import pytest
from cluster import END, ROOT, await_true
from mqtt_peers import MqttPeer
from programs import Fox
from raw_wamp import (
    CALL,
    ERROR,
    EVENT,
    PUBLISH,
    PUBLISHED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    RawWamp,
)
from supervised import FOX_RUN, SUPERVISORD, Supervised

SCHEMA = json.loads((ROOT / "conf" / "schema.json").read_text())


@contextmanager
def server(tmp_path, schema, **arguments):
    """Start a server whose realm has a schema; the file is yielded, too."""
    file = tmp_path / "schema.json"
    file.write_text(schema)
    text = (ROOT / "conf" / "fox.toml").read_text()
    config = tmp_path / "fox.toml"
    config.write_text(re.sub(r'^schema = ""', f'schema = "{file.name}"', text, flags=re.M))
    broker = Supervised(config=config, **arguments)
    try:
        yield broker, file
    finally:
        if broker.supervisord.poll() is None:
            broker.stop()
        broker.remove()


@pytest.mark.parametrize("starts", [FOX_RUN, SUPERVISORD], ids=["fox", "supervisord"])
def test_a_schema_that_cannot_be_stops_the_start_with_one_sentence(tmp_path, starts):
    wrong = json.dumps({"invoice": {**SCHEMA["invoice"], "primary_key": ["day"]}})
    with server(tmp_path, wrong, starts=starts, await_ready=False) as (broker, file):
        broker.supervisord.wait(END)
        lines = [line for line in broker.said.read_text().splitlines() if "fox: " in line]
        assert lines == [
            f"fox: {file}: $.invoice.primary_key[0]: "
            'the properties have no field "day"; there are date, customer, amount.'
        ]


def test_a_schema_that_is_missing_stops_the_start(tmp_path):
    with server(tmp_path, "{}", await_ready=True) as (broker, file):
        broker.supervisord.terminate()
        assert broker.supervisord.wait(END) == 0
        file.unlink()
        broker.said.write_text("")
        broker.supervisord = broker.start()
        assert broker.supervisord.wait(END) == 1
        (line,) = broker.said.read_text().splitlines()
        assert line == (
            f"fox: Cannot read {file}, the schema of realm1: No such file or directory."
        )


ROW = {"date": "2019-04-11", "customer": "acme, Žižkov & co. #1", "amount": "0.10"}
TOPIC = "invoice.2019-04-11.acme,%20Žižkov%20&%20co%2E%20%231"


def get(client, *key):
    answer = client.do(CALL, {}, "fox.table.get", ["invoice", *key], answer=RESULT)
    return answer[3][0]


def test_rows_of_both_protocols_and_a_new_schema_while_the_server_runs(tmp_path):
    with server(tmp_path, json.dumps(SCHEMA)) as (broker, _):
        client = RawWamp(broker.rawsocket)
        client.do(SUBSCRIBE, {}, "invoice", answer=SUBSCRIBED)
        device = MqttPeer(("127.0.0.1", broker.mqtt), "device")
        device.publish("invoice", json.dumps(ROW), qos=1)
        event = client.receive()
        assert (event[0], event[3]["topic"], event[4]) == (EVENT, TOPIC, [ROW])
        client.do(PUBLISH, {"acknowledge": True}, TOPIC, [{**ROW, "amount": "7"}], answer=PUBLISHED)
        device.subscribe("invoice/#")
        message = device.receive()
        assert message.topic == TOPIC.replace(".", "/")
        assert json.loads(message.payload)["amount"] == "7"
        assert get(client, ROW["date"], ROW["customer"])["amount"] == "7"
        # What is not valid: refused, dropped, and nothing has changed.
        bad = {**ROW, "amount": "seven"}
        refused = client.do(PUBLISH, {"acknowledge": True}, "invoice", [bad], answer=ERROR)
        assert refused[4] == "fox.error.invalid_payload"
        assert "$.amount" in refused[5][0]
        device.publish("invoice", json.dumps(bad), qos=1)
        assert get(client, ROW["date"], ROW["customer"])["amount"] == "7"
        # A new schema, which a restarted server keeps, as the file has not changed.
        stricter = json.loads(json.dumps(SCHEMA))
        stricter["invoice"]["required"] = ["amount", "currency"]
        assert client.do(CALL, {}, "fox.schema.set", [stricter], answer=RESULT)[3] == [2]
        refused = client.do(PUBLISH, {"acknowledge": True}, "invoice", [ROW], answer=ERROR)
        assert '"currency" is missing' in refused[5][0]
        device.close()
        client.close()
        broker.supervisord.terminate()
        assert broker.supervisord.wait(END) == 0
        broker.supervisord = broker.start()
        broker.await_ready()
        client = RawWamp(broker.rawsocket)
        answer = client.do(CALL, {}, "fox.schema.get", answer=RESULT)
        assert answer[3:] == [[stricter], {"version": 2}]
        assert get(client, ROW["date"], ROW["customer"])["amount"] == "7"
        page = client.do(CALL, {}, "fox.table.rows", ["invoice"], answer=RESULT)
        assert page[3:] == [[[{**ROW, "amount": "7"}]], {"more": False, "after": None}]
        client.close()


def test_totals_and_the_commands_that_show_them(tmp_path):
    """The seed's example, with publishers of both protocols, and shards that are killed."""
    with server(tmp_path, json.dumps(SCHEMA)) as (broker, _):
        fox = Fox(broker)
        del fox.environment["FOX_SHARDS"]
        client = RawWamp(broker.rawsocket)
        device = MqttPeer(("127.0.0.1", broker.mqtt), "device")
        with fox.start("tables", "watch", "detail") as watching:
            for number in range(40):
                customer = f"c{number % 4}"
                row = {"date": f"d{number}", "customer": customer, "amount": "0.10"}
                if number % 2:
                    device.publish("invoice", json.dumps(row), qos=1)
                else:
                    options = {"acknowledge": True}
                    client.do(PUBLISH, options, "invoice", [row], answer=PUBLISHED)
                if number in (10, 25):
                    kill_shards(broker)
            expected = {f'detail.c{n}\t{{"customer":"c{n}","total":"1.00"}}' for n in range(4)}
            while expected:
                expected.discard(watching.line())
        assert fox.prints("tables", "verify") == (
            "detail: 4 rows, made of 40 contributions; 0 are wrong\n"
        )
        (verified,) = fox.prints("tables", "verify", "--json").splitlines()
        assert json.loads(verified)["wrong"] == 0
        assert fox.prints("tables", "show", "detail", "c1") == '{"customer":"c1","total":"1.00"}\n'
        assert len(fox.prints("tables", "show", "invoice").splitlines()) == 40
        for action in ("show", "watch"):
            code, _, err = fox.run("tables", action, "detials")
            assert code != 0
            assert "did you mean detail?" in err
        assert fox.prints("tables", "list") == (
            "TABLE    ROWS  STATE\n"
            "detail   4     made of 40 contributions\n"
            "invoice  40    published\n"
        )
        # Another definition, which is computed from the rows that there are.
        other = json.loads(json.dumps(SCHEMA))
        other["detail"] |= {"sum": [], "max": ["total"]}
        client.do(CALL, {}, "fox.schema.set", [other], answer=RESULT)
        await_true(
            "the rebuilding", lambda: '"complete":true' in fox.prints("tables", "list", "--json")
        )
        assert fox.prints("tables", "show", "detail", "c1") == '{"customer":"c1","total":"0.10"}\n'
        assert "0 are wrong" in fox.prints("tables", "verify", "detail")
        device.close()
        client.close()


def test_a_dump_brings_the_schema_and_its_aggregates_into_an_empty_folder(tmp_path):
    broker = Supervised()
    try:
        client = RawWamp(broker.rawsocket)
        assert client.do(CALL, {}, "fox.schema.set", [SCHEMA], answer=RESULT)[3] == [1]
        for number in range(10):
            row = {"date": f"d{number}", "customer": "c", "amount": "0.10"}
            client.do(PUBLISH, {"acknowledge": True}, "invoice", [row], answer=PUBLISHED)
        fox = Fox(broker)
        del fox.environment["FOX_SHARDS"]
        total = '{"customer":"c","total":"1.00"}\n'
        await_true("the total", lambda: fox.prints("tables", "show", "detail", "c") == total)
        client.close()
        dump = tmp_path / "keys.jsonl"
        done = broker.fox("dump", str(dump))
        assert done.returncode == 0, done.stderr
        broker.supervisord.terminate()
        assert broker.supervisord.wait(END) == 0
        (manifest,) = broker.folder.rglob("manifest.json")
        manifest.parent.rename(tmp_path / "lost")
        done = broker.fox("load", str(dump))
        assert done.returncode == 0, done.stderr
        broker.supervisord = broker.start()
        broker.await_ready()
        client = RawWamp(broker.rawsocket)
        answer = client.do(CALL, {}, "fox.schema.get", answer=RESULT)
        assert answer[3:] == [[SCHEMA], {"version": 1}]
        bad = {"date": "d", "customer": "c", "amount": "seven"}
        refused = client.do(PUBLISH, {"acknowledge": True}, "invoice", [bad], answer=ERROR)
        assert refused[4] == "fox.error.invalid_payload"
        verified = "detail: 1 rows, made of 10 contributions; 0 are wrong\n"
        await_true("the aggregate", lambda: fox.prints("tables", "verify") == verified)
        assert fox.prints("tables", "show", "detail", "c") == total
        client.close()
    finally:
        if broker.supervisord.poll() is None:
            broker.stop()
        broker.remove()


def kill_shards(broker):
    """Kill all shards, which supervisord starts again."""
    for name, pid in broker.children().items():
        if "shard" in name:
            os.kill(pid, signal.SIGKILL)
