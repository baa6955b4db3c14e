"""The client for programs proves who it is, by each method, to users of several kinds."""

import pytest
from served import Served
from user_file import PASSWORD, PRIVATE_KEY, PUBLIC_KEY, UserFile

from fox_shard.client import Unreachable, connect
from fox_shard.client.login import Key, Ticket
from fox_shard.client.password import Password

PLAIN = f"""[[user]]
name = "plain"
realm = "realm1"
role = "dev"
[user.wampcra]
key = "{PASSWORD}"
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    file = UserFile(tmp_path_factory.mktemp("users"))
    file.add("peter", "dev", "--wampcra")
    file.add("pat", "dev", "--scram", "pbkdf2")
    file.fox("key", "bot", "--realm", "realm1", "--role", "machine", "--pubkey", PUBLIC_KEY)
    with file.path.open("a") as text:
        text.write(PLAIN)
    served = Served(FOX_USERS=str(file.path))
    yield f"ws://127.0.0.1:{served.websocket}/ws"
    served.end()


@pytest.mark.parametrize(
    ("name", "method", "login"),
    [
        ("peter", "wamp-scram", {"user": "peter", "password": PASSWORD}),
        ("pat", "wamp-scram", {"user": "pat", "password": PASSWORD}),
        ("plain", "wampcra", {"user": "plain", "password": PASSWORD}),
        ("peter", "scram", {"login": Password("peter", PASSWORD, ["scram"])}),
        ("pat", "scram", {"login": Password("pat", PASSWORD, ["scram"])}),
        ("peter", "wampcra", {"login": Password("peter", PASSWORD, ["wampcra"])}),
        ("peter", "ticket", {"login": Ticket("peter", PASSWORD)}),
        ("bot", "cryptosign", {"login": Key("bot", bytes.fromhex(PRIVATE_KEY))}),
    ],
)
async def test_the_client_for_programs_logs_in(url, name, method, login):
    async with connect(url, "realm1", **login) as realm:
        assert (realm.details["authid"], realm.details["authmethod"]) == (name, method)


@pytest.mark.parametrize("methods", [["wamp-scram"], ["scram"], ["wampcra"], ["ticket"]])
async def test_the_client_for_programs_is_told_that_a_password_is_wrong(url, methods):
    wrong = Password("peter", "wrong", methods)
    with pytest.raises(Unreachable, match="does not let us into 'realm1'"):
        async with connect(url, "realm1", login=wrong):
            pass
