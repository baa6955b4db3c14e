"""The file with the users: what it may contain, its mode, and writing it."""

import os
import re

import pytest

from fox_shard.users import file
from fox_shard.users.file import UsersFileError
from fox_shard.users.passwords import user_with_password
from fox_shard.users.user import DuplicateUser, User, Users

SALTS = (b"0123456789abcdef", b"fedcba9876543210", "0a1b2c3d")
KEY = "ab" * 32
PETER = user_with_password("peter", "realm1", "dev", "s3cret", SALTS, wampcra=True)
BOT = User(name="bot@example.com", realm="realm2", role='a "role"', pubkeys=(KEY,))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "users.toml"


def written(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_is_written_is_read_again(path):
    file.change(path, lambda users: (*users, PETER))
    file.change(path, lambda users: (*users, BOT))
    users = file.read(path)
    assert users.all == (PETER, BOT)
    assert users.find("realm1", "peter") == PETER
    assert users.find("realm2", "peter") is None
    assert users.find_by_key("realm2", KEY) == BOT
    assert users.find_by_key("realm1", KEY) is None


def test_only_the_owner_may_read_what_is_written_and_no_password_is_in_it(path):
    file.change(path, lambda users: (PETER,))
    assert path.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in path.read_text()
    assert [one.name for one in path.parent.iterdir()] == ["users.toml"]


def test_what_root_writes_belongs_to_the_servers_user(path, monkeypatch):
    """`sudo fox user add`: the server, which is not root, must still be able to read it."""
    given = []
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.fchown", lambda file, user, group: given.append((user, group)))
    stat = type(path).stat

    def owned(self, **how):
        status = stat(self, **how)
        owner = {path: (1234, 12), path.parent: (999, 9)}.get(self)
        return os.stat_result((*status[:4], *owner, *status[6:])) if owner else status

    monkeypatch.setattr(type(path), "stat", owned)
    # The first user: the file belongs to whoever the folder belongs to.
    file.change(path, lambda users: (PETER,))
    file.change(path, lambda users: (*users, BOT))
    assert given == [(999, 9), (1234, 12)]


def test_others_keep_what_they_write(path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.fchown", lambda *_: pytest.fail("only root may give files away"))
    file.change(path, lambda users: (PETER,))
    assert file.read(path).all == (PETER,)


def test_there_are_no_users_without_a_file(path):
    assert file.read(path) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_may_read_is_refused(path, mode):
    with pytest.raises(UsersFileError, match=rf"0{mode:o}.*chmod 600"):
        file.read(written(path, "", mode))


USER = '[[user]]\nname = "a"\nrealm = "r"\nrole = "x"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "is not valid TOML"),
        ("users = 1", "unknown field `users`"),
        (USER.replace('"x"', "5"), r"user\[0\].role: Expected `str`, got `int`"),
        (USER + USER.replace('"a"', '""'), r"user\[1\].name: "),
        (USER + "colour = 1", r"user\[0\]: .*unknown field `colour`"),
        (USER.replace("role", "# role"), r"user\[0\]: .*missing required field `role`"),
        (USER + 'password = "s3cret"', r"user\[0\].password: "),
        (USER + 'pubkeys = ["xy"]', r"user\[0\].pubkeys\[\.*\]: |user\[0\].pubkeys\[0\]: "),
        (USER + '[user.scram]\nkdf = "md5"', r"user\[0\].scram.kdf: Invalid enum value 'md5'"),
        (USER + USER, 'there are two users "a" in r'),
        (
            USER + f'pubkeys = ["{KEY}"]\n' + USER.replace('"a"', '"b"') + f'pubkeys = ["{KEY}"]',
            f"two users in r have the public key {KEY}",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(path, text, says):
    with pytest.raises(UsersFileError, match=re.escape(str(path)) + ".*" + says):
        file.read(written(path, text))


def test_a_change_that_fails_leaves_the_file_as_it_was(path):
    file.change(path, lambda users: (PETER,))
    before = path.read_bytes()
    with pytest.raises(UsersFileError, match="two users"):
        file.change(path, lambda users: (*users, PETER))
    with pytest.raises(ZeroDivisionError):
        file.change(path, lambda users: 1 / 0)
    assert path.read_bytes() == before


def test_a_mistake_is_not_overwritten(path):
    written(path, USER.replace('"x"', "5"))
    with pytest.raises(UsersFileError, match="role"):
        file.change(path, lambda users: ())
    assert "[[user]]" in path.read_text()


def test_a_folder_that_does_not_exist_is_made(tmp_path):
    file.change(tmp_path / "no" / "users.toml", lambda users: (PETER,))
    assert file.read(tmp_path / "no" / "users.toml").all == (PETER,)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "no").touch()
    with pytest.raises(UsersFileError, match=r"Cannot write the users to .*: "):
        file.change(tmp_path / "no" / "users.toml", lambda users: (PETER,))


def test_a_key_belongs_to_one_user_of_a_realm():
    with pytest.raises(DuplicateUser):
        Users([BOT, User(name="other", realm="realm2", role="r", pubkeys=(KEY,))])
    Users([BOT, User(name="other", realm="realm1", role="r", pubkeys=(KEY,))])


def test_the_verifier_of_nobody_is_as_expensive_as_those_of_users():
    cheap = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$" + "B" * 43
    users = Users([User(name="a", realm="r", role="x", password=cheap)])
    assert users.dummy.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert users.dummy != cheap
