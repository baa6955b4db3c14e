"""Which pages are of this machine: by their whole origin, not by how it begins."""

import asyncio

import httpx
import pytest
from web_sessions import FakeSessions

from fox_shard.gateway.transports.origins import hostname, is_allowed
from fox_shard.web import make_app


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("localhost", "localhost"),
        ("127.0.0.1:8088", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("localhost:", "localhost"),
        ("127.0.0.1:80@evil.com", ""),
        ("127.0.0.1@evil.com", ""),
        ("[127.0.0.1]evil.com", ""),
        ("[::1", ""),
        ("127.0.0.1/evil.com", ""),
        ("127.0.0.1,http://evil.com", ""),
        ("", ""),
        (":80", ""),
    ],
)
def test_an_authority_has_one_host(authority, host):
    assert hostname(authority) == host
    assert is_allowed(f"http://{authority}", "", (), is_local=True) is bool(host)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("host", "localhost")], 404),
        ([("host", "[127.0.0.1]evil.com")], 421),
        ([("host", "localhost"), ("origin", "http://localhost")], 404),
        ([("host", "localhost"), ("origin", "http://localhost:1@evil.com")], 403),
        ([("host", "localhost")] + [("origin", "http://localhost")] * 2, 403),
        ([("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://a.com")], 403),
    ],
)
def test_odd_headers_get_nobody_in(headers, status):
    async def main():
        transport = httpx.ASGITransport(make_app(FakeSessions()))
        async with httpx.AsyncClient(transport=transport) as http:
            request = httpx.Request("GET", "http://localhost/none", headers=headers)
            return await http.send(request)

    assert asyncio.run(main()).status_code == status
