"""The configuration: its settings, which source wins, and the sentences about mistakes."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.config import (
    SETTINGS,
    Address,
    Config,
    ConfigError,
    History,
    Realm,
    RealmLimits,
    Role,
    Rule,
    check_any_listener,
    load,
    parse,
    share,
)
from fox_shard.config.rendering import render
from fox_shard.errors import InvalidUri
from fox_shard.topics.pattern import Pattern

FOLDER = Path("/srv/fox")
REALM = '[[realm]]\nname = "realm1"\n'
RULE = '[[realm.history]]\ntopic = "a.b"\n'
ROLE = "[[realm]]\nname = 'realm1'\n[[realm.role]]\nname = 'r'\n"
ALLOWANCE = ROLE + "[[realm.role.rule]]\nuri = 'a.b'\n"
REDUCER = "[[realm.reducer]]\npattern = 'a.#'\nfunction = 'sum'\n"


def read(text="", **environ):
    return parse(text, environ, folder=FOLDER, name="fox.toml")[0]


def value_of(config, path):
    for name in path.split("."):
        config = getattr(config, name)
    return config


def test_an_empty_file_gives_the_defaults_with_absolute_folders():
    expected = msgspec.structs.replace(
        Config(), data_dir="/srv/fox/data", run_dir="/srv/fox/run", users="/srv/fox/conf/users.toml"
    )
    assert read() == expected


@pytest.mark.parametrize(
    ("path", "toml", "variable", "text", "value"),
    [
        ("gateways", "gateways = 3", "FOX_GATEWAYS", "3", 3),
        ("shards", "shards = 64", "FOX_SHARDS", "64", 64),
        ("data_dir", 'data_dir = "d/e"', "FOX_DATA_DIR", "d/e", "/srv/fox/d/e"),
        ("run_dir", 'run_dir = "/tmp/r"', "FOX_RUN_DIR", "/tmp/r", "/tmp/r"),
        ("users", 'users = "conf/u"', "FOX_USERS", "conf/u", "/srv/fox/conf/u"),
        (
            "gateway.websocket",
            '[gateway]\nwebsocket = "0.0.0.0:9000"',
            "FOX_GATEWAY_WEBSOCKET",
            "0.0.0.0:9000",
            Address("0.0.0.0", 9000),
        ),
        (
            "gateway.rawsocket",
            '[gateway]\nrawsocket = "[::1]:9000"',
            "FOX_GATEWAY_RAWSOCKET",
            "[::1]:9000",
            Address("::1", 9000),
        ),
        ("gateway.mqtt", '[gateway]\nmqtt = "off"', "FOX_GATEWAY_MQTT", "off", None),
        ("gateway.mqtt", '[gateway]\nmqtt = ""', "FOX_GATEWAY_MQTT", "", None),
        (
            "gateway.handshake_timeout",
            "[gateway]\nhandshake_timeout = 3",
            "FOX_GATEWAY_HANDSHAKE_TIMEOUT",
            "3",
            3.0,
        ),
        ("backplane.credit", "[backplane]\ncredit = 65536", "FOX_BACKPLANE_CREDIT", "65536", 65536),
        ("rpc.queue_limit", "[rpc]\nqueue_limit = 0", "FOX_RPC_QUEUE_LIMIT", "0", 0),
        ("mqtt.max_inflight", "[mqtt]\nmax_inflight = 1", "FOX_MQTT_MAX_INFLIGHT", "1", 1),
        (
            "statsd.address",
            '[statsd]\naddress = "stats.local:8125"',
            "FOX_STATSD_ADDRESS",
            "stats.local:8125",
            Address("stats.local", 8125),
        ),
        ("statsd.prefix", '[statsd]\nprefix = ""', "FOX_STATSD_PREFIX", "", ""),
        ("web.address", '[web]\naddress = "off"', "FOX_WEB_ADDRESS", "off", None),
        (
            "web.trusted_proxies",
            '[web]\ntrusted_proxies = ["10.0.0.0/8", "::1"]',
            "FOX_WEB_TRUSTED_PROXIES",
            "10.0.0.0/8, ::1",
            ("10.0.0.0/8", "::1"),
        ),
        ("log.format", '[log]\nformat = "json"', "FOX_LOG_FORMAT", "json", "json"),
    ],
)
def test_a_setting_is_read_from_the_file_and_from_its_variable(path, toml, variable, text, value):
    assert value_of(read(toml), path) == value
    assert value_of(read("", **{variable: text}), path) == value


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.variable)
def test_every_setting_has_a_variable_and_a_default_of_its_own_type(setting):
    default = value_of(Config(), setting.path)
    text = "off" if default is None else "" if default == () else str(default)
    config, origins = parse("", {setting.variable: text}, folder=Path(), name="fox.toml")
    assert value_of(config, setting.path) == default
    assert {path: origin for path, origin in origins.items() if origin != "default"} == {
        setting.path: setting.variable
    }


def test_a_variable_wins_over_the_file_and_the_origins_say_so():
    config, origins = parse(
        "shards = 3\ngateways = 3", {"FOX_SHARDS": "4"}, folder=FOLDER, name="fox.toml"
    )
    assert (config.shards, config.gateways) == (4, 3)
    assert (origins["shards"], origins["gateways"], origins["run_dir"]) == (
        "FOX_SHARDS",
        "fox.toml",
        "default",
    )


def test_realms_in_the_file_replace_the_default_realm():
    config = read('[mqtt]\nrealm = "a.b"\n[[realm]]\nname = "a.b"\n[[realm]]\nname = "c"')
    assert config.realms == (Realm(name="a.b"), Realm(name="c"))


def test_the_history_rules_of_a_realm_are_read():
    more = RULE + "max_events = 5\n[[realm.history]]\ntopic = ''\nmatch = 'prefix'\nmax_age = 60"
    assert read(REALM + more).realms[0].history == (
        History(topic="a.b", max_events=5),
        History(topic="", match="prefix", max_age=60),
    )
    rule = History(topic="a")
    assert (rule.max_events, rule.max_age, rule.max_bytes) == (10_000, 0, 64 << 20)
    assert read().realms[0].history == ()


@given(
    st.text(st.sampled_from("ab.*# $+"), max_size=6),
    st.sampled_from(["exact", "prefix", "wildcard"]),
)
def test_a_history_rule_accepts_the_same_patterns_as_a_subscription(topic, match):
    text = REALM + f"[[realm.history]]\ntopic = '{topic}'\nmatch = '{match}'"
    try:
        Pattern.wamp(topic, match)
    except InvalidUri:
        with pytest.raises(ConfigError, match=r"realm\[0\].history\[0\].topic must be"):
            read(text)
    else:
        assert read(text).realms[0].history[0].topic == topic


def test_the_store_of_a_realm_is_read():
    config = read(REALM + 'store = "memory"\n[[realm]]\nname = "r2"\nstore = "sqlite"')
    assert [realm.store for realm in config.realms] == ["memory", "sqlite"]
    assert [realm.store for realm in read().realms] == ["sqlite"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("shards = ", "fox.toml is not valid TOML: Invalid value (at end of document)."),
        ("shard = 2", "fox.toml: there is no setting shard; did you mean shards?"),
        (
            "[gateway]\nwebsoket = 'off'",
            "fox.toml: there is no setting gateway.websoket; did you mean gateway.websocket?",
        ),
        ("[gatway]", "fox.toml: there is no setting gatway; did you mean gateway?"),
        (
            "[rpc]\nzebra = 1",
            "fox.toml: there is no setting rpc.zebra; there are queue_limit, queue_bytes, "
            "queued_parts, reroutes.",
        ),
        (
            "zebra = 1",
            "fox.toml: there is no setting zebra; there are gateways, shards, data_dir, run_dir, "
            "users, [gateway], [backplane], [rpc], [keys], [reducer], [limits], [mqtt], [auth], "
            "[web], [metrics], [statsd], [tracing], [log].",
        ),
        ("gateway = 1", "fox.toml: gateway must be a section [gateway], not 1."),
        ("shards = 0", "fox.toml: shards must be a whole number from 1 to 64, not 0."),
        ("shards = 65", "fox.toml: shards must be a whole number from 1 to 64, not 65."),
        ("shards = '2'", 'fox.toml: shards must be a whole number from 1 to 64, not "2".'),
        ("shards = true", "fox.toml: shards must be a whole number from 1 to 64, not true."),
        ("shards = 2.0", "fox.toml: shards must be a whole number from 1 to 64, not 2.0."),
        ("data_dir = ''", 'fox.toml: data_dir must be text that is not empty, not "".'),
        (
            "[backplane]\nheartbeat = nan",
            "fox.toml: backplane.heartbeat must be a number of seconds from 0.1 to 3600, not NaN.",
        ),
        (
            "[log]\nlevel = 'loud'",
            'fox.toml: log.level must be one of "debug", "error", "info", "warning", not "loud".',
        ),
        (
            "[statsd]\nprefix = 'a b'",
            'fox.toml: statsd.prefix must be text that matches ^[A-Za-z0-9_.-]*$, not "a b".',
        ),
        (
            "[backplane]\nheartbeat = 3",
            "backplane.peer_timeout (5 s) must be at least twice backplane.heartbeat (3 s).",
        ),
        (
            "[gateway]\nmqtt = '127.0.0.1:8080'",
            "gateway.websocket and gateway.mqtt are both 127.0.0.1:8080.",
        ),
        (
            "[gateway]\nmqtt = '127.0.0.1:8088'",
            "gateway.mqtt and web.address are both 127.0.0.1:8088.",
        ),
        (
            "[metrics]\naccess = 'token'",
            'metrics.access is "token", so metrics.token must name a file.',
        ),
        (
            "[web]\nrealm = 'x'",
            'web.realm must be the name of a [[realm]], and none is called "x".',
        ),
        (
            "[web]\ntrusted_proxies = ['10.0.0.1/8']",
            'fox.toml: web.trusted_proxies must be a list of networks such as ["10.0.0.0/8", '
            '"::1"], not ["10.0.0.1/8"].',
        ),
        (
            "[[realm]]\nname = 'other'",
            'mqtt.realm must be the name of a [[realm]], and none is called "realm1".',
        ),
        ("realm = 'x'", 'fox.toml: realm must be one or more sections [[realm]], not "x".'),
        ("realm = []", "fox.toml: realm must be one or more sections [[realm]], not []."),
        (REALM + REALM, 'fox.toml: realm[1].name: there are two realms "realm1".'),
        (
            REALM + "userss = 1",
            "fox.toml: realm[0]: there is no setting userss; "
            "there are name, store, schema, kwargs_are_headers, anonymous, users, "
            "authenticator, authenticator_realm, authenticator_methods, max_keys, max_key_bytes, "
            "max_subscriptions, max_queue_bytes, history, reducer, webhook, role, jwt.",
        ),
        (
            REALM + "max_keys = -1",
            "fox.toml: realm[0].max_keys must be a whole number from 0 to 1000000000, not -1.",
        ),
        (
            REALM + "max_key_bytes = 0.5",
            "fox.toml: realm[0].max_key_bytes must be a whole number from 0 to 17592186044416, "
            "not 0.5.",
        ),
        (
            REALM + "authenticator = 'wamp.authenticate'",
            "fox.toml: realm[0].authenticator must be a procedure, or a Python function such as "
            '"logins:authenticate", not "wamp.authenticate".',
        ),
        (
            REALM + "authenticator = 'no function: x'",
            "fox.toml: realm[0].authenticator must be a procedure, or a Python function such as "
            '"logins:authenticate", not "no function: x".',
        ),
        (
            REALM + "authenticator = 'com.login'\nauthenticator_realm = 'nowhere'",
            "fox.toml: realm[0].authenticator_realm must be the name of a [[realm]], not "
            '"nowhere".',
        ),
        (
            REALM + "authenticator = 'logins:check'\nauthenticator_realm = 'realm1'",
            "fox.toml: realm[0].authenticator_realm is for an authenticator that is a procedure.",
        ),
        (
            REALM + "authenticator = 'com.login'\nauthenticator_methods = []",
            "fox.toml: realm[0].authenticator_methods must name at least one method.",
        ),
        (
            REALM + "authenticator_methods = ['scram']",
            'fox.toml: realm[0].authenticator_methods must be a list of "ticket", "wampcra", '
            '"cryptosign", "tls" and "anonymous", or some of them, not ["scram"].',
        ),
        (
            REALM + "store = 'disk'",
            'fox.toml: realm[0].store must be one of "memory", "sqlite", not "disk".',
        ),
        (
            REALM + "store = 1",
            'fox.toml: realm[0].store must be one of "memory", "sqlite", not 1.',
        ),
        (
            REALM + "kwargs_are_headers = 1",
            "fox.toml: realm[0].kwargs_are_headers must be true or false, not 1.",
        ),
        (
            REALM + "history = 'a'",
            'fox.toml: realm[0].history must be one or more sections [[realm.history]], not "a".',
        ),
        (
            REALM + "history = [1]",
            "fox.toml: realm[0].history[0] must be a section [[realm.history]], not 1.",
        ),
        (
            REALM + RULE + RULE.replace('"a', '"b') + "max_event = 1",
            "fox.toml: realm[0].history[1]: there is no setting max_event; "
            "there are topic, match, max_events, max_age, max_bytes.",
        ),
        (
            REALM + RULE + "max_events = 0",
            "fox.toml: realm[0].history[0].max_events must be a whole number from 1 to 1000000000, "
            "not 0.",
        ),
        (
            REALM + "[[realm.history]]\nmax_age = 1",
            "fox.toml: realm[0].history[0].topic must be a topic or a pattern, not null.",
        ),
        (
            REALM + "[[realm.history]]\ntopic = 'a..b'",
            "fox.toml: realm[0].history[0].topic must be a topic or a pattern "
            '(match = "exact"), not "a..b".',
        ),
        (
            REALM + RULE + "match = 'regex'",
            "fox.toml: realm[0].history[0].match must be one of "
            '"exact", "prefix", "wildcard", not "regex".',
        ),
        (
            REALM + RULE + RULE,
            'fox.toml: realm[0].history[1].topic: there are two rules for "a.b".',
        ),
        (
            REALM + "[[realm.reducer]]\nfunction = 'sum'",
            "fox.toml: realm[0].reducer[0].pattern must be a topic or a pattern, not null.",
        ),
        (
            REALM + "[[realm.reducer]]\npattern = 'a.#'\nfunction = 'median'",
            "fox.toml: realm[0].reducer[0].function must be sum, count, min, max, avg, last, "
            'merge, append, or a Python function such as "totals:add", not "median".',
        ),
        (
            REALM + REDUCER.replace("a.#", "fox.x"),
            "fox.toml: realm[0].reducer[0].pattern must be a topic or a pattern "
            '(match = "exact") that the server does not reserve, not "fox.x".',
        ),
        (
            REALM + REDUCER + "destination = 'wamp.x'",
            "fox.toml: realm[0].reducer[0].destination must be a topic that the server does not "
            'reserve, not "wamp.x".',
        ),
        (
            REALM + REDUCER + "limit = 0",
            "fox.toml: realm[0].reducer[0].limit must be a whole number from 1 to 100000, not 0.",
        ),
        (
            REALM + REDUCER + REDUCER,
            'fox.toml: realm[0].reducer[1].pattern: there are two such reducers of "a.#".',
        ),
        ("realm = [1]", "fox.toml: realm[0] must be a section [[realm]], not 1."),
        (
            ROLE.replace("name = 'r'", ""),
            "fox.toml: realm[0].role[0].name must be the name of a role, not null.",
        ),
        (
            ROLE + "[[realm.role]]\nname = 'r'",
            'fox.toml: realm[0].role[1].name: there are two roles "r".',
        ),
        (
            ROLE + "rules = 1",
            "fox.toml: realm[0].role[0]: there is no setting rules; there are name, rule, "
            "authorizer, authorizer_timeout, authorizer_cache.",
        ),
        (
            ALLOWANCE + "allow = ['read']",
            'fox.toml: realm[0].role[0].rule[0].allow must be a list of "publish", "subscribe", '
            '"call" and "register", or some of them, not ["read"].',
        ),
        (
            ALLOWANCE + "allowed = ['publish']",
            "fox.toml: realm[0].role[0].rule[0]: there is no setting allowed; there are uri, "
            "match, allow, disclose, cache, trustlevel.",
        ),
        (
            ROLE + "[[realm.role.rule]]\nallow = []",
            "fox.toml: realm[0].role[0].rule[0].uri must be a topic, a procedure or a pattern, not "
            "null.",
        ),
        (
            ALLOWANCE.replace("a.b", "a..b"),
            "fox.toml: realm[0].role[0].rule[0].uri must be a topic, a procedure or a pattern "
            '(match = "exact"), not "a..b".',
        ),
        (
            ALLOWANCE.replace("a.b", "a/#/b") + "match = 'mqtt'",
            "fox.toml: realm[0].role[0].rule[0].uri must be a topic, a procedure or a pattern "
            '(match = "mqtt"), not "a/#/b".',
        ),
        (
            ALLOWANCE.replace("a.b", "a/b"),
            'fox.toml: realm[0].role[0].rule[0].uri: "a/b" looks like a topic of MQTT: write it '
            'with dots, or add match = "mqtt".',
        ),
        (
            REALM + "users = 'com.example.users.*'",
            "fox.toml: realm[0].users: a realm whose users are in keys needs roles "
            "([[realm.role]]), as otherwise everybody might read and change them.",
        ),
        *(
            (
                f"[[realm]]\nname = 'realm1'\nusers = '{pattern}'",
                'fox.toml: realm[0].users must be a topic followed by ".*", such as '
                f'"com.example.users.*", not a reserved one, not "{pattern}".',
            )
            for pattern in ("a.b", "*", "a.*.*", "fox.users.*", "a.#")
        ),
        (
            ALLOWANCE + "[[realm.role.rule]]\nuri = 'a/b'\nmatch = 'mqtt'",
            "fox.toml: realm[0].role[0].rule[1].uri: two rules are for the same topics, "
            '"a.b" and "a/b"; let one of them say what is allowed.',
        ),
        (
            ALLOWANCE.replace("a.b", "a.*.#")
            + "[[realm.role.rule]]\nuri = 'a..#'\nmatch = 'wildcard'",
            "fox.toml: realm[0].role[0].rule[1].uri: two rules are for the same topics, "
            '"a.*.#" and "a..#"; let one of them say what is allowed.',
        ),
        (
            "[[realm]]\nname = 'a b'",
            'fox.toml: realm[0].name must be a URI such as "com.example.realm", without spaces, '
            '"#" and "@", not "a b".',
        ),
    ],
)
def test_a_mistake_in_the_file_is_reported_in_one_sentence_that_names_it(text, sentence):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "text",
    [
        *("8080", ":8080", "host", "host:", "host:0", "host:65536", "host:8o", "host:\u0661"),
        *("a b:1", "-h:1", "http://h:1", "h:1/ws", "h:+1"),
        *("[::1:1", "::1:1", "[127.0.0.1]:1", "[fe80::zz]:1"),
    ],
)
def test_a_text_that_is_no_address_is_refused(text):
    with pytest.raises(ConfigError) as caught:
        read("", FOX_GATEWAY_MQTT=text)
    assert str(caught.value).startswith(
        'Environment variable FOX_GATEWAY_MQTT must be an address "host:port" with a port '
        'from 1 to 65535, or "off", not '
    )


@pytest.mark.parametrize("text", ["localhost:1", "10.0.0.1:65535", "[::]:80", "a-b.example:8080"])
def test_an_address_is_printed_as_it_was_written(text):
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        (
            "FOX_SHARDS",
            "many",
            'Environment variable FOX_SHARDS must be a whole number from 1 to 64, not "many".',
        ),
        (
            "FOX_SHARD",
            "2",
            "Environment variable FOX_SHARD names no setting; did you mean FOX_SHARDS?",
        ),
        (
            "FOX_GATWAY_MQTT",
            "off",
            "Environment variable FOX_GATWAY_MQTT names no setting; did you mean FOX_GATEWAY_MQTT?",
        ),
        (
            "FOX_RPC_ZEBRA",
            "",
            "Environment variable FOX_RPC_ZEBRA names no setting; there are "
            "FOX_RPC_QUEUE_LIMIT, FOX_RPC_QUEUE_BYTES, FOX_RPC_QUEUED_PARTS, FOX_RPC_REROUTES.",
        ),
        (
            "FOX_REALM_NAME",
            "a",
            "Environment variable FOX_REALM_NAME: realms are set by [[realm]] in the file only.",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_reported_in_one_sentence_that_names_it(
    variable, text, sentence
):
    with pytest.raises(ConfigError) as caught:
        read("", **{variable: text})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("variable", ["FOX_CONFIG", "FOX_PEERS_FOLDER", "FOX", "SHARDS"])
def test_variables_of_other_programs_are_ignored(variable):
    assert read("", **{variable: "x"}) == read()


def test_load_resolves_schemas_beside_the_file(tmp_path):
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "fox.toml"
    realms = '[[realm]]\nname = "realm1"\n{}[[realm]]\nname = "other"\n'
    path.write_text(realms.format('schema = "tables/schema.json"\n'))
    config = load(path, {})
    assert [realm.schema for realm in config.realms] == [
        str(tmp_path / "conf" / "tables" / "schema.json"),
        "",
    ]
    path.write_text(realms.format('schema = "/etc/schema.json"\n'))
    assert load(path, {}).realms[0].schema == "/etc/schema.json"


def test_load_resolves_relative_folders_above_the_folder_of_the_file(tmp_path):
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "fox.toml"
    path.write_text('run_dir = "r"')
    assert load(path, {}).run_dir == str(tmp_path / "r")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), (b"\xff", "'utf-8' codec can't decode byte 0xff")],
)
def test_a_file_that_cannot_be_read_is_reported_in_one_sentence(tmp_path, content, reason):
    path = tmp_path / "fox.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ConfigError, match=r"^Cannot read the configuration file .*fox\.toml: "
    ) as caught:
        load(path, {})
    assert reason in str(caught.value)


def test_the_configuration_that_render_prints_reads_back_the_same():
    text = (
        '[mqtt]\nrealm = "r2"\n[[realm]]\nname = "r1"\nstore = "memory"\n'
        'kwargs_are_headers = true\nschema = "schema.json"\n'
        '[[realm]]\nname = "r2"\nmax_keys = 0\n[[realm.history]]\ntopic = "ü.#"\nmax_age = 5\n'
    )
    config, origins = parse(text, {"FOX_GATEWAY_MQTT": "[::1]:1"}, folder=FOLDER, name="fox.toml")
    printed = render(config, origins)
    assert read(printed) == config
    assert tomllib.loads(printed)["gateway"]["mqtt"] == "[::1]:1"
    assert "# FOX_GATEWAY_MQTT\n" in printed


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ('["https://example.com", "null"]', "https://example.com,null"),
        ('["https://example.com", "null"]', " https://example.com, null "),
        ("[]", ""),
    ],
)
def test_a_list_is_separated_by_commas_in_the_environment(toml, text):
    config = read(f"[gateway]\nallowed_origins = {toml}")
    assert read("", FOX_GATEWAY_ALLOWED_ORIGINS=text) == config
    assert len(config.gateway.allowed_origins) == toml.count('"') // 2


@pytest.mark.parametrize("origin", ["example.com", "https://example.com/path", "", "https://"])
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(ConfigError, match="must be a list of origins such as"):
        read(f'[gateway]\nallowed_origins = ["{origin}"]')


def test_a_realm_has_roles():
    config = read(
        ALLOWANCE
        + """
        allow = ["publish", "call"]
        disclose = true
        cache = false
        [[realm.role.rule]]
        uri = "sensors/+/#"
        match = "mqtt"
        [[realm.role]]
        name = "guest"
        """
    )
    assert config.realms[0].role == (
        Role(
            name="r",
            rule=(
                Rule(uri="a.b", allow=("publish", "call"), disclose=True, cache=False),
                Rule(uri="sensors/+/#", match="mqtt"),
            ),
        ),
        Role(name="guest"),
    )


def test_a_realm_has_reducers():
    text = """
    [[realm]]
    name = "realm1"
    [[realm.reducer]]
    pattern = "invoices.#"
    function = "sum"
    field = "amount"
    destination = "totals"
    [[realm.reducer]]
    pattern = "a"
    match = "prefix"
    function = "shop.totals:Sums.add"
    concurrency = 3
    """
    config, _ = parse(text, {}, folder=FOLDER, name="fox.toml")
    one, other = config.realms[0].reducer
    assert (one.pattern, one.function, one.field) == ("invoices.#", "sum", "amount")
    assert (one.destination, one.limit, one.is_built_in) == ("totals", 100, True)
    assert (other.match, other.concurrency, other.is_built_in) == ("prefix", 3, False)


def test_a_realm_has_the_limits_of_the_section_limits_or_its_own():
    config = read(
        "[limits]\nmax_keys = 5\nmax_subscriptions = 7\n"
        '[[realm]]\nname = "realm1"\n[[realm]]\nname = "r2"\nmax_keys = 0\nmax_key_bytes = 9'
    )
    first, second = (realm.limits(config.limits) for realm in config.realms)
    assert first == config.limits == RealmLimits(max_keys=5, max_subscriptions=7)
    assert second == RealmLimits(max_keys=0, max_key_bytes=9, max_subscriptions=7)


def test_a_configuration_may_be_without_listeners_but_no_server():
    off = {f"FOX_GATEWAY_{kind}": "off" for kind in ("WEBSOCKET", "RAWSOCKET", "MQTT")}
    check_any_listener(read(**{**off, "FOX_GATEWAY_MQTT": "127.0.0.1:1883"}))
    sentence = r"^gateway\.websocket, gateway\.rawsocket and gateway\.mqtt are all off\.$"
    with pytest.raises(ConfigError, match=sentence):
        check_any_listener(read(**off))


def test_a_process_has_its_share_of_a_limit_rounded_up():
    assert [share(limit, 3) for limit in (0, 1, 3, 4)] == [0, 1, 1, 2]
