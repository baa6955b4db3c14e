"""The commands for a running server: the meaning of their arguments, tested without a server."""

import sys
from math import inf
from types import ModuleType

import pytest

import fox_shard.remote
from fox_shard.cli import main
from fox_shard.config import ConfigError
from fox_shard.config import parse as parse_config
from fox_shard.remote.connecting import Given, Target, target_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FOX_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "fox.toml").touch()
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Stand in for fox_shard.remote.commands, and record the options."""
    calls = []
    commands = ModuleType("fox_shard.remote.commands")
    commands.run = lambda options, config: calls.append((options, config)) or 0
    monkeypatch.setitem(sys.modules, "fox_shard.remote.commands", commands)
    monkeypatch.setattr(fox_shard.remote, "commands", commands, raising=False)
    return calls


@pytest.fixture
def published(monkeypatch):
    """Record what would be published (topic, arguments, options), or how a lock is asked for."""
    from fox_shard.remote import commands

    calls = []
    monkeypatch.setattr(commands, "visit", lambda target, command: command(None))
    monkeypatch.setattr(commands.keys, "put", lambda _, *rest, json: calls.append(rest) or 0)
    monkeypatch.setattr(commands, "run_under_lock", lambda router, *rest: calls.append(rest) or 0)
    return calls


@pytest.mark.parametrize(
    ("arguments", "args", "options"),
    [
        (["21.5"], [21.5], {"retain": True}),
        (["half price"], ["half price"], {"retain": True}),
        (['"21.5"'], ["21.5"], {"retain": True}),
        (["[1, 2]"], [[1, 2]], {"retain": True}),
        ([""], [""], {"retain": True}),
        (["1", "--for", "2.5"], [1], {"retain": 2.5}),
        (["--for", "2.5", "1"], [1], {"retain": 2.5}),
        (["--for", "2.5", "-1.5"], [-1.5], {"retain": 2.5}),
        (["--new", "1", "--wait"], [1], {"retain": True, "when": None, "watch": True}),
        (["1", "--new"], [1], {"retain": True, "when": None}),
        (["1", "--when", '{"a": 1}'], [1], {"retain": True, "when": {"a": 1}}),
        (["1", "--when-id", "0"], [1], {"retain": True, "when_id": 0}),
        (["1", "--new", "--wait"], [1], {"retain": True, "when": None, "watch": True}),
        (["--delete"], [], {"retain": True}),
        (["--delete", "--when-id", "7"], [], {"retain": True, "when_id": 7}),
    ],
)
def test_the_arguments_of_put_become_options_of_a_publish(arguments, args, options, published):
    assert main(["put", "a.b", *arguments]) == 0
    assert published == [("a.b", args, options)]


@pytest.mark.parametrize(
    ("arguments", "name", "wait", "grace", "command"),
    [
        (["a", "--", "true"], "a", inf, 5, ["true"]),
        (["--timeout", "2", "a", "--", "ls", "-l"], "a", 2, 5, ["ls", "-l"]),
        (["a", "--no-wait", "--grace", "0", "--", "x", "--", "y"], "a", 0, 0, ["x", "--", "y"]),
        (["a", "ls"], "a", inf, 5, ["ls"]),
    ],
)
def test_the_arguments_of_lock_become_terms_and_a_command(
    arguments, name, wait, grace, command, published
):
    assert main(["lock", "--value", '{"by": "me"}', *arguments]) == 0
    assert published == [(name, {"by": "me"}, (wait, grace), command)]


def test_the_default_value_of_a_lock_names_host_and_process(published):
    main(["lock", "a", "--", "true"])
    assert set(published[0][1]) == {"host", "pid"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["get", "a.*"], "argument TOPIC: 'a.*' is a pattern; this is about one topic"),
        (["get", "a..b"], "argument TOPIC: 'a..b' is not a URI"),
        (["put", "a"], "a VALUE, or - to read it from stdin, or --delete"),
        (["put", "a", "1", "--delete"], "either VALUE or --delete"),
        (["put", "a", "null"], "null would be no key: say --delete"),
        (["put", "a", "--new", "1", "2"], "unrecognized arguments: 2"),
        (["put", "a", "1", "--for", "2", "-x"], "fox put: unrecognized arguments: -x"),
        (["keys", "--lng"], "fox keys: unrecognized arguments: --lng\n`fox keys --help`"),
        (["put", "a", "1", "--wait"], "--wait is for a condition: --new, --when or --when-id"),
        (["put", "a", "1", "--for", "0"], "argument --for: more than 0 seconds"),
        (["put", "a", "1", "--for", "nan"], "argument --for: a number of seconds, not 'nan'"),
        (["put", "a", "1", "--when", "[1]"], "argument --when: an object in JSON, not '[1]'"),
        (["put", "a", "1", "--when-id", "-1"], "argument --when-id: a publication's id, not '-1'"),
        (["put", "a", "1", "--new", "--when-id", "1"], "not allowed with argument --new"),
        (["lock", "a"], "the following arguments are required: COMMAND"),
        (["lock", "a.#", "--", "true"], "argument NAME: 'a.#' is a pattern"),
        (["lock", "a", "--value", "null", "--", "true"], "argument --value: anything but null"),
        (["lock", "a", "--value", "{", "--", "true"], "argument --value: JSON, not '{'"),
        (["watch", "a", "--match", "regex"], "argument --match: invalid choice: 'regex'"),
    ],
)
def test_mistakes_are_reported(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("command", ["keys", "watch"])
def test_a_command_without_a_pattern_is_about_all_keys(command, asked):
    assert main([command]) == 0
    assert (asked[0][0].pattern, asked[0][0].match) == ("#", "exact")


@pytest.mark.parametrize(
    ("websocket", "given", "target"),
    [
        ("127.0.0.1:9000", (None, None), Target("ws://127.0.0.1:9000/ws", "realm1")),
        ("0.0.0.0:80", (None, None), Target("ws://127.0.0.1:80/ws", "realm1")),
        ("[::]:80", (None, "other"), Target("ws://[::1]:80/ws", "other")),
        ("off", ("wss://x/ws", None), Target("wss://x/ws", "realm1")),
    ],
)
def test_the_address_comes_from_options_or_the_configuration(websocket, given, target, folder):
    environ = {"FOX_GATEWAY_WEBSOCKET": websocket}
    config, _ = parse_config("", environ, folder=folder, name="fox.toml")
    assert target_of(config, *given) == target


@pytest.mark.parametrize(
    ("url", "given", "methods"),
    [
        ("ws://example.com/ws", Given("ann"), ["wamp-scram", "scram", "wampcra"]),
        ("wss://example.com/ws", Given("ann", "scram"), ["wamp-scram", "scram"]),
        ("ws://example.com/ws", Given("ann", "ticket"), ["ticket"]),
        ("ws://example.com/ws", Given(token_file="token.jwt"), ["ticket"]),
    ],
)
def test_how_to_log_in_may_be_said(folder, monkeypatch, url, given, methods):
    monkeypatch.setenv("FOX_PASSWORD", "secret")
    (folder / "token.jwt").write_text("a.b.c\n")
    config, _ = parse_config("", {}, folder=folder, name="fox.toml")
    target = target_of(config, url, "realm1", given=given)
    attempt = target.login.begin()
    assert attempt.details["authmethods"] == methods
    if given.token_file:
        assert attempt.answer("ticket", {}).signature == "a.b.c"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Given("ann", "magic"), "none of scram, wampcra, ticket"),
        (Given(token_file="no"), "no token"),
    ],
)
def test_a_login_that_cannot_be_is_an_error(folder, given, why):
    config, _ = parse_config("", {}, folder=folder, name="fox.toml")
    with pytest.raises(ConfigError, match=why):
        target_of(config, "ws://example.com/ws", "realm1", given=given)


def test_a_url_is_required_if_websocket_is_off(folder):
    config, _ = parse_config("", {"FOX_GATEWAY_WEBSOCKET": "off"}, folder=folder, name="fox.toml")
    with pytest.raises(ConfigError, match=r"gateway\.websocket is off.*--url"):
        target_of(config, None, None)


def test_no_configuration_is_needed_unless_one_is_named(folder, asked, capsys):
    (folder / "conf" / "fox.toml").unlink()
    assert main(["get", "a"]) == 0
    assert main(["get", "a", "--url", "ws://x/ws"]) == 0
    assert main(["get", "a", "--url", "ws://x/ws", "--realm", "r", "--config", "none"]) == 2
    assert "none" in capsys.readouterr().err


def test_no_configuration_is_read_with_url_and_realm(folder, asked):
    (folder / "conf" / "fox.toml").write_text("nonsense")
    assert main(["get", "a", "--url", "ws://x/ws"]) == 2
    assert main(["get", "a", "--url", "ws://x/ws", "--realm", "r"]) == 0


def test_a_server_of_several_processes_needs_its_file(folder, capsys):
    (folder / "conf" / "fox.toml").unlink()
    assert main(["run"]) == 2
    assert "Cannot read the configuration file conf/fox.toml" in capsys.readouterr().err


def test_keys_of_a_row_may_come_behind_options(asked):
    assert main(["tables", "show", "sale", "--realm", "r", "a", "-5"]) == 0
    assert asked[0][0].key == ["a", "-5"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "fox: Cannot read schema.json: No such file or directory.\n"),
        (b"\xff", "fox: Cannot read schema.json: 'utf-8' codec can't decode byte 0xff"),
        (b"[", "fox: schema.json: $: "),
        (
            b'{"a": {"properties": {"id": {"type": "string"}}, "primary_key": ["is"]}}',
            "fox: schema.json: $.a.primary_key[0]: the properties have no field",
        ),
    ],
)
def test_a_schema_with_a_mistake_is_refused_with_its_file_and_place(text, sentence, folder, capsys):
    if text is not None:
        (folder / "schema.json").write_bytes(text)
    assert main(["schema", "set", "schema.json"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(sentence)
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["pub", "call"])
def test_values_may_come_behind_options(command, asked):
    assert main([command, "a.b", "--kwargs", '{"x": 1}', "1", "-5"]) == 0
    assert asked[0][0].values == ["1", "-5"]
    assert asked[0][0].kwargs == {"x": 1}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pub", "a.*", "1"], "is a pattern"),
        (["pub", "a", "--kwargs", "[1]"], "an object in JSON"),
        (["pub", "a", "--options", "x"], "an object in JSON"),
        (["sub", "a", "--count", "0"], "a whole number from 1 on"),
        (["call", "a", "--timeout", "0"], "more than 0 seconds"),
        (["sessions", "end", "x"], "a whole number from 1 on"),
        (["register", "a"], "COMMAND"),
    ],
)
def test_wrong_arguments_of_messages_are_refused_in_words(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("com.a.b", "com.a.b"),
        ("com/a/b", "com.a.b"),
        ("com/a.b", "com/a.b"),
        ("mqtt:com/a.b", "com.a/b"),
        ("wamp:com/a", "com/a"),
        ("mqtt:com", "com"),
        ("$SYS/broker/uptime", "$SYS.broker.uptime"),
    ],
)
def test_a_topic_is_understood_in_either_notation_where_that_is_clear(text, topic, asked):
    assert main(["get", text]) == 0
    assert asked[0][0].topic == topic


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("a.*.#", "a.*.#"), ("a/+/#", "a.*.#"), ("+/a", "*.a"), ("#", "#"), ("a.+", "a.+")],
)
def test_a_pattern_is_understood_in_either_notation(text, pattern, asked):
    assert main(["sub", text]) == 0
    assert asked[0][0].pattern == pattern


def test_a_pattern_of_mqtt_is_no_topic(capsys):
    with pytest.raises(SystemExit):
        main(["get", "a/+"])
    assert "argument TOPIC: 'a/+' is a pattern" in capsys.readouterr().err


@pytest.mark.parametrize("noun", ["tables", "reducers", "sessions"])
@pytest.mark.parametrize("action", [[], ["list"], ["ls"]])
def test_a_noun_without_an_action_lists(noun, action, asked):
    for name in (noun, noun.removesuffix("s")):
        assert main([name, *action, "--json", "--realm", "r"]) == 0
    for options, _ in asked:
        assert (options.command, options.action, options.json) == (noun, "list", True)
    assert len(asked) == 2


def test_a_reducer_is_removed_by_name_and_pattern(asked, capsys):
    assert main(["reducers", "rm", "counts", "--pattern", "a/#", "--match", "exact"]) == 0
    options = asked[0][0]
    assert (options.action, options.name, options.pattern) == ("remove", "counts", "a.#")
    with pytest.raises(SystemExit):
        main(["reducers", "remove", "counts"])
    assert "--pattern" in capsys.readouterr().err
