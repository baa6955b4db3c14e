"""Authenticators, as functions and as procedures, with real clients at both gateways."""

import asyncio

import pytest
from autobahn.wamp.auth import AuthAnonymous, AuthCryptoSign, AuthWampCra
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import RegisterOptions
from cluster import Cluster, await_true, write_config
from mqtt_peers import Refused
from user_file import FAILED, PASSWORD, PRIVATE_KEY, PUBLIC_KEY, UserFile, ticket

TICKET = "open sesame"
METHODS = '["ticket", "wampcra", "cryptosign", "anonymous"]'
CONFIG = f"""
[auth]
max_failures = 1000
authenticator_timeout = 5.0
[[realm]]
name = "realm1"
authenticator = "com.example.authenticate"
authenticator_realm = "staff"
authenticator_methods = {METHODS}
[[realm]]
name = "functions"
authenticator = "logins:authenticate"
authenticator_methods = {METHODS}
[[realm]]
name = "async"
authenticator = "logins:authenticate_later"
[[realm]]
name = "staff"
"""
FUNCTIONS = f'''
"""Authenticators."""

import asyncio


def authenticate(realm, authid, details):
    """Say who the client is."""
    method = details["authmethod"]
    if method == "anonymous":
        return {{"role": "visitor", "extra": {{"realm": realm}}}}
    if authid != "paul":
        raise LookupError(f"there is nobody called {{authid}}")
    if method == "wampcra":
        return {{"role": "guest", "secret": "{PASSWORD}"}}
    if method == "cryptosign":
        return {{"role": "guest", "pubkey": "{PUBLIC_KEY}"}}
    return "guest" if details["ticket"] == "{TICKET}" else None


async def authenticate_later(realm, authid, details):
    """Say the same, or never anything."""
    await asyncio.sleep(600 if authid == "slow" else 0)
    return authenticate(realm, authid, details)
'''


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asking")
    config = write_config(folder, CONFIG, logins=FUNCTIONS)
    users = UserFile(folder, config)
    users.add("guard", "staff", realm="staff")
    with Cluster(config=config, FOX_USERS=str(users.path)) as cluster:
        yield cluster


async def guard(wamp, authenticate):
    """Register the authenticator, as a session that logs in by the file.

    The one of the test before, at another gateway, may not have gone yet.
    """
    session = await wamp.join(realm="staff", authenticator=ticket(name="guard"))
    assert session.details.authprovider == "static"
    options = RegisterOptions(details_arg="call", force_reregister=True)
    await session.register(authenticate, "com.example.authenticate", options)
    return session


def crossbar_style(realm, authid, details, call=None):
    """Answer as the authenticators of Crossbar's documentation do."""
    assert (call.caller_authid, call.caller_authrole) == ("fox.gateway", "fox.gateway")
    scope = {}
    exec(FUNCTIONS, scope)
    try:
        answer = scope["authenticate"](realm, authid, details)
    except LookupError as error:
        raise ApplicationError("com.example.no_such_user", str(error)) from None
    if answer is None:
        raise ApplicationError("com.example.invalid_ticket", "the ticket is wrong")
    return answer


RIGHT = {
    "ticket": lambda: ticket(TICKET, "paul"),
    "wampcra": lambda: AuthWampCra(authid="paul", secret=PASSWORD),
    "cryptosign": lambda: AuthCryptoSign(authid="paul", privkey=PRIVATE_KEY),
}
WRONG = [
    lambda: ticket("wrong", "paul"),
    lambda: ticket(TICKET),
    lambda: ticket(TICKET, "fox.worker"),
    lambda: AuthWampCra(authid="paul", secret="wrong"),
    lambda: AuthWampCra(authid="peter", secret=PASSWORD),
    lambda: AuthCryptoSign(authid="paul", privkey="11" * 32),
    lambda: AuthCryptoSign(authid="peter", privkey=PRIVATE_KEY),
]


@pytest.mark.parametrize("gateway", [0, 1])
@pytest.mark.parametrize("realm", ["functions", "realm1"])
async def test_autobahn_logs_in_by_each_method(wamp, realm, gateway):
    if realm == "realm1":
        await guard(wamp, crossbar_style)
    for method, login in RIGHT.items():
        session = await wamp.join(realm=realm, authenticator=login(), gateway=gateway)
        details = session.details
        assert (details.authid, details.authrole, details.realm) == ("paul", "guest", realm)
        assert (details.authmethod, details.authprovider) == (method, "dynamic")
    visitor = await wamp.join(realm=realm, authenticator=AuthAnonymous(), gateway=gateway)
    assert (visitor.details.authrole, visitor.details.authprovider) == ("visitor", "dynamic")
    assert visitor.details.authextra == {"realm": realm}


@pytest.mark.parametrize("realm", ["functions", "realm1"])
async def test_others_are_refused_with_the_same_words(wamp, realm):
    if realm == "realm1":
        await guard(wamp, crossbar_style)
    for login in WRONG:
        with pytest.raises(ConnectionError) as caught:
            await wamp.join(realm=realm, authenticator=login())
        assert str(caught.value) == f"{FAILED}: the authentication failed"


async def test_without_the_procedure_nobody_gets_in(wamp):
    with pytest.raises(ConnectionError, match=f"{FAILED}: the authentication failed"):
        await wamp.join(realm="realm1", authenticator=RIGHT["ticket"]())


async def test_a_callee_that_leaves_with_the_question_lets_nobody_in(wamp):
    asked = asyncio.get_running_loop().create_future()

    async def never(realm, authid, details, call=None):
        asked.set_result(authid)
        await asyncio.get_running_loop().create_future()

    session = await guard(wamp, never)
    joining = asyncio.ensure_future(
        wamp.join(realm="realm1", authenticator=RIGHT["ticket"](), gateway=1)
    )
    assert await asked == "paul"
    session.disconnect()
    with pytest.raises(ConnectionError, match=f"{FAILED}: the authentication failed"):
        await joining
    await session.closed


async def test_an_async_function_answers_or_is_canceled(wamp):
    session = await wamp.join(realm="async", authenticator=RIGHT["ticket"]())
    assert session.details.authrole == "guest"
    with pytest.raises(ConnectionError, match=f"{FAILED}: the authentication failed"):
        await wamp.join(realm="async", authenticator=ticket(TICKET, "slow"))


@pytest.mark.parametrize("gateway", [0, 1])
async def test_paho_logs_in_by_a_ticket(wamp, mqtt, gateway):
    mqtt.connect(user="paul@functions", password=TICKET, gateway=gateway)
    await guard(wamp, crossbar_style)
    loop = asyncio.get_running_loop()
    for user, password, welcome in (
        ("paul@realm1", TICKET, True),
        ("paul@realm1", "wrong", False),
        ("peter@functions", TICKET, False),
    ):

        def connect(user=user, password=password):
            return mqtt.connect(user=user, password=password, gateway=gateway)

        if welcome:
            await loop.run_in_executor(None, connect)
        else:
            with pytest.raises(Refused) as caught:
                await loop.run_in_executor(None, connect)
            assert caught.value.args[0] != 0


async def test_the_log_says_why_and_tells_no_ticket(wamp, cluster):
    with pytest.raises(ConnectionError):
        await wamp.join(realm="functions", authenticator=ticket("tell nobody"))
    # All lines of this module: the gateways leave out some of many at once.
    await asyncio.to_thread(
        await_true,
        "the log says why",
        lambda: "LookupError: there is nobody called peter" in cluster.log(),
    )
    log = cluster.log()
    assert not any(secret in log for secret in ("tell nobody", TICKET, PASSWORD))
