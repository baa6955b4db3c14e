"""Users: made by `fox user`, and proving who they are with real clients, at both gateways."""

import asyncio
import subprocess
import sys
from contextlib import closing

import pytest
from autobahn.wamp.auth import AuthCryptoSign, AuthScram, AuthWampCra
from autobahn.wamp.types import RegisterOptions
from cluster import ROOT, Cluster, await_true, write_config
from mqtt_peers import Refused
from raw_wamp import CALL, PUBLISH, PUBLISHED, RESULT, RawWamp
from user_file import FAILED, PASSWORD, PRIVATE_KEY, PUBLIC_KEY, UserFile, ticket
from wamp_peers import KINDS


@pytest.fixture(scope="module")
def user_file(tmp_path_factory):
    file = UserFile(tmp_path_factory.mktemp("users"))
    file.add("peter", "dev", "--wampcra")
    file.add("mary@example.com", "ops")
    file.fox("key", "bot", "--realm", "realm1", "--role", "machine", "--pubkey", PUBLIC_KEY)
    return file


@pytest.fixture(scope="module")
def cluster(user_file):
    with Cluster(FOX_USERS=str(user_file.path)) as cluster:
        yield cluster


METHODS = {
    "ticket": ticket,
    "wampcra": lambda: AuthWampCra(authid="peter", secret=PASSWORD),
    "scram": lambda: AuthScram(authid="peter", password=PASSWORD),
    "cryptosign": lambda: AuthCryptoSign(authid="bot", privkey=PRIVATE_KEY),
}


@pytest.mark.parametrize("gateway", [0, 1])
@pytest.mark.parametrize("method", METHODS)
async def test_autobahn_logs_in_by_each_method(wamp, method, gateway):
    session = await wamp.join(authenticator=METHODS[method](), gateway=gateway)
    details = session.details
    name, role = ("bot", "machine") if method == "cryptosign" else ("peter", "dev")
    assert (details.authid, details.authrole) == (name, role)
    assert (details.authmethod, details.authprovider) == (method, "static")


@pytest.mark.parametrize(("transport", "serializer"), KINDS)
async def test_every_transport_and_serializer_carries_a_challenge(wamp, transport, serializer):
    session = await wamp.join(transport, serializer, authenticator=METHODS["scram"]())
    assert session.details.authid == "peter"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ticket("wrong"),
        lambda: ticket(name="paul"),
        lambda: AuthWampCra(authid="peter", secret="wrong"),
        lambda: AuthWampCra(authid="mary@example.com", secret=PASSWORD),
        lambda: AuthScram(authid="peter", password="wrong"),
        lambda: AuthScram(authid="paul", password=PASSWORD),
        lambda: AuthCryptoSign(authid="peter", privkey=PRIVATE_KEY),
        lambda: AuthCryptoSign(authid="bot", privkey="11" * 32),
    ],
)
async def test_who_proves_nothing_is_told_nothing_else(wamp, wrong):
    with pytest.raises(ConnectionError, match=f"{FAILED}: the authentication failed$"):
        await wamp.join(authenticator=wrong())


async def test_anonymous_clients_are_refused(wamp, mqtt):
    with pytest.raises(ConnectionError, match="no_matching_auth_method"):
        await wamp.join()
    with pytest.raises(Refused, match="Not authorized"):
        await asyncio.to_thread(mqtt.connect, "anonymous-device")


@pytest.mark.parametrize(
    ("user", "name", "role"),
    [
        ("peter", "peter", "dev"),
        ("peter@realm1", "peter", "dev"),
        ("mary@example.com", "mary@example.com", "ops"),
        ("mary@example.com@realm1", "mary@example.com", "ops"),
    ],
)
async def test_paho_logs_in_with_user_and_password(wamp, mqtt, user, name, role):
    watcher = await wamp.join(authenticator=ticket(), gateway=0)
    joins = await watcher.events("wamp.session.on_join")
    device = await asyncio.to_thread(
        mqtt.connect, f"device {user}", user=user, password=PASSWORD, gateway=1
    )
    # Sessions of the test before may be told a moment late.
    while (details := (await joins.get())[0][0])["authid"] != name or (
        details["transport"]["protocol"] != "mqtt.3.1.1"
    ):
        pass
    shown = [details[key] for key in ("authrole", "authmethod", "authprovider")]
    assert shown == [role, "ticket", "static"]
    # Packets right behind CONNECT are handled, too.
    assert await asyncio.to_thread(device.subscribe, "a/b") == [0]


@pytest.mark.parametrize(
    ("user", "password"),
    [("peter", "wrong"), ("peter", None), ("paul", PASSWORD), ("bot", ""), ("peter@no", PASSWORD)],
)
def test_paho_is_refused_with_one_code(mqtt, user, password):
    with pytest.raises(Refused, match="Bad user name or password"):
        mqtt.connect("device", user=user, password=password)


async def test_identities_are_disclosed(cluster, wamp):
    peter = await wamp.join(authenticator=ticket(), gateway=0)

    def whoami(details):
        return [details.caller, details.caller_authid, details.caller_authrole]

    await peter.register(whoami, "users.whoami", RegisterOptions(details_arg="details"))
    events = await peter.events("users.said")

    def speak():
        login = ("mary@example.com", PASSWORD)
        with closing(RawWamp(cluster.rawsocket, login=login)) as mary:
            options = {"disclose_me": True}
            _, _, _, args = mary.ask(CALL, 1, options, "users.whoami", answer=RESULT)
            options["acknowledge"] = True
            mary.ask(PUBLISH, 2, options, "users.said", answer=PUBLISHED)
            return (
                mary.session,
                args,
                mary.ask(CALL, 3, {}, "wamp.session.get", [mary.session], answer=RESULT)[3][0],
            )

    session, args, seen = await asyncio.to_thread(speak)
    assert args == [[session, "mary@example.com", "ops"]]
    _, _, details = await events.get()
    assert (details.publisher_authid, details.publisher_authrole) == ("mary@example.com", "ops")
    shown = [seen[key] for key in ("authid", "authrole", "authmethod", "authprovider")]
    assert shown == ["mary@example.com", "ops", "ticket", "static"]


async def test_a_new_user_may_come_and_the_sessions_of_a_removed_one_end(
    cluster, user_file, wamp, mqtt
):
    before = cluster.sizes()
    await asyncio.to_thread(user_file.add, "guest", "guest")
    await asyncio.to_thread(
        await_true,
        "both gateways have read the file",
        lambda: cluster.all_gateways_said(" users_read ", before),
    )
    guests = [await wamp.join(authenticator=ticket(name="guest"), gateway=n) for n in (0, 1)]
    device = await asyncio.to_thread(
        mqtt.connect, "guest's device", user="guest", password=PASSWORD
    )
    stays = await wamp.join(authenticator=ticket())
    await asyncio.to_thread(user_file.fox, "remove", "guest")
    for guest in guests:
        details = await guest.left
        assert details.reason == "fox.close.user_removed"
        assert details.message == "the user was removed, or has got another role"
    assert await asyncio.to_thread(device.lost.wait, 20)
    assert stays.is_attached()
    with pytest.raises(ConnectionError, match=FAILED):
        await wamp.join(authenticator=ticket(name="guest"))
    assert "guest" not in user_file.fox("list")


def test_our_own_commands_log_in(cluster, user_file):
    url = f"ws://127.0.0.1:{cluster.websocket}/ws"

    def run(*arguments, password):
        command = [sys.executable, "-m", "fox_shard", *arguments, "--url", url]
        environ = {"FOX_PASSWORD": password, "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False
        )

    put = run("put", "users.key", "7", "--user", "peter", password=PASSWORD)
    assert put.returncode == 0, put.stderr
    got = run("get", "users.key", "--user", "peter", password=PASSWORD)
    assert (got.returncode, got.stdout) == (0, "7\n")
    for method in ("scram", "wampcra", "ticket"):
        got = run("get", "users.key", "--user", "peter", "--auth", method, password=PASSWORD)
        assert (got.returncode, got.stdout) == (0, "7\n")
    wrong = run("get", "users.key", "--user", "peter", password="wrong")
    assert wrong.returncode == 69
    assert "the authentication failed" in wrong.stderr
    assert "not open to anonymous" in run("get", "users.key", password="").stderr


def test_the_worker_is_let_in_although_there_are_users(user_file, tmp_path):
    reducer = 'pattern = "a.#"\nfunction = "folding:first"'
    config = write_config(
        tmp_path,
        f'[[realm]]\nname = "realm1"\n[[realm.reducer]]\n{reducer}\n',
        folding="def first(args, kwargs, details):\n    return args[0]\n",
    )
    with Cluster(config=config, FOX_USERS=str(user_file.path)) as cluster:
        cluster.start("worker")
        await_true("the worker is well", lambda: cluster.health("worker").get("status") == "ok")
        with closing(RawWamp(cluster.rawsocket, login=("peter", PASSWORD))) as peter:

            def others():
                (sessions,) = peter.do(CALL, {}, "wamp.session.list", answer=RESULT)[3]
                return [one for one in sessions if one != peter.session]

            (worker,) = await_true("the worker's session is listed", others)
            (seen,) = peter.do(CALL, {}, "wamp.session.get", [worker], answer=RESULT)[3]
        shown = [seen[key] for key in ("authid", "authrole", "authmethod")]
        assert shown == ["fox.worker", "worker", "cryptosign"]
        assert (cluster.run_dir / "worker.key").stat().st_mode & 0o777 == 0o600


def test_a_gateway_does_not_start_with_a_file_that_it_cannot_read(tmp_path):
    path = tmp_path / "users.toml"
    path.write_text("[[user]]\nname = 5\n")
    path.chmod(0o600)
    environ = {"FOX_USERS": str(path), "FOX_RUN_DIR": str(tmp_path / "run")}
    run = subprocess.run(
        [sys.executable, "-m", "fox_shard", "gateway", "0", "--config", "conf/fox.toml"],
        cwd=ROOT,
        env={**environ, "FOX_DATA_DIR": str(tmp_path / "data"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert "user[0].name: Expected `str`, got `int`" in run.stderr
