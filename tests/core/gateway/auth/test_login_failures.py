"""How often clients of one address may fail."""

import pytest

from fox_shard.gateway.auth import failures
from fox_shard.gateway.auth.failures import FailureLimit


def test_so_many_failures_a_minute_are_allowed():
    limit = FailureLimit(6)
    for _ in range(6):
        assert limit.allows("10.0.0.1", 100.0)
        limit.failed("10.0.0.1", 100.0)
    assert not limit.allows("10.0.0.1", 109.0)
    assert limit.allows("10.0.0.1", 110.0)
    limit.failed("10.0.0.1", 110.0)
    assert not limit.allows("10.0.0.1", 111.0)
    assert limit.allows("10.0.0.2", 111.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "", True),
    ],
)
def test_the_addresses_of_one_ipv6_network_are_one(one, other, same):
    limit = FailureLimit(1)
    limit.failed(one, 1.0)
    assert limit.allows(other, 1.0) is not same


def test_only_the_latest_addresses_are_remembered(monkeypatch):
    monkeypatch.setattr(failures, "REMEMBERED", 2)
    limit = FailureLimit(1)
    for address in ("a", "b", "c"):
        limit.failed(address, 1.0)
    assert [limit.allows(address, 1.0) for address in ("a", "b", "c")] == [True, False, False]
