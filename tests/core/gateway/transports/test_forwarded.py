"""X-Forwarded-For, and Forwarded (RFC 7239): who the client of a trusted proxy is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.gateway.transports.forwarded import MalformedForwarded, client_of


def trusts(host):
    return host.startswith(("10.", "127."))


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], ""),
        (["192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        (["nonsense, 192.0.2.7, 10.0.0.1"], "192.0.2.7"),
        (["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
        (["2001:db8::7"], "2001:db8::7"),
        (["192.0.2.7:4711"], "192.0.2.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(values, client):
    assert client_of("x-forwarded-for", values, trusts)[0] == client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=192.0.2.7"], "192.0.2.7"),
        (["for=6.6.6.6;proto=https, For=192.0.2.7;by=10.0.0.1"], "192.0.2.7"),
        (['proto=https; for="[2001:db8::7]:4711"'], "2001:db8::7"),
        (['for="192.0.2.7:80", for=10.0.0.1'], "192.0.2.7"),
    ],
)
def test_forwarded_says_the_same(values, client):
    assert client_of("forwarded", values, trusts)[0] == client


@pytest.mark.parametrize(
    ("value", "port"),
    [("192.0.2.7", 0), ("192.0.2.7:4711", 4711), ("[::1]:4711", 4711), ("192.0.2.7:70000", 0)],
)
def test_a_proxy_may_name_the_port_too(value, port):
    assert client_of("x-forwarded-for", [value], trusts)[1] == port
    assert client_of("forwarded", [f'for="{value}"'], trusts)[1] == port


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("x-forwarded-for", ""),
        ("x-forwarded-for", "unknown"),
        ("x-forwarded-for", "192.0.2.7,"),
        ("x-forwarded-for", "192.0.2.256"),
        ("x-forwarded-for", ", ".join(["10.0.0.1"] * 40)),
        ("x-forwarded-for", "10.0.0.1," * 1000),
        ("forwarded", "proto=https"),
        ("forwarded", "for=unknown"),
        ("forwarded", "for=_hidden"),
        ("forwarded", "for=192.0.2.7;for=192.0.2.8"),
        ("forwarded", 'for="192.0.2.7'),
    ],
)
def test_a_header_that_names_no_address_is_malformed(kind, value):
    with pytest.raises(MalformedForwarded):
        client_of(kind, [value], trusts)


@given(st.sampled_from(["forwarded", "x-forwarded-for"]), st.lists(st.text(), max_size=4))
def test_nothing_else_is_raised(kind, values):
    try:
        client_of(kind, values, trusts)
    except MalformedForwarded:
        return
