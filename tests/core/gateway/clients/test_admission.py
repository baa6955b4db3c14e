"""Connections are let in up to limits, and those that are not leave few lines in the log."""

import pytest

from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.admission import NOTED, Admission

SETTINGS = Settings(max_connections=3, max_connections_per_address=2, connects_per_second=100)


@pytest.fixture
def admission():
    return Admission()


def test_there_are_so_many_connections_of_one_address_and_of_all(admission):
    assert [admission.admit("a", SETTINGS, 1.0) for _ in range(3)] == [
        "",
        "",
        "max_connections_per_address",
    ]
    assert admission.admit("b", SETTINGS, 1.0) == ""
    assert admission.admit("c", SETTINGS, 1.0) == "max_connections"
    admission.leave("a")
    assert admission.admit("c", SETTINGS, 1.0) == ""


def test_an_address_without_connections_is_forgotten(admission):
    admission.admit("a", SETTINGS, 1.0)
    admission.leave("a")
    assert admission._of_address == {}


def test_so_many_connections_may_come_in_a_second_and_as_many_at_once():
    admission, settings = Admission(), Settings(connects_per_second=10)
    assert [admission.admit("a", settings, 5.0) for _ in range(11)][-2:] == [
        "",
        "connects_per_second",
    ]
    assert admission.admit("a", settings, 5.05) == "connects_per_second"
    assert admission.admit("a", settings, 5.11) == ""
    assert [admission.admit("a", settings, 99.0) for _ in range(11)][-2:] == [
        "",
        "connects_per_second",
    ]


def test_refusals_are_noted_once_in_a_while_with_their_number(admission):
    noted = [admission.to_note("max_connections", 100.0 + step) for step in range(int(NOTED) + 1)]
    assert noted == [1] + [0] * (int(NOTED) - 1) + [int(NOTED)]
    assert admission.to_note("connects_per_second", 101.0) == 1
