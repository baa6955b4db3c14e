"""The answers of a shard to inquiries."""

import pytest
from shard_harness import REALM, ShardHarness

from fox_shard.backplane.frames import Inquiry, InquiryPage
from fox_shard.errors import InvalidArgument
from fox_shard.shard import inquiries
from fox_shard.shard.budget import SLICE_UNITS


def inquiry(start=b"", *, limit=1000, kind="letters", body=b"", token=1):
    return Inquiry(token, REALM, kind, body, start, limit)


class Letters:
    """Answers with the letters, from `Page.start` on, that the body contains, or all."""

    def __init__(self, letters="abcdefgh", units=1, size=1):
        self.letters, self.units, self.size = letters, units, size
        self.asked = []

    def __call__(self, realm, body, page):
        self.asked.append((realm, body, page.start))
        for letter in self.letters:
            if letter.encode() < page.start:
                continue
            if page.is_full:
                page.go_on_at(letter.encode())
                return
            page.spend(self.units)
            if not body or letter.encode() in body:
                page.add(letter.encode(), b"v" * self.size)


@pytest.fixture
def harness():
    return ShardHarness(gateways=1)


def ask(harness, *frames):
    harness.say("gateway-0", *frames)
    return harness.got("gateway-0", InquiryPage)


def keys(page):
    return b"".join(key for key, _ in page.items)


def test_an_inquiry_is_answered_by_what_answers_its_kind(harness):
    letters = harness.shard.inquiries.answerers["letters"] = Letters()
    (page,) = ask(harness, inquiry(body=b"bd", token=7))
    assert page == InquiryPage(7, [(b"b", b"v"), (b"d", b"v")])
    assert not page.more
    assert letters.asked == [(REALM, b"bd", b"")]


def test_a_page_ends_at_its_limit_and_the_next_one_begins_there(harness):
    harness.shard.inquiries.answerers["letters"] = Letters()
    (page,) = ask(harness, inquiry(limit=3))
    assert (keys(page), page.next, page.more) == (b"abc", b"d", True)
    (page,) = ask(harness, inquiry(page.next))
    assert (keys(page), page.more) == (b"defgh", False)


def test_a_page_ends_with_the_item_that_exceeds_its_bytes(harness, monkeypatch):
    monkeypatch.setattr(inquiries, "PAGE_BYTES", 10)
    harness.shard.inquiries.answerers["letters"] = Letters(size=5)
    (page,) = ask(harness, inquiry())
    assert (keys(page), page.next) == (b"ab", b"c")


def test_a_page_ends_after_a_slice_of_the_budget_though_nothing_was_found(harness):
    harness.shard.inquiries.answerers["letters"] = Letters(units=SLICE_UNITS // 2)
    (page,) = ask(harness, inquiry(body=b"h"))
    assert (page.items, page.next) == ([], b"c")


def test_many_inquiries_are_answered_in_several_turns(harness):
    letters = Letters(units=SLICE_UNITS)
    harness.shard.inquiries.answerers["letters"] = letters
    harness.send("gateway-0", *(inquiry(token=number) for number in range(1, 21)))
    harness.turn()
    assert 0 < len(letters.asked) < 10
    harness.turns(10)
    assert [page.token for page in harness.got("gateway-0", InquiryPage)] == [*range(1, 21)]


def test_a_refusal_is_told(harness):
    def refuse(realm, body, page):
        page.add(b"a", b"")
        raise InvalidArgument("not so")

    harness.shard.inquiries.answerers["letters"] = refuse
    (page,) = ask(harness, inquiry())
    assert page == InquiryPage(1, [], b"", "wamp.error.invalid_argument", "not so")


def test_a_page_cannot_go_on_at_the_beginning(harness):
    page = inquiries.Page(b"", 1, harness.shard.budget)
    with pytest.raises(ValueError, match="beginning"):
        page.go_on_at(b"")
