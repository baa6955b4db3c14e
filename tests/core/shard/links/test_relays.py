"""Inquiries that one gateway answers to another, by way of a shard."""

import pytest
from shard_harness import REALM, ShardHarness

from fox_shard.backplane.frames import Inquiry, InquiryPage, RelayedInquiry, RelayedPage

ASKER, ANSWERER = "gateway-0", "gateway-1"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def inquiry(token=7):
    return Inquiry(token, REALM, "kind", b"body", b"", 10)


def page(token=7):
    return InquiryPage(token, [(b"key", b"value")])


def test_an_inquiry_and_its_page_are_passed_on(harness):
    harness.say(ASKER, RelayedInquiry(ANSWERER, inquiry()))
    assert harness.got(ANSWERER) == [RelayedInquiry(ASKER, inquiry())]
    harness.say(ANSWERER, RelayedPage(ASKER, page()))
    assert harness.got(ASKER) == [RelayedPage(ANSWERER, page())]
    assert harness.shard.relays.idle


def test_a_gateway_may_ask_itself(harness):
    harness.say(ASKER, RelayedInquiry(ASKER, inquiry()))
    assert harness.got(ASKER) == [RelayedInquiry(ASKER, inquiry())]
    harness.say(ASKER, RelayedPage(ASKER, page()))
    assert harness.got(ASKER) == [RelayedPage(ASKER, page())]


def refusals(harness):
    return [
        (frame.gateway, frame.page.token, frame.page.uri)
        for frame in harness.got(ASKER, RelayedPage)
    ]


@pytest.mark.parametrize("absent", [ANSWERER, "gateway-9"])
def test_a_gateway_that_is_down_cannot_be_asked(harness, absent):
    if absent == ANSWERER:
        harness.kill(ANSWERER)
    harness.say(ASKER, RelayedInquiry(absent, inquiry()))
    assert refusals(harness) == [(absent, 7, "wamp.error.unavailable")]
    assert harness.shard.relays.idle


def test_a_gateway_that_goes_down_answers_nothing_more(harness):
    harness.say(ASKER, RelayedInquiry(ANSWERER, inquiry(7)), RelayedInquiry(ANSWERER, inquiry(8)))
    harness.say(ANSWERER, RelayedPage(ASKER, page(7)))
    harness.got(ASKER)
    harness.kill(ANSWERER)
    harness.turns()
    assert refusals(harness) == [(ANSWERER, 8, "wamp.error.unavailable")]
    assert harness.shard.relays.idle


def test_nothing_is_kept_for_a_gateway_that_asked_and_has_gone(harness):
    harness.say(ASKER, RelayedInquiry(ANSWERER, inquiry()), RelayedInquiry(ASKER, inquiry(8)))
    harness.kill(ASKER)
    harness.turns()
    assert harness.shard.relays.idle
    harness.say(ANSWERER, RelayedPage(ASKER, page()))
