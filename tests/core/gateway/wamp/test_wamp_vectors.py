"""WAMP's own test vectors: bytes → message → bytes, in each serializer (tests/spec)."""

import json
from pathlib import Path

import msgspec
import pytest
from wamp_client import ALL, DECODE, ENCODE, joined

from fox_shard.errors import ProtocolViolation
from fox_shard.gateway.wamp.messages import NAMES, TYPES
from fox_shard.gateway.wamp.serializers import SERIALIZERS

FOLDER = Path(__file__).parents[3] / "spec" / "wamp-vectors" / "singlemessage"
FILES = sorted(FOLDER.glob("*/*.json"))
NAMES_OF = {
    "request": "request_id",
    "registration": "registration_id",
    "subscription": "subscription_id",
}


IGNORED = ("forward_for", "transaction_hash")
"""Options that the server does not know, and therefore ignores: WAMP #extensibility."""


def samples(wanted):
    found = []
    for path in FILES:
        vector = json.loads(path.read_text())
        found += [
            pytest.param(vector, sample, id=f"{path.stem}-{number}")
            for number, sample in enumerate(vector["samples"])
            if wanted(vector, sample)
        ]
    assert len(found) > 20
    return found


def is_serialized(_, sample):
    return "serializers" in sample


def is_built(vector, sample):
    return is_serialized(vector, sample) and not sample["expected_attributes"].get("payload")


def is_request(vector, sample):
    """Whether the sample is a request of a client, without payload passthru mode."""
    message = sample.get("wmsg")
    if message is None or not from_client(vector) or isinstance(message[4:] and message[4], str):
        return False
    return sample.get("expected_error", {}).get("contains") not in IGNORED


def encodings(sample):
    for name in ALL:
        for one in sample["serializers"][name.removeprefix("wamp.2.")]:
            yield name, bytes.fromhex(one["bytes_hex"])


def from_client(vector):
    return vector["wamp_message_code"] in TYPES


def test_there_are_vectors_for_every_message():
    found = {json.loads(path.read_text())["wamp_message_code"] for path in FILES}
    assert found >= set(NAMES)


@pytest.mark.parametrize(("vector", "sample"), samples(is_serialized))
@pytest.mark.cites("advanced.introduction.1", "basic.building_blocks.8", "basic.messages.7")
def test_messages_of_clients_are_decoded(vector, sample):
    expected = sample["expected_attributes"]
    for name, data in encodings(sample):
        serializer = SERIALIZERS[name]
        if not from_client(vector):
            with pytest.raises(ProtocolViolation, match="not a message"):
                serializer.read(data)
            continue
        message = serializer.read(data)
        decode = DECODE[name]
        assert type(message).__struct_config__.tag == expected["message_type"]
        if expected.get("payload"):
            with pytest.raises(ProtocolViolation, match="Arguments must be a list"):
                serializer.payload(message)
            continue
        attributes = {field: getattr(message, field) for field in message.__struct_fields__}
        if "args" in attributes:
            args, kwargs = serializer.payload(message)
            attributes |= {"args": msgspec.Raw(args), "kwargs": msgspec.Raw(kwargs)}
        for field, value in attributes.items():
            if isinstance(value, msgspec.Raw):
                value = decode(bytes(value)) if bytes(value) else None
            wanted = expected.get(NAMES_OF.get(field, field), expected.get(field))
            if field in ("details", "options", "extra") and wanted is None:
                # Of HELLO's details, the vectors name only the roles.
                wanted = {"roles": expected["roles"]}
            assert value == wanted, (name, field)


@pytest.mark.parametrize(("vector", "sample"), samples(is_built))
@pytest.mark.cites("advanced.introduction.1", "basic.building_blocks.8", "basic.messages.7")
def test_messages_are_built_byte_for_byte(vector, sample):
    for name in ALL:
        variants = [data for one, data in encodings(sample) if one == name]
        head = DECODE[name](variants[0])
        args = kwargs = b""
        if isinstance(head[-2], list):
            kwargs = ENCODE[name](head.pop())
        if isinstance(head[-1], list):
            args = ENCODE[name](head.pop())
        assert SERIALIZERS[name].write(tuple(head), args, kwargs) in variants, name


@pytest.mark.parametrize(("vector", "sample"), samples(is_request))
def test_options_are_validated(vector, sample):
    message = sample["wmsg"]
    error = sample.get("expected_error")
    if message[0] == 16:
        message[2].setdefault("acknowledge", True)
    client = joined()
    answers = client.send(message)
    if error:
        assert answers[0][:5] == [8, message[0], message[1], {}, "wamp.error.invalid_argument"]
        assert error["contains"] in answers[0][5][0]
        assert client.asked == []
    else:
        assert answers == []
        assert len(client.asked) == 1
    assert client.hung_up == 0
