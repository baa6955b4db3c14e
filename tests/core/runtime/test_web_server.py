"""The limits of HTTP connections."""

from fox_shard.runtime.web_server import Addresses


def test_an_address_has_so_many_connections_unless_it_is_that_of_a_proxy():
    addresses = Addresses(2, ["10.0.0.0/8"])
    assert [addresses.enter("192.0.2.7") for _ in range(3)] == [True, True, False]
    assert addresses.enter("192.0.2.8")
    assert all(addresses.enter("10.0.0.1") for _ in range(9))
    addresses.leave("192.0.2.7")
    addresses.leave("192.0.2.7")
    assert addresses.enter("192.0.2.7")
