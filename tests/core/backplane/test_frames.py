"""The frames, which every process must read as every other process wrote them."""

import ast
import inspect
from importlib import import_module
from pkgutil import iter_modules
from typing import get_args, get_origin

import pytest
from msgspec import DecodeError, Struct, msgpack
from msgspec import inspect as described
from msgspec.structs import fields

from fox_shard.backplane import frames
from fox_shard.backplane.frames import (
    QOS1,
    QOS2,
    Audience,
    Batch,
    Event,
    Fence,
    Frame,
    Identity,
    Published,
    Retained,
    SyncEnd,
    decode,
    encode,
    qos,
)

FRAMES = get_args(Frame)
PACKAGE = f"{frames.__name__}."

# A changed number, or a changed meaning of a number, needs a new VERSION.
TAGS = {
    "Publish": 1, "Event": 2, "Published": 3, "Refused": 4, "Subscribe": 5, "Subscribed": 6,
    "Retained": 7, "Unsubscribe": 8, "Register": 10, "Registered": 11, "Unregister": 12,
    "Unregistered": 13, "Revoked": 14, "PatternAnnounced": 15, "Call": 20, "Invocation": 21,
    "Yield": 22, "InvocationError": 23, "Result": 24, "CallError": 25, "Cancel": 26,
    "Interrupt": 27, "Forward": 28, "CallMoved": 29, "Join": 40, "Leave": 41, "Will": 42,
    "Kill": 43, "Report": 44, "FenceQuery": 50, "FencePassed": 51,
    "Listening": 54, "Listened": 55, "TakeCensus": 56, "Counted": 57, "Membership": 58,
    "MembershipEnded": 59, "Hello": 60, "SyncEnd": 61,
    "Again": 9, "Settled": 16, "StoreFailure": 45, "SelectedEvent": 17, "Recorded": 18,
    "CaughtUp": 19, "More": 30, "NotSubscribed": 31, "SessionAlive": 46, "Joined": 47,
    "DropWills": 48, "WillsStored": 49, "LoginFailed": 52,
    "ReadHistory": 32, "HistoryPage": 33, "Paused": 34, "Fold": 70, "RouterPublish": 71,
    "RegisterReducer": 90, "UnregisterReducer": 91, "Reduce": 92, "Reduced": 93, "NotReduced": 94,
    "FoldsHeld": 95,
    "Contribution": 76, "Rebuilt": 78, "Inquiry": 35, "InquiryPage": 36,
    "RelayedInquiry": 37, "RelayedPage": 38,
    "DefineTables": 80, "TablesDefined": 81, "ActiveTables": 82,
}  # fmt: skip

SAMPLES = {
    int: 2**53 - 1,
    str: "a.ü.*",
    bytes: b"\x00\xff",
    bool: True,
    float: 1.5,
    list[int]: [1, 2],
    list[str]: ["x", ""],
    dict[str, int]: {"a": 1},
    dict[str, dict[str, int]]: {"r": {"a": 1}},
    dict[str, list[int]]: {"t": [5, 1, 0]},
    tuple[int, bytes, bytes]: (1, b"[1]", b""),
    list[tuple[bytes, bytes]]: [(b"a", b"\x00"), (b"b", b"")],
    list[tuple[int, int, int]]: [(1, 2, 3), (4, 5, 6)],
    tuple[str | None, ...]: ("0.10", None),
}


def sample(kind):
    """Return a frame of that kind with a value in every field, nested fields included."""

    def value(type_):
        inner = [one for one in get_args(type_) if one is not type(None)]
        optional = inner and get_origin(type_) is not list
        chosen = SAMPLES.get(type_, SAMPLES.get(inner[0]) if optional else None)
        if chosen is not None:
            return chosen
        if get_origin(type_) is list:
            return [sample(inner[0])]
        return sample(inner[0] if inner else type_)

    return kind(*(value(field.type) for field in fields(kind)))


def batch(*content, reliable=()):
    return Batch("gateway-0", 1, 2, 3, 4, 5, 6, True, 7, list(reliable), list(content), 8, True)


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_is_decoded_as_it_was_encoded(kind):
    sent = batch(sample(kind), SyncEnd(), reliable=[0])
    assert decode(encode(sent)) == sent


@pytest.mark.parametrize("kind", FRAMES)
def test_an_omitted_field_is_decoded_as_its_default(kind):
    required = [field for field in fields(kind) if field.required]
    short = kind(*(getattr(sample(kind), field.name) for field in required))
    assert decode(encode(batch(short))).frames == [short]


@pytest.mark.parametrize("nested", [Fence, Identity, Audience])
def test_a_nested_struct_is_decoded_as_it_was_encoded(nested):
    assert msgpack.decode(msgpack.encode(sample(nested)), type=nested) == sample(nested)


def test_an_empty_list_of_receivers_differs_from_no_list():
    """WAMP #pubsub-subscriber-blackwhite-listing: an empty list means nobody, no list everybody."""
    for eligible in ([], None):
        data = msgpack.encode(Audience(eligible=eligible))
        assert msgpack.decode(data, type=Audience).eligible == eligible


def test_tags_are_unique_and_never_change():
    assert {kind.__name__: kind.__struct_config__.tag for kind in FRAMES} == TAGS
    assert len(set(TAGS.values())) == len(TAGS)


def test_every_struct_with_a_tag_is_a_frame():
    tagged = {
        one
        for _, one in inspect.getmembers(frames, inspect.isclass)
        if issubclass(one, Struct) and one is not Struct and one.__struct_config__.tag is not None
    }
    assert tagged == set(FRAMES)


@pytest.mark.parametrize("kind", [*FRAMES, Fence, Identity, Audience, Batch])
def test_every_frame_is_an_array_and_has_a_docstring(kind):
    assert kind.__doc__ is not None
    assert len(kind.__doc__) > 20
    assert kind.__struct_config__.array_like
    assert described.type_info(kind)


def test_the_frames_import_nothing_but_their_codec():
    modules = [import_module(one.name) for one in iter_modules(frames.__path__, PACKAGE)]
    imported = {
        alias.name.partition(".")[0]
        for module in [frames, *modules]
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (node.names if isinstance(node, ast.Import) else [ast.alias(str(node.module))])
        if not alias.name.startswith(PACKAGE)
    }
    assert imported == {"typing", "msgspec"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x00" * 10,
        encode(batch(SyncEnd()))[:-1],
        encode(batch(SyncEnd())) + b"\x00",
        msgpack.encode(["gateway-0", 1, 2]),
        msgpack.encode(["g", 1, 2, 3, 4, 5, 6, True, 7, [], [[99]]]),
        msgpack.encode(["g", 1, 2, 3, 4, 5, 6, True, 7, [], [[3, "x", [], []]]]),
    ],
)
def test_invalid_data_raises_a_decode_error(data):
    with pytest.raises(DecodeError):
        decode(data)


@pytest.mark.parametrize(
    ("flags", "level"),
    [(0, 0), (QOS1, 1), (QOS2, 2), (15, 0), (QOS1 | 64 | 15, 1), (QOS2 | 64 | 15, 2)],
)
def test_the_quality_of_service_is_held_in_two_flags(flags, level):
    assert qos(flags) == level


def test_batches_do_not_share_their_default_list_of_frames():
    first, second = decode(encode(batch())), decode(encode(batch()))
    first.frames.append(SyncEnd())
    assert second.frames == []
    assert Batch("a", 1, 1, 1, 1, 1, 1, prompt=False).frames == []


def test_an_event_in_a_retained_frame_keeps_its_publication():
    assert decode(encode(batch(sample(Retained)))).frames[0].event == sample(Event)
    assert sample(Published).publications == [1, 2]
