"""The files of conf/: they agree with the program, and one line sets the counts for supervisord."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from supervisor.options import ServerOptions

from fox_shard.cli import OFF
from fox_shard.config import (
    SETTINGS,
    Address,
    Config,
    History,
    Jwt,
    Listener,
    Realm,
    Reducer,
    Role,
    Rule,
    Webhook,
    load_with_origins,
    parse,
)

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
COUNTS = 'environment=FOX_GATEWAYS="2",FOX_SHARDS="2"'
SET_IN_FOX_CONF = {"gateways", "shards"}


def supervised(path, monkeypatch, **environ):
    """Return supervisord's options for this file, and {process name: its configuration}."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    options = ServerOptions()
    options.realize(["-c", str(path)])
    return options, {
        process.name: process
        for group in options.process_group_configs
        for process in group.process_configs
    }


def copy_of_conf(folder, text):
    (folder / "run").mkdir()
    (folder / "conf").mkdir()
    path = folder / "conf" / "fox.conf"
    path.write_text(text)
    return path


def test_fox_toml_sets_every_setting_to_its_default():
    config, origins = load_with_origins(CONF / "fox.toml", {})
    defaults = parse("", {}, folder=ROOT, name="")[0]
    assert config == defaults
    assert {path for path, origin in origins.items() if origin == "default"} == SET_IN_FOX_CONF


@pytest.mark.parametrize("key", sorted(SET_IN_FOX_CONF))
def test_fox_toml_shows_the_counts_commented_out(key):
    text = (CONF / "fox.toml").read_text()
    (line,) = re.findall(rf"^# ({key} = \d+)", text, flags=re.MULTILINE)
    assert tomllib.loads(line) == {key: getattr(Config(), key)}


def test_every_setting_in_fox_toml_is_explained():
    lines = (CONF / "fox.toml").read_text().splitlines()
    unexplained = [
        line
        for line in lines
        if re.match(r"\w+ = ", line) and "#" not in line and not line.startswith('name = "realm1"')
    ]
    assert unexplained == []
    shown = [line for line in lines if re.match(r"(# )?\w+ = ", line)]
    kinds = (Realm, History, Jwt, Reducer, Webhook, Role, Rule, Listener)
    of_realms = [name for kind in kinds for name in kind.__struct_fields__]
    assert len(shown) == len(SETTINGS) + len(of_realms) - len(
        ("history", "reducer", "webhook", "role", "rule", "jwt")
    )


def config_with(section):
    """Return what fox.toml says with a section that is shown commented out."""
    text = (CONF / "fox.toml").read_text()
    head = f"# [{section}]" if section == "realm.jwt" else f"# [[{section}]]"
    before, head, rest = text.partition(head)
    commented_out = (head + rest).partition("\n\n")[0]
    shown = before + commented_out.replace("\n# ", "\n").removeprefix("# ")
    return parse(shown, {}, folder=ROOT, name="fox.toml")[0]


def realm_with(section):
    return config_with(f"realm.{section}").realms[0]


def test_the_listener_that_fox_toml_shows_commented_out_has_the_defaults():
    shown = Listener(
        protocol="mqtt",
        address=Address("0.0.0.0", 8883),
        certificate="server.pem",
        key="server.key",
    )
    assert config_with("listener").listeners == (shown,)


def test_the_sections_that_fox_toml_shows_commented_out_have_the_defaults():
    assert realm_with("history").history == (History(topic="com.example.#"),)
    shown = Reducer(pattern="invoices.#", function="sum", field="amount", destination="totals")
    assert realm_with("reducer").reducer == (shown,)
    posted = Webhook(name="orders", topic="com.example.#", url="https://example.com/events")
    assert realm_with("webhook").webhook == (posted,)
    rule = Rule(uri="com.example.sensors.", match="prefix", allow=("publish", "subscribe"))
    jwt = Jwt(
        jwks="https://id.example.com/jwks.json",
        algorithms=("RS256",),
        issuer="https://id.example.com/",
        audience="broker",
    )
    assert realm_with("jwt").jwt == jwt
    assert realm_with("role").role == (Role(name="device", rule=(rule,), authorizer="rules:may"),)


def test_the_counts_are_the_first_setting_of_fox_conf():
    lines = (CONF / "fox.conf").read_text().splitlines()
    settings = [line for line in lines if line and not line.startswith(";")]
    assert settings[:2] == ["[supervisord]", COUNTS]


@pytest.mark.parametrize(("gateways", "shards"), [(1, 1), (2, 2), (3, 5)])
def test_supervisord_runs_as_many_processes_as_the_line_says(
    tmp_path, monkeypatch, gateways, shards
):
    line = f'environment=FOX_GATEWAYS="{gateways}",FOX_SHARDS="{shards}"'
    path = copy_of_conf(tmp_path, (CONF / "fox.conf").read_text().replace(COUNTS, line))
    # The line wins over the environment that supervisord is started in.
    _, processes = supervised(path, monkeypatch, FOX_SHARDS="7", FOX_GATEWAYS="7")
    assert set(processes) == {
        "coordinator",
        "worker",
        "web",
        *(f"gateway-{number}" for number in range(gateways)),
        *(f"shard-{number}" for number in range(shards)),
    }
    for process in processes.values():
        assert process.environment["FOX_GATEWAYS"] == str(gateways)
        assert process.environment["FOX_SHARDS"] == str(shards)


def test_processes_are_started_from_the_folder_of_the_file_wherever_supervisord_is(
    tmp_path, monkeypatch
):
    folder = tmp_path / "a copy"
    folder.mkdir()
    path = copy_of_conf(folder, (CONF / "fox.conf").read_text())
    monkeypatch.chdir("/")
    options, processes = supervised(path, monkeypatch, PATH="/usr/bin")
    toml = folder / "conf" / "fox.toml"
    assert (
        processes["coordinator"].command
        == f'python -m fox_shard coordinator --default-config "{toml}"'
    )
    assert processes["shard-1"].command == f'python -m fox_shard shard 1 --default-config "{toml}"'
    assert (
        processes["gateway-0"].command == f'python -m fox_shard gateway 0 --default-config "{toml}"'
    )
    for process in processes.values():
        assert Path(process.directory).resolve() == folder
        first, second = process.environment["PATH"].split(":")
        assert (Path(first).resolve(), second) == (folder / ".venv" / "bin", "/usr/bin")
    for file in (options.pidfile, options.logfile, options.server_configs[0]["file"]):
        assert Path(file).parent == folder / "run"


def test_processes_get_time_to_drain_and_are_always_restarted(monkeypatch):
    options, processes = supervised(CONF / "fox.conf", monkeypatch)
    assert options.nodaemon
    for process in processes.values():
        assert process.stopwaitsecs > Config().gateway.drain_timeout
        assert process.startretries >= 1_000_000
        assert process.stdout_logfile == "/dev/fd/1"
        if process.name != "web":
            assert process.autorestart.__name__ == "RestartUnconditionally"
    web = processes["web"]
    assert web.autorestart.__name__ == "RestartWhenExitUnexpected"
    # Without HTTP it ends at once, which is no failed start.
    assert (web.exitcodes, web.startsecs) == ([OFF], 0)


def test_supervisord_stops_gateways_before_shards_before_the_coordinator(monkeypatch):
    options, _ = supervised(CONF / "fox.conf", monkeypatch)
    by_priority = sorted(options.process_group_configs, key=lambda group: group.priority)
    assert [group.name for group in by_priority] == [
        "coordinator",
        "shard",
        "gateway",
        "worker",
        "web",
    ]


def test_the_image_runs_as_a_number_and_every_example_names_the_volume():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["1000:1000"]
    assert "install -d -o 1000 -g 1000 data run" in dockerfile
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    texts = [dockerfile, *(page.read_text().replace("\\\n", " ") for page in pages)]
    examples = [line for text in texts for line in text.splitlines() if "docker run -p" in line]
    assert len(examples) == 3
    assert all("-v fox-data:/app/data " in line for line in examples)


def test_the_compose_file_is_for_the_image(monkeypatch):
    dockerfile = (ROOT / "Dockerfile").read_text()
    compose = yaml.safe_load((CONF / "compose.yaml").read_text())
    service = compose["services"]["fox-shard"]
    assert (CONF / service["build"]).resolve() == ROOT
    exposed = re.findall(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE)[0].split()
    assert service["ports"] == [f"127.0.0.1:{port}:{port}" for port in exposed]
    assert service["volumes"] == ["fox-data:/app/data"]
    assert "fox-data" in compose["volumes"]
    assert set(service["environment"]) == {"FOX_GATEWAYS", "FOX_SHARDS"}
    _, processes = supervised(CONF / "fox.conf", monkeypatch)
    grace = int(service["stop_grace_period"].removesuffix("s"))
    groups = {name.partition("-")[0]: one.stopwaitsecs for name, one in processes.items()}
    assert grace > sum(groups.values())
