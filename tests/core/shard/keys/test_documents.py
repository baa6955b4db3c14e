"""Documents: how often a payload is decoded, however many conditions and filters ask for it."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, ShardHarness, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    RETAIN,
    Published,
    Refused,
    Retained,
    RetainOptions,
    SelectedEvent,
    SelectorSpec,
)
from fox_shard.documents import payloads
from fox_shard.errors import InvalidPayload
from fox_shard.shard.budget import Budget
from fox_shard.shard.keys import documents
from fox_shard.shard.keys.documents import DecodedDocuments

KEEP = ACKNOWLEDGE | RETAIN
MANY = 200
LARGE = b'[{"n":7,"text":"' + 20_000 * b"x" + b'"}]'


@pytest.fixture
def decoded(monkeypatch):
    """The arguments that were decoded for their documents, in order."""
    args_of_each = []

    def counted(encoding, args, kwargs):
        args_of_each.append(args)
        return payloads.document(encoding, args, kwargs)

    monkeypatch.setattr(documents, "document", counted)
    return args_of_each


def test_a_payload_is_decoded_when_its_document_is_first_asked_for(decoded):
    kept, args = DecodedDocuments(Budget()), b'[{"a":1}]'
    for _ in range(3):
        assert kept.document(payloads.JSON, args, b"") == {"a": 1}
    assert decoded == [args]
    kept.clear()
    assert kept.document(payloads.JSON, args, b"") == {"a": 1}
    assert len(decoded) == 2


def test_keyword_arguments_that_are_headers_make_another_document(decoded):
    kept, args, kwargs = DecodedDocuments(Budget()), b'[{"a":1}]', b'{"a":2}'
    assert kept.document(payloads.JSON, args, kwargs) == {"a": 2}
    assert kept.document(payloads.JSON, args, b"") == {"a": 1}
    assert kept.document(payloads.JSON, args, kwargs) == {"a": 2}
    assert len(decoded) == 2


def test_a_payload_that_cannot_be_read_is_read_once_too(decoded):
    kept, args = DecodedDocuments(Budget()), b"[1"
    for _ in range(3):
        with pytest.raises(InvalidPayload, match="not valid JSON"):
            kept.document(payloads.JSON, args, b"")
    assert len(decoded) == 1


def test_documents_beyond_the_limit_are_forgotten_but_never_the_last_two(decoded, monkeypatch):
    monkeypatch.setattr(documents, "KEPT_BYTES", 1000)
    kept = DecodedDocuments(Budget())
    one, two, three = (b'["%b"]' % (letter * 900) for letter in (b"a", b"b", b"c"))
    for args in (one, two, one, two, three, three, two, one):
        kept.document(payloads.JSON, args, b"")
    assert decoded == [one, two, three, one]


def test_a_change_with_many_conditions_and_filters_costs_one_decoding(decoded):
    harness = ShardHarness(gateways=2)
    harness.say(
        "gateway-1",
        *(
            selecting("=a.b", 2 * n + state, {"n": n}, state=state > 0)
            for n in range(MANY)
            for state in (0, 1)
        ),
    )
    for n in range(MANY):
        harness.say("gateway-0", waiting(n + 1, {"n": n, "other": 1}), reliable=True)
    decoded.clear()
    harness.say("gateway-0", publish(request=1000, flags=KEEP, args=LARGE), reliable=True)
    assert len(decoded) == 1
    # The event, and the change of state once it is durable.
    assert [frame.selectors for frame in harness.got("gateway-1", SelectedEvent)] == [[14], [15]]
    (answer,) = harness.got("gateway-0", Published)
    assert answer.requests == [1000]


def test_conditions_of_one_batch_share_the_keys_document(decoded):
    harness = ShardHarness(gateways=1)
    harness.say("gateway-0", publish(flags=KEEP, args=LARGE), reliable=True)
    asked = [
        publish(
            request=n,
            flags=ACKNOWLEDGE | CONDITION,
            retain=RetainOptions(when=msgpack.encode({"n": n})),
        )
        for n in range(100, 100 + MANY)
    ]
    decoded.clear()
    harness.say("gateway-0", *asked, reliable=True)
    assert decoded == [LARGE]
    assert len(harness.got("gateway-0", Refused)) == MANY


def test_replays_at_the_same_time_share_the_keys_documents(decoded):
    harness = ShardHarness(gateways=2)
    harness.say("gateway-0", publish(flags=KEEP, args=LARGE), reliable=True)
    decoded.clear()
    harness.say(
        "gateway-1",
        *(selecting("=a.b", n + 1, {"n": n}, token=n + 1, replay=True) for n in range(MANY)),
    )
    assert decoded == [LARGE]
    assert [frame.token for frame in harness.got("gateway-1", Retained)] == [8]


def selecting(pattern, id_, filter_, *, state=False, token=0, replay=False):
    frame = subscribe(pattern, token=token, replay=replay, realm=REALM)
    frame.selector = SelectorSpec(id_, state, msgpack.encode(filter_))
    return frame


def waiting(request, when):
    retain = RetainOptions(when=msgpack.encode(when), watch=True)
    return publish(request=request, flags=KEEP | CONDITION, retain=retain)
