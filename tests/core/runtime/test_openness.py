"""Whether anybody may do everything, and where that is refused."""

import pytest

from fox_shard.config import Address, Auth, Config, Gateway, Jwt, Listener, Realm, Role, UnixPath
from fox_shard.gateway.sockets.listening import ListenError
from fox_shard.runtime.openness import check_openness

OPEN = Gateway(websocket=Address("0.0.0.0", 8080), rawsocket=None)
ROLES = (Role(name="anonymous"),)


def config(tmp_path, *realms, users=False, gateway=OPEN, listeners=(), **auth):
    path = tmp_path / "users.toml"
    if users:
        path.touch()
    return Config(
        users=str(path),
        gateway=gateway,
        listeners=listeners,
        auth=Auth(**auth),
        realms=realms or (Realm(name="r"),),
    )


@pytest.mark.parametrize(
    "gateway",
    [
        Gateway(),
        Gateway(websocket=Address("localhost", 8080)),
        Gateway(websocket=Address("::1", 8080)),
        Gateway(websocket=Address("127.0.0.7", 8080)),
    ],
)
def test_on_this_machine_everything_stays_allowed_and_one_line_says_so(tmp_path, gateway):
    assert check_openness(config(tmp_path, gateway=gateway)) == (
        "Anybody on this machine may do everything in r: there are no users and no roles."
    )


def test_with_an_authenticator_nobody_may_just_do_everything(tmp_path):
    asking = Realm(name="r", authenticator="com.example.authenticate")
    assert check_openness(config(tmp_path, asking, Realm(name="other"))) == ""
    open_ = Realm(name="open", anonymous=True)
    with pytest.raises(ListenError, match=r"in open\. Add users"):
        check_openness(config(tmp_path, asking, open_))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
@pytest.mark.parametrize("listener", ["websocket", "rawsocket", "mqtt"])
def test_a_listener_that_is_open_to_the_network_is_refused(tmp_path, host, listener):
    open_ = config(tmp_path, gateway=Gateway(**{listener: Address(host, 9)}))
    with pytest.raises(ListenError, match=r"Cannot listen at .*:9: anybody .* in r\. Add users"):
        check_openness(open_)


@pytest.mark.parametrize("certificate", ["off", "optional"])
def test_further_listeners_count(tmp_path, certificate):
    one = Listener(protocol="mqtt", address=Address("0.0.0.0", 9), client_certificate=certificate)
    with pytest.raises(ListenError, match=r"at 0\.0\.0\.0:9: anybody"):
        check_openness(config(tmp_path, gateway=Gateway(), listeners=(one,)))


@pytest.mark.parametrize(
    "one",
    [
        Listener(protocol="mqtt", address=UnixPath("/run/mqtt")),
        Listener(protocol="mqtt", address=Address("127.0.0.1", 9)),
        Listener(protocol="mqtt", address=Address("::", 9), client_certificate="required"),
    ],
)
def test_further_listeners_are_for_this_machine_or_for_those_with_a_certificate(tmp_path, one):
    assert check_openness(config(tmp_path, gateway=Gateway(), listeners=(one,)))


def test_unless_it_is_meant(tmp_path):
    assert check_openness(config(tmp_path, open=True)) == (
        "Anybody who reaches 0.0.0.0:8080 may do everything in r: auth.open says that this is "
        "meant."
    )


def test_users_or_roles_are_enough(tmp_path):
    assert check_openness(config(tmp_path, Realm(name="r", role=ROLES))) == ""
    assert check_openness(config(tmp_path, users=True)) == ""


def test_realms_on_demand_count_unless_there_are_users(tmp_path):
    realm = Realm(name="r", role=ROLES)
    with pytest.raises(ListenError, match="in realms on demand"):
        check_openness(config(tmp_path, realm, realms_on_demand=1))
    assert check_openness(config(tmp_path, realm, realms_on_demand=1, users=True)) == ""


def test_each_realm_counts(tmp_path):
    realms = (Realm(name="r"), Realm(name="s", anonymous=True), Realm(name="t", role=ROLES))
    with pytest.raises(ListenError, match=r"in r, s\. Add"):
        check_openness(config(tmp_path, *realms))
    with pytest.raises(ListenError, match=r"in s\. Add"):
        check_openness(config(tmp_path, *realms, users=True))


def test_tokens_are_as_good_as_users(tmp_path):
    jwt = Jwt(key="key.pem", algorithms=("RS256",))
    assert check_openness(config(tmp_path, Realm(name="r", jwt=jwt), Realm(name="s"))) == ""
    with pytest.raises(ListenError, match=r"everything in s\. Add users"):
        check_openness(config(tmp_path, Realm(name="r", jwt=jwt), Realm(name="s", anonymous=True)))
