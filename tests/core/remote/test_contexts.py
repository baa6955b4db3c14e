"""`fox context`: what stands in for the options that say which server, and who logs in."""

import argparse
import json

import pytest

from fox_shard.cli import main
from fox_shard.remote.contexts import VARIABLES, ContextError, fill
from fox_shard.remote.server_options import SERVER_OPTIONS


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def options(**given):
    names = dict.fromkeys((*VARIABLES, "context", "config"))
    return argparse.Namespace(**{**names, **given})


def context(*arguments):
    assert main(["context", *arguments]) == 0


def filled(environ, **given):
    found = options(**given)
    source = fill(found, environ)
    return source, found.url, found.realm, found.user


def test_without_contexts_nothing_stands_in(home):
    assert filled(home) == ("", None, None, None)
    assert filled(home, url="ws://a/") == ("--url", "ws://a/", None, None)


def test_the_first_context_is_in_use_and_options_and_variables_come_first(home):
    context("set", "here", "--url", "ws://here/", "--realm", "r", "--user", "ann")
    context("set", "there", "--url", "ws://there/")
    assert filled(home) == ("the context here", "ws://here/", "r", "ann")
    assert filled(home, url="ws://a/", realm="x") == ("--url", "ws://a/", "x", "ann")
    variables = {**home, "FOX_URL": "ws://b/", "FOX_USER": "bob"}
    assert filled(variables) == ("FOX_URL", "ws://b/", "r", "bob")
    assert filled(home, context="there") == ("the context there", "ws://there/", None, None)
    named = {**home, "FOX_CONTEXT": "there"}
    assert filled(named) == ("the context there", "ws://there/", None, None)


def test_whoever_names_a_configuration_does_not_mean_the_context(home):
    context("set", "here", "--url", "ws://here/")
    assert filled(home, config="conf/fox.toml") == ("", None, None, None)
    assert filled({**home, "FOX_CONFIG": "conf/fox.toml"}) == ("", None, None, None)
    assert filled(home, config="conf/fox.toml", context="here")[1] == "ws://here/"


def test_contexts_are_listed_used_and_forgotten(home, capsys):
    context("set", "here", "--url", "ws://here/", "--user", "ann")
    context("set", "there", "--url", "ws://there/")
    context("use", "there")
    context("ls")
    listed = "  here url=ws://here/ user=ann\n* there url=ws://there/\n"
    assert capsys.readouterr().out == listed
    context("--json")
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert listed[1] == {"name": "there", "current": True, "url": "ws://there/"}
    context("use", "-")
    assert filled(home)[1] is None
    context("use", "here")
    context("rm", "here")
    context("ls")
    assert capsys.readouterr().out == "  there url=ws://there/\n"


def test_a_context_says_how_to_log_in(home):
    context("set", "here", "--auth", "scram", "--token-file", "token.jwt")
    found = options()
    fill(found, {**home, "FOX_AUTH": "ticket"})
    assert (found.auth, found.token_file) == ("ticket", "token.jwt")


@pytest.mark.parametrize("action", ["use", "rm"])
def test_a_context_that_there_is_not_is_refused_and_the_others_are_named(action, capsys):
    context("set", "here", "--url", "ws://here/")
    assert main(["context", action, "hree"]) == 2
    assert capsys.readouterr().err == "fox: There is no context hree; there are: here.\n"


def test_a_damaged_file_is_named(tmp_path, home):
    (tmp_path / "fox-shard").mkdir()
    (tmp_path / "fox-shard" / "contexts.json").write_text('{"contexts": 1}')
    with pytest.raises(ContextError, match=r"contexts\.json cannot be read: .*contexts"):
        fill(options(), home)


def test_what_a_context_has_beside_the_options_is_a_mistake(tmp_path, home):
    (tmp_path / "fox-shard").mkdir()
    text = '{"current": "here", "contexts": {"here": {"command": "lock"}}}'
    (tmp_path / "fox-shard" / "contexts.json").write_text(text)
    with pytest.raises(ContextError, match="command of here is no option"):
        fill(options(), home)


def test_whatever_says_where_a_server_is_may_be_option_variable_and_context(home):
    said = {one: f"{one.name}-of-it" for one in SERVER_OPTIONS if one.choices is None}
    by_variables = options()
    fill(by_variables, {**home, **{one.variable: text for one, text in said.items()}})
    context("set", "here", *(f"--{one.name}={text}" for one, text in said.items()))
    by_context = options()
    fill(by_context, home)
    for one, text in said.items():
        assert (getattr(by_variables, one.field), getattr(by_context, one.field)) == (text, text)
