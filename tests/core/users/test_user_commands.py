"""The `fox user` command."""

import io
import json

import pytest

from fox_shard.cli import main
from fox_shard.users import file, keyed
from fox_shard.users.passwords import matches

KEY = "ab" * 32


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FOX_CONFIG", raising=False)
    monkeypatch.delenv("FOX_USERS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "fox.toml").touch()
    return tmp_path


@pytest.fixture
def path(folder):
    return folder / "conf" / "users.toml"


def add(monkeypatch, *arguments, line="s3cret\n"):
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    return main(["user", "add", *arguments])


PETER = ("peter", "--realm", "realm1", "--role", "dev")


def test_a_password_is_one_line_of_standard_input(monkeypatch, path):
    assert add(monkeypatch, *PETER) == 0
    (user,) = file.read(path).all
    assert (user.name, user.realm, user.role) == ("peter", "realm1", "dev")
    assert matches(user.password, "s3cret")
    assert (user.scram.kdf, user.wampcra) == ("argon2id13", None)


def test_a_password_is_asked_for_twice_at_a_terminal(monkeypatch, path, capsys):
    typed = ["s3cret", "s3cret", "one", "other"]
    monkeypatch.setattr("getpass.getpass", lambda prompt: typed.pop(0))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert main(["user", "add", *PETER]) == 0
    assert main(["user", "add", "paul", *PETER[1:]]) == 2
    assert capsys.readouterr().err == "fox: the two passwords differ; nothing was changed.\n"
    assert [user.name for user in file.read(path).all] == ["peter"]


def test_wampcra_and_pbkdf2_are_asked_for(monkeypatch, path):
    assert add(monkeypatch, *PETER, "--wampcra", "--scram", "pbkdf2") == 0
    (user,) = file.read(path).all
    assert (user.scram.kdf, user.wampcra.keylen) == ("pbkdf2", 32)


@pytest.mark.cites("advanced.authentication_scram.3")
def test_each_user_has_salts_of_its_own(monkeypatch, path):
    """WAMP #wamp-scram: generated randomly for each user."""
    for name in ("peter", "paul"):
        assert add(monkeypatch, name, *PETER[1:], "--wampcra", "--scram", "pbkdf2") == 0
    users = file.read(path).all
    assert len({one.scram.salt for one in users}) == len({one.wampcra.salt for one in users}) == 2


def test_the_help_says_that_the_key_of_wampcra_is_as_good_as_the_password(capsys):
    with pytest.raises(SystemExit):
        main(["user", "add", "--help"])
    assert "as good as the password" in " ".join(capsys.readouterr().out.split())


def test_fox_users_moves_the_file(monkeypatch, path, folder):
    monkeypatch.setenv("FOX_USERS", str(folder / "elsewhere.toml"))
    assert add(monkeypatch, *PETER) == 0
    assert not path.exists()
    assert len(file.read(folder / "elsewhere.toml").all) == 1


def test_keys_are_added_to_users_or_make_new_ones(monkeypatch, path, capsys):
    add(monkeypatch, *PETER)
    assert main(["user", "key", "peter", "--pubkey", KEY.upper()]) == 0
    new = ["--realm", "realm1", "--role", "machine", "--pubkey", "cd" * 32]
    assert main(["user", "key", "bot", *new]) == 0
    peter, bot = file.read(path).all
    assert (peter.pubkeys, bot.pubkeys) == ((KEY,), ("cd" * 32,))
    assert (peter.role, bot.role, bot.password) == ("dev", "machine", None)
    assert main(["user", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME   REALM   ROLE     PROVES IT BY",
        "peter  realm1  dev      ticket, MQTT password, scram (argon2id13), cryptosign (1)",
        "bot    realm1  machine  cryptosign (1)",
    ]


def test_a_key_is_taken_away_and_the_rest_of_the_user_stays(monkeypatch, path, capsys):
    """As when a device was stolen."""
    add(monkeypatch, *PETER)
    for pubkey in (KEY, "cd" * 32):
        assert main(["user", "key", "peter", "--pubkey", pubkey]) == 0
    assert main(["user", "key", "peter", "--pubkey", KEY.upper(), "--remove"]) == 0
    (peter,) = file.read(path).all
    assert peter.pubkeys == ("cd" * 32,)
    assert matches(peter.password, "s3cret")
    assert main(["user", "key", "peter", "--pubkey", KEY, "--remove"]) == 2
    assert capsys.readouterr().err == 'fox: the user "peter" does not have this public key.\n'


def test_a_removed_user_is_gone_and_the_file_stays(monkeypatch, path):
    add(monkeypatch, *PETER)
    assert main(["user", "remove", "peter"]) == 0
    assert file.read(path).all == ()


def test_without_a_file_the_list_says_so(capsys):
    assert main(["user", "list"]) == 0
    assert capsys.readouterr().out.endswith("users.toml: all clients are anonymous.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["add", "paul", "--realm", "no", "--role", "x"],
            'there is no realm "no"; there are realm1.',
        ),
        (["add", *PETER], 'realm1 has a user "peter" already'),
        (["add", "a\nb", "--realm", "realm1", "--role", "x"], "name: a name has"),
        (["add", "fox.worker", "--realm", "realm1", "--role", "x"], 'begins neither with "fox."'),
        (["add", "paul", "--realm", "realm1", "--role", " x"], "role: a name has"),
        (["remove", "paul"], 'there is no user "paul".'),
        (["key", "paul", "--pubkey", KEY], 'there is no user "paul".'),
        (["key", "peter", "--pubkey", "xy"], "64 hexadecimal digits"),
        (["key", "paul", "--role", "x", "--pubkey", KEY], "say its --realm"),
        (["key", "paul", "--pubkey", KEY, "--remove"], 'there is no user "paul".'),
        (
            ["key", "bot", "--realm", "realm1", "--role", "x", "--pubkey", KEY, "--remove"],
            "--role is of a new user",
        ),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_changes_nothing(
    monkeypatch, path, capsys, arguments, says
):
    add(monkeypatch, *PETER)
    before = path.read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    assert main(["user", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fox: ")
    assert says in error
    assert error.count("\n") == 1
    assert "regex" not in error
    assert path.read_bytes() == before


def test_a_realm_that_is_made_on_demand_may_have_users(monkeypatch, folder, path, capsys):
    (folder / "conf" / "fox.toml").write_text("[auth]\nrealms_on_demand = 2\n")
    assert add(monkeypatch, "paul", "--realm", "com.shop", "--role", "dev") == 0
    new = ["--realm", "com.shop", "--role", "dev", "--pubkey", KEY]
    assert main(["user", "key", "bot", *new]) == 0
    assert [user.realm for user in file.read(path).all] == ["com.shop"] * 2
    assert capsys.readouterr().err == ""
    assert add(monkeypatch, "paul", "--realm", "wamp.shop", "--role", "dev") == 2
    assert 'there is no realm "wamp.shop"' in capsys.readouterr().err


ROLES = '[[realm]]\nname="realm1"\n[[realm.role]]\nname="dev"\n'


@pytest.mark.parametrize(
    ("roles", "role", "warns"),
    [
        (ROLES, "devv", 'fox: realm1 has no role "devv", so this user may do nothing there yet.\n'),
        (ROLES, "dev", ""),
        # Without roles, everybody may do everything.
        ("", "devv", ""),
    ],
)
def test_a_role_that_is_not_configured_is_told(monkeypatch, folder, capsys, roles, role, warns):
    (folder / "conf" / "fox.toml").write_text(roles)
    assert add(monkeypatch, "paul", "--realm", "realm1", "--role", role) == 0
    assert capsys.readouterr().err == warns
    new = ["--realm", "realm1", "--role", role, "--pubkey", KEY]
    assert main(["user", "key", "bot", *new]) == 0
    assert capsys.readouterr().err == warns


@pytest.mark.parametrize("line", ["", "\n", "x" * 1025 + "\n"])
def test_a_password_has_a_length(monkeypatch, path, line, capsys):
    assert add(monkeypatch, *PETER, line=line) == 2
    assert "1 to 1024 characters" in capsys.readouterr().err
    assert not path.exists()


def test_a_name_in_two_realms_needs_the_realm(monkeypatch, folder, path, capsys):
    (folder / "conf" / "fox.toml").write_text('[[realm]]\nname="realm1"\n[[realm]]\nname="b"\n')
    add(monkeypatch, *PETER)
    add(monkeypatch, "peter", "--realm", "b", "--role", "dev")
    assert main(["user", "remove", "peter"]) == 2
    assert "say --realm, one of realm1, b." in capsys.readouterr().err
    assert main(["user", "remove", "peter", "--realm", "b"]) == 0
    assert [user.realm for user in file.read(path).all] == ["realm1"]


def test_a_file_that_others_may_read_is_told(monkeypatch, path, capsys):
    add(monkeypatch, *PETER)
    path.chmod(0o644)
    assert main(["user", "list"]) == 1
    assert "chmod 600" in capsys.readouterr().err


def test_the_document_of_a_user_in_a_key_is_printed_and_not_added(monkeypatch, path, capsys):
    assert add(monkeypatch, *PETER, "--print") == 0
    document = json.loads(capsys.readouterr().out)
    assert {*document} == {"role", "password", "scram"}
    assert keyed.user_of("realm1", "peter", document).scram is not None
    assert not path.exists()


def test_a_new_password_leaves_role_keys_and_kinds_of_verifiers(monkeypatch, path):
    add(monkeypatch, *PETER, "--wampcra", "--scram", "pbkdf2")
    main(["user", "key", "peter", "--pubkey", KEY])
    (before,) = file.read(path).all
    monkeypatch.setattr("sys.stdin", io.StringIO("other\n"))
    assert main(["user", "password", "peter"]) == 0
    (after,) = file.read(path).all
    assert matches(after.password, "other")
    assert not matches(after.password, "s3cret")
    assert (after.role, after.pubkeys, after.scram.kdf) == ("dev", (KEY,), "pbkdf2")
    assert after.scram.stored_key != before.scram.stored_key
    assert after.wampcra.key != before.wampcra.key


def test_a_password_of_nobody_is_not_asked_for(monkeypatch, path, capsys):
    add(monkeypatch, *PETER)
    monkeypatch.setattr("sys.stdin", None)
    assert main(["user", "password", "paul"]) == 2
    assert 'there is no user "paul"' in capsys.readouterr().err
