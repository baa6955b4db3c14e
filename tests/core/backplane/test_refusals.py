"""Refusals as frames: a URI and one sentence."""

import pytest
from msgspec import Struct, msgpack

from fox_shard.backplane.frames import CallError, Publish, Refused, Register, Unregister
from fox_shard.backplane.refusals import call_error, refused
from fox_shard.documents.payloads import MSGPACK
from fox_shard.errors import NotAuthorized, QueueFull


@pytest.mark.parametrize(("kind", "tag"), [(Publish, 1), (Register, 10), (Unregister, 12)])
def test_a_refused_frame_is_named_by_its_tag(kind, tag):
    answer = refused(kind, 7, 8, NotAuthorized("you may not"))
    assert answer == Refused(7, 8, tag, "wamp.error.not_authorized", "you may not")


def test_only_a_frame_can_be_refused():
    class Other(Struct):
        pass

    with pytest.raises(TypeError, match="Other is no frame"):
        refused(Other, 7, 8, NotAuthorized("you may not"))


def test_the_only_argument_of_a_call_error_is_the_sentence():
    answer = call_error(7, 8, QueueFull("too many"))
    args = msgpack.encode(["too many"])
    assert answer == CallError(7, 8, "fox.error.queue_full", MSGPACK, args)
