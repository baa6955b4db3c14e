"""The fox command: its configuration, the processes that it starts, and its refusals."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import fox_shard.remote
from fox_shard import __version__
from fox_shard.cli import main
from fox_shard.cli_arguments import parser_of
from fox_shard.compiled import chosen

IN_FILE = "gateway.websocket in a/conf/fox.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Give each test a folder of its own as working directory, with an empty conf/fox.toml."""
    for name in ("FOX_CONFIG", "FOX_SHARDS", "FOX_GATEWAYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "fox.toml").touch()
    return tmp_path


@pytest.fixture
def started(monkeypatch):
    """Stand in for fox_shard.runtime, and record what is started: (name, number, config)."""
    calls = []
    gateway, shard, coordinator = (
        ModuleType(f"fox_shard.runtime.{name}_process")
        for name in ("gateway", "shard", "coordinator")
    )
    gateway.run_gateway = lambda number, config, _folder: (
        calls.append(("gateway", number, config)) or 0
    )
    gateway.run_attached_gateway = lambda run_dir, environ: (
        calls.append(("attached", run_dir, environ)) or 0
    )
    shard.run_shard = lambda number, config: calls.append(("shard", number, config)) or 0
    coordinator.run_coordinator = lambda config, folder: (
        calls.append(("coordinator", None, config)) or 0
    )
    health = ModuleType("fox_shard.runtime.health")
    health.check_health = lambda config, as_json: calls.append(("health", None, config)) or 1
    for module in (gateway, shard, coordinator):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "fox_shard.runtime.health", health)
    return calls


@pytest.mark.parametrize(
    ("arguments", "call", "code"),
    [
        (["gateway", "1"], ("gateway", 1), 0),
        (["shard", "0"], ("shard", 0), 0),
        (["coordinator"], ("coordinator", None), 0),
        (["health"], ("health", None), 1),
    ],
)
def test_a_subcommand_starts_its_process_and_returns_its_exit_code(
    arguments, call, code, started, folder
):
    assert main(arguments) == code
    ((name, number, config),) = started
    assert (name, number) == call
    assert config.run_dir == str(folder / "run")


def test_a_gateway_is_attached_to_the_server_of_a_run_directory(started, folder, monkeypatch):
    """The configuration of this folder has nothing to do with it."""
    (folder / "conf" / "fox.toml").write_text("nonsense")
    monkeypatch.setenv("FOX_GATEWAY_MQTT", "127.0.0.1:9")
    assert main(["gateway", "--attach", "there/run"]) == 0
    ((name, run_dir, environ),) = started
    assert (name, run_dir) == ("attached", Path("there/run"))
    assert environ["FOX_GATEWAY_MQTT"] == "127.0.0.1:9"


@pytest.mark.parametrize("arguments", [["gateway"], ["gateway", "1", "--attach", "run"]])
def test_a_gateway_has_a_number_or_is_attached(arguments, started, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "fox: Say which gateway: its number N, or --attach RUN_DIR.\n"
    )
    assert not started


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["shard", "2"], "fox: There is no shard 2: shards is 2, they are numbered 0 to 1.\n"),
        (
            ["gateway", "-1"],
            "fox: There is no gateway -1: gateways is 2, they are numbered 0 to 1.\n",
        ),
        (
            ["gateway", "3"],
            "fox: There is no gateway 3: gateways is 2, they are numbered 0 to 1.\n",
        ),
        (
            ["config", "--config", "none.toml"],
            "fox: Cannot read the configuration file none.toml: No such file or directory.\n",
        ),
    ],
)
def test_a_command_that_cannot_start_is_refused_in_one_sentence(
    arguments, sentence, started, capsys
):
    assert main(arguments) == 2
    assert capsys.readouterr().err == sentence
    assert started == []


@pytest.mark.parametrize(
    ("fox_conf", "environ", "shards"),
    [
        (None, {}, 2),
        ('[supervisord]\nenvironment=FOX_GATEWAYS="4",FOX_SHARDS="8" ; ours\n', {}, 8),
        ('[supervisord]\nenvironment=FOX_SHARDS="8"\n', {"FOX_SHARDS": "3"}, 3),
        ('[supervisord]\nenvironment=FOX_SHARDS="%(ENV_FOX_SHARDS)s"\n', {}, 2),
        ("environment=FOX_SHARDS=8", {}, 2),
        ("[supervisord]\nenvironment=FOX_SHARDS\n", {}, 2),
        ("[supervisord]\nenvironment=A=1, FOX_SHARDS = 8,FOX_GATEWAYS='4'\n", {}, 8),
        ('[supervisord]\nenvironment=A="x,FOX_Y=1",FOX_SHARDS="8"\n', {}, 8),
        ("[other]\nenvironment=FOX_SHARDS=8\n", {}, 2),
    ],
)
def test_counts_come_from_fox_conf_beside_the_file_unless_the_environment_has_them(
    fox_conf, environ, shards, folder, monkeypatch, started
):
    if fox_conf is not None:
        (folder / "conf" / "fox.conf").write_text(fox_conf)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    main(["health"])
    assert started[0][2].shards == shards


def test_the_fox_conf_of_the_folder_counts_if_none_is_beside_the_file(folder, started):
    (folder / "other.toml").touch()
    (folder / "conf" / "fox.conf").write_text('[supervisord]\nenvironment=FOX_SHARDS="8"\n')
    main(["health", "--config", "other.toml"])
    assert started[0][2].shards == 8


@pytest.mark.parametrize("source", ["argument", "variable"])
def test_the_configuration_file_may_be_named_by_argument_or_variable(
    source, folder, monkeypatch, capsys
):
    (folder / "other.toml").write_text('[statsd]\nprefix = "other"')
    if source == "variable":
        monkeypatch.setenv("FOX_CONFIG", "other.toml")
    assert main(["config", *(["--config", "other.toml"] if source == "argument" else [])]) == 0
    assert 'prefix = "other"' in capsys.readouterr().out


def test_both_ways_of_asking_print_the_version(capsys):
    assert main(["version"]) == 0
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    first, second = capsys.readouterr().out.splitlines()
    build = chosen(os.environ)
    assert first == second
    assert first.startswith(f"fox-shard {__version__}, {build.words}")
    assert first.endswith(f"({build.stale})" if build.stale else build.words)


def test_health_does_not_import_large_modules():
    """Docker runs fox health every ten seconds; these imports take most of other commands' time."""
    code = "import sys, fox_shard.cli; fox_shard.cli.main(['health']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "fox_shard.runtime.health" in modules
    assert {"asyncio", "supervisor", "zmq", "uvloop", "logging", "sqlite3"}.isdisjoint(modules)
    of_ours = {name.split(".")[1] for name in modules if name.startswith("fox_shard.")}
    assert of_ours == {
        "backplane",
        "cli",
        "cli_arguments",
        "config",
        "errors",
        "remote",
        "runtime",
        "version",
    }


def test_the_default_file_is_used_if_no_other_is_named(folder, monkeypatch, capsys):
    for name in ("default", "variable", "argument"):
        (folder / f"{name}.toml").write_text(f'[statsd]\nprefix = "{name}"')
    command = ["config", "--default-config", "default.toml"]
    main(command)
    monkeypatch.setenv("FOX_CONFIG", "variable.toml")
    main(command)
    main([*command, "--config", "argument.toml"])
    prefixes = [line for line in capsys.readouterr().out.splitlines() if "prefix" in line]
    assert [line.split('"')[1] for line in prefixes] == ["default", "variable", "argument"]


@pytest.mark.parametrize("command", ["version", "config"])
def test_python_m_fox_shard_is_the_fox_command(command):
    done = subprocess.run(
        [sys.executable, "-m", "fox_shard", command], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith({"version": "fox-shard ", "config": "gateways = 2"}[command])


def test_a_quiet_check_prints_only_the_mistake(folder, capsys):
    assert main(["config", "--quiet"]) == 0
    (folder / "conf" / "fox.toml").write_text("shards = 0")
    assert main(["config", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "fox: conf/fox.toml: shards must be a whole number from 1 to 64, not 0.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "source"),
    [
        ([], {}, "the default of gateway.websocket"),
        (
            ["--config", "a/conf/fox.toml"],
            {},
            "gateway.websocket in a/conf/fox.toml, which --config",
        ),
        (
            [],
            {"FOX_CONFIG": "a/conf/fox.toml"},
            "gateway.websocket in a/conf/fox.toml, which FOX_CONFIG",
        ),
        ([], {"FOX_GATEWAY_WEBSOCKET": "127.0.0.1:2"}, "FOX_GATEWAY_WEBSOCKET"),
        (["--url", "ws://127.0.0.1:1/"], {"FOX_GATEWAY_WEBSOCKET": "127.0.0.1:2"}, "--url"),
    ],
)
def test_a_command_that_finds_no_server_says_where_the_address_comes_from(
    arguments, environ, source, folder, monkeypatch
):
    write(folder / "a/conf/fox.toml", '[gateway]\nwebsocket = "127.0.0.1:1"')
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    asked = []
    commands = ModuleType("fox_shard.remote.commands")
    commands.run = lambda options, config: asked.append(options.source) or 0
    monkeypatch.setitem(sys.modules, "fox_shard.remote.commands", commands)
    monkeypatch.setattr(fox_shard.remote, "commands", commands, raising=False)
    assert main(["get", "a.b", *arguments]) == 0
    assert asked[0].startswith(source)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://127.0.0.1:8088", " Did you mean ws://127.0.0.1:8088/ws?"),
        ("https://example.com/fox/", " Did you mean wss://example.com/fox/ws?"),
        ("127.0.0.1:8080", ""),
        ("mqtt://127.0.0.1", ""),
        ("ws://a:99999/ws", ""),
    ],
)
def test_an_address_that_is_none_is_a_mistake(url, hint, capsys, monkeypatch):
    assert main(["pub", "a.b", "1", "--url", url]) == 2
    sentence = f"fox: {url!r} is not the address of a WebSocket (ws://…, wss://… or unix:/path)."
    assert capsys.readouterr().err == f"{sentence}{hint} The address comes from --url.\n"
    monkeypatch.setenv("FOX_URL", url)
    assert main(["pub", "a.b", "1"]) == 2
    assert capsys.readouterr().err.endswith(" The address comes from FOX_URL.\n")


def test_help_names_each_command_once_in_groups(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    listed = re.findall(r"^  (\w+)  ", said, re.MULTILINE)
    actions = next(action for action in parser_of(str)._actions if action.dest == "command")
    processes = {"gateway", "shard", "coordinator", "worker", "web"}
    named = {choice.dest for choice in actions._choices_actions}
    assert sorted(listed) == sorted(named - processes)
    assert "\nMessages, at a running server\n" in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_commands_and_their_options(shell, capsys):
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert "register" in said
    assert "when-id" in said


@pytest.mark.parametrize("how", ["--config", "FOX_CONFIG"])
@pytest.mark.parametrize("absolute", [True, False])
def test_relative_paths_are_relative_to_the_directory_above_the_files(
    how, absolute, folder, monkeypatch, capsys
):
    """Not to the working directory, whoever reads the file, and from wherever."""
    file = write(folder / "a/conf/fox.toml", 'data_dir = "here"')
    (folder / "b").mkdir()
    monkeypatch.chdir(folder / "b")
    path = str(file) if absolute else "../a/conf/fox.toml"
    if how == "FOX_CONFIG":
        monkeypatch.setenv("FOX_CONFIG", path)
    monkeypatch.setenv("FOX_RUN_DIR", "there")
    assert main(["config", *(["--config", path] if how == "--config" else [])]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert Path(found["data_dir"]).resolve() == folder / "a" / "here"
    assert Path(found["run_dir"]).resolve() == folder / "a" / "there"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_configuration_and_the_version_are_printed_as_json(folder, capsys):
    (folder / "conf" / "fox.toml").write_text("shards = 3\n")
    assert main(["config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shards"] == 3
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == __version__


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tabels"], "fox: There is no command 'tabels'. Did you mean `fox tables`?"),
        (["zzzz"], "fox: There is no command 'zzzz'."),
        (["--realm", "r", "keys"], "fox: Options stand behind the command: fox COMMAND --realm …"),
        (["put"], "fox put: the following arguments are required: TOPIC"),
        (["tables", "shw"], "fox tables: argument ACTION: invalid choice: 'shw'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_help_is_pointed_to(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(sentence)
    assert second.endswith(" --help` says more.")


def test_without_a_command_the_help_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "Messages, at a running server" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["version"], ["config"], ["completion", "bash"]])
def test_the_reader_of_the_output_may_close_it(command):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fox_shard", *command],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_all_commands_and_their_actions(shell, capsys):
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    for word in ("bench", "top", "tables", "verify", "sessions", "reducers"):
        assert word in said
    assert "--subscribers" in said or shell == "tcsh"  # which completes no options of actions


def test_ctrl_c_at_a_question_is_no_traceback(monkeypatch, capsys):
    from fox_shard.users import commands

    def interrupted(options, config):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupted)
    assert main(["user", "list"]) == 130
