"""Payloads: the arguments of an event or a call, as bytes in one of five encodings.

Owns: what the encodings mean, conversion between them, the document of a payload.
Never: where payloads come from or go to.

A payload is `(encoding, args, kwargs)`. For JSON, MSGPACK and CBOR, args is an encoded list and
kwargs an encoded map, each b"" if absent. For RAW, args is what an MQTT client published and kwargs
is b"": it is read as JSON, or else as text, or else (if it is not UTF-8) as bytes. For NONE both
are b"". Absent and empty mean the same.

JSON has no bytes: a string that begins with U+0000 stands for bytes in Base64 (WAMP
#binary-support-in-json). Every conversion here applies this convention in both directions; a string
with U+0000 that is not Base64 stays a string. A payload that cannot be read, or that the other
encoding cannot express, raises InvalidPayload. Some values change, as in JavaScript: NaN and
infinities become null in JSON, integers beyond 64 bits become floats in MessagePack, `undefined`
becomes null, and typed arrays become their bytes.
"""

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import cbor2
import msgspec

from fox_shard.documents.containers import CONTAINER_LIMIT, json_has_more
from fox_shard.documents.nesting import json_too_deep
from fox_shard.errors import InvalidPayload

NONE: Final = 0
JSON: Final = 1
MSGPACK: Final = 2
CBOR: Final = 3
RAW: Final = 4

Args: TypeAlias = list[Any]
Kwargs: TypeAlias = dict[Any, Any]
Value: TypeAlias = Any
"""None, bool, int, float, str, bytes, datetime; lists and dicts of them."""

_OPAQUE = frozenset({NONE, RAW})
_NAMES = {JSON: "JSON", MSGPACK: "MessagePack", CBOR: "CBOR"}

# Errors of the codecs for bad input; TypeError: the other encoding cannot express a value.
_CODEC_ERRORS = (
    msgspec.MsgspecError,
    cbor2.CBORError,
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
)

_MIN_INT = -(2**63)
_MAX_INT = 2**64 - 1

_WHITE = b" \t\r\n"


def transcode(encoding: int, args: bytes, kwargs: bytes, target: int) -> tuple[bytes, bytes]:
    """Return args and kwargs in the target encoding: JSON, MSGPACK or CBOR.

    Raises InvalidPayload.
    """
    if encoding in (target, NONE):
        return args, kwargs
    if encoding == RAW and target == JSON:
        return _raw_to_json(args), b""
    return encode(*decode(encoding, args, kwargs), target)


def decode(encoding: int, args: bytes, kwargs: bytes) -> tuple[Args, Kwargs]:
    """Return the values of a payload, empty if absent. Raises InvalidPayload."""
    if encoding == RAW:
        return _read_raw(args), {}
    try:
        return (
            _ARGS_READERS[encoding](args) if args else [],
            _KWARGS_READERS[encoding](kwargs) if kwargs else {},
        )
    except _CODEC_ERRORS as error:
        raise InvalidPayload(f"the payload is not valid {_NAMES[encoding]}: {error}") from None


def decode_exactly(encoding: int, args: bytes, kwargs: bytes) -> tuple[Args, Kwargs]:
    """Return the values of a payload as `decode` does, but so that `encode` restores them.

    This concerns CBOR, whose tags and `undefined` are kept. Raises InvalidPayload.
    """
    if encoding != CBOR:
        return decode(encoding, args, kwargs)
    try:
        return (_load_exactly(args) if args else []), (_load_exactly(kwargs) if kwargs else {})
    except _CODEC_ERRORS as error:
        raise InvalidPayload(f"the payload is not valid CBOR: {error}") from None


def encode(args: Args, kwargs: Kwargs, target: int) -> tuple[bytes, bytes]:
    """Return args and kwargs encoded in JSON, MSGPACK or CBOR, each b"" if empty.

    Raises InvalidPayload.
    """
    write = _WRITERS[target]
    try:
        return write(args) if args else b"", write(kwargs) if kwargs else b""
    except _CODEC_ERRORS as error:
        raise InvalidPayload(f"the payload cannot be sent as {_NAMES[target]}: {error}") from None


def to_mqtt(encoding: int, args: bytes, kwargs: bytes) -> bytes:
    """Return the payload that an MQTT client receives.

    Without kwargs, one arg is sent as it is if it is bytes, otherwise as JSON, and several args as
    a JSON array. Kwargs alone are a JSON object, and args with kwargs `{"args": …, "kwargs": …}`.
    Neither is b"". Raises InvalidPayload.
    """
    if encoding in _OPAQUE:
        return args
    if encoding == JSON:
        return _json_to_mqtt(args, kwargs)
    values, named = decode(encoding, args, kwargs)
    if not named and len(values) == 1 and isinstance(values[0], bytes):
        return values[0]
    return _json_to_mqtt(*encode(values, named, JSON))


def as_value(encoding: int, args: bytes, kwargs: bytes, target: int) -> bytes:
    """Return the payload as one value, the one that MQTT clients receive, encoded in `target`.

    Raises InvalidPayload.
    """
    if encoding == target and not kwargs:
        only = _only_argument(encoding, args)
        if only:
            return only
    value = as_one(*decode(encoding, args, kwargs))
    return _only_argument(target, encode([value], {}, target)[0])


def as_one(values: Args, named: Kwargs) -> Value:
    """Return the values of a payload as one value, the one that MQTT clients receive."""
    if named:
        return {"args": values, "kwargs": named} if values else named
    return values[0] if len(values) == 1 else values


def _only_argument(encoding: int, args: bytes) -> bytes:
    """Return the only argument, as it is encoded; b"": there may be none or several."""
    if encoding == JSON:
        try:
            items = _JSON_SPLIT.decode(args) if args else []
        except _CODEC_ERRORS as error:
            raise InvalidPayload(f"the payload is not valid JSON: {error}") from None
        return bytes(items[0]) if len(items) == 1 else b""
    return args[1:] if args[:1] == _LIST_OF_ONE.get(encoding) else b""


_LIST_OF_ONE: Final = {MSGPACK: b"\x91", CBOR: b"\x81"}
"""The first byte of an encoded list of one element."""


def is_empty(encoding: int, args: bytes, kwargs: bytes) -> bool:
    """Whether a retained publish with this payload erases its key.

    A WAMP payload is empty if it has no kwargs and its args are absent, `[]` or `[null]`; an MQTT
    payload only if it has zero bytes. What cannot be read (an unknown CBOR tag) is not empty.
    """
    if encoding in _OPAQUE:
        return not args
    if kwargs and not _is_void(encoding, kwargs):
        return False
    if encoding == JSON:
        if args.strip(b"[]" + _WHITE) not in (b"", b"null"):
            return False
        return b"".join(args.split()) in (b"", b"[]", b"[null]")
    if len(args) > _LONGEST_EMPTY:
        return False
    try:
        return decode(encoding, args, b"")[0] in ([], [None])
    except InvalidPayload:
        return False


def document(encoding: int, args: bytes, kwargs: bytes) -> dict[Any, Any] | None:
    """Return the first argument, if that is an object, updated with kwargs.

    None: the first argument is no object, and there are no kwargs. Raises InvalidPayload.
    """
    values, named = decode(encoding, args, kwargs)
    if values and isinstance(values[0], dict):
        return {**values[0], **named}
    return named or None


def check_patch(encoding: int, args: bytes, kwargs: bytes) -> None:
    """Raise InvalidPayload if the payload has no document, and so cannot be a patch."""
    if document(encoding, args, kwargs) is None:
        raise InvalidPayload("a patch is an object: the first argument, or keyword arguments")


# MQTT


def _raw_to_json(payload: bytes) -> bytes:
    """Return an MQTT payload as args in JSON; a payload that is JSON keeps its own bytes."""
    if not payload:
        return b""
    if not _is_json(payload):
        return _write_json([_text_or_bytes(payload)])
    return payload if payload.lstrip(_WHITE)[:1] == b"[" else b"[" + payload + b"]"


def _is_json(payload: bytes) -> bool:
    """Whether an MQTT payload is JSON that WAMP's arguments may be."""
    if json_has_more(payload, CONTAINER_LIMIT):
        return False
    try:
        # Skipping over the value would be faster, but then msgspec accepts bad UTF-8 and 1e999.
        _JSON_ANY.decode(payload)
    except (ValueError, RecursionError):
        return False
    return not _raw_too_deep(payload)


def _raw_too_deep(payload: bytes) -> bool:
    # What is no list becomes the only element of one.
    return json_too_deep(payload if payload.lstrip(_WHITE)[:1] == b"[" else b"[%b]" % payload)


def _read_raw(payload: bytes) -> Args:
    """Return an MQTT payload as args.

    If it is not JSON, or beyond the limits of that, the only arg is its text, or bytes if it is not
    UTF-8.
    """
    if not payload:
        return []
    if json_has_more(payload, CONTAINER_LIMIT):
        return [_text_or_bytes(payload)]
    try:
        value = _read_json(_JSON_ANY, payload)
    except (ValueError, RecursionError):
        return [_text_or_bytes(payload)]
    if _raw_too_deep(payload):
        return [_text_or_bytes(payload)]
    return value if isinstance(value, list) else [value]


def _text_or_bytes(payload: bytes) -> str | bytes:
    """Return the text that an MQTT payload without JSON is, or else the payload.

    Text that begins with U+0000 would look like bytes in JSON, so it stays bytes.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    return payload if text[0] == "\0" else text


def _json_to_mqtt(args: bytes, kwargs: bytes) -> bytes:
    if kwargs and _is_void(JSON, kwargs):
        kwargs = b""
    try:
        items = _JSON_SPLIT.decode(args) if args else []
        if len(items) == 1 and not kwargs:
            item = bytes(items[0])
            value = _read_json(_JSON_ANY, item) if item.startswith(b'"\\u0000') else None
            return value if isinstance(value, bytes) else item
    except _CODEC_ERRORS as error:
        raise InvalidPayload(f"the payload is not valid JSON: {error}") from None
    if not items:
        return kwargs
    if kwargs:
        return b'{"args":' + args + b',"kwargs":' + kwargs + b"}"
    return args


# Empty payloads


def _is_void(encoding: int, kwargs: bytes) -> bool:
    if encoding == JSON:
        return not kwargs.strip(b"{}" + _WHITE)
    if len(kwargs) > _LONGEST_EMPTY:
        return False
    try:
        return not decode(encoding, b"", kwargs)[1]
    except InvalidPayload:
        return False


# The longest encoding of a list of one null: CBOR with the list's length in eight bytes.
_LONGEST_EMPTY = 10


# JSON


def _read_json(decoder: msgspec.json.Decoder[Any], data: bytes) -> Value:
    value = decoder.decode(data)
    # U+0000 cannot occur in JSON text, except as an escape.
    return _convert(value, str, _from_base64) if b"\\u0000" in data else value


def _write_json(value: Value) -> bytes:
    return _JSON_ENCODER.encode(_convert(value, bytes, _to_base64))


def _to_base64(data: bytes) -> str:
    return "\0" + base64.b64encode(data).decode("ascii")


def _from_base64(text: str) -> Value:
    if text[:1] != "\0":
        return text
    try:
        return base64.b64decode(text[1:], validate=True)
    except binascii.Error:
        return text


def _convert(value: Value, kind: type, leaf: Callable[[Any], Value]) -> Value:
    """Return a value in which all leaves of exactly this type are converted, except map keys."""
    if type(value) is kind:
        return leaf(value)
    if isinstance(value, dict):
        return {key: _convert(item, kind, leaf) for key, item in value.items()}
    if isinstance(value, list):
        # Long lists are mostly lists of numbers; to look at their types is ten times as fast.
        if kind is not int and _NUMBERS.issuperset(map(type, value)):
            return value
        return [_convert(item, kind, leaf) for item in value]
    return value


_NUMBERS: Final = frozenset((int, float))


# MessagePack


def _write_msgpack(value: Value) -> bytes:
    try:
        return _MSGPACK_ENCODER.encode(value)
    except OverflowError:
        return _MSGPACK_ENCODER.encode(_convert(value, int, _narrow))


def _narrow(number: int) -> int | float:
    return number if _MIN_INT <= number <= _MAX_INT else float(number)


# CBOR


def read_cbor(data: bytes) -> Value:
    """Decode a value, in which `undefined` stays `cbor2.undefined`.

    Raises CBORError or ValueError, also for a tag that no other encoding can express.
    """
    return cbor2.loads(data, semantic_decoders=_CBOR_TAGS, tag_hook=_read_tag)


def _read_cbor(data: bytes, kind: type) -> Value:
    value = read_cbor(data)
    if not isinstance(value, kind):
        raise ValueError(f"it is not a {kind.__name__}")
    # The byte 0xF7 is undefined, or part of something else; without it no conversion is needed.
    return _convert(value, _UNDEFINED, lambda _: None) if b"\xf7" in data else value


def _load_exactly(data: bytes) -> Any:  # noqa: ANN401 (a list or a dict)
    return cbor2.loads(data, semantic_decoders=_KEPT_TAGS, tag_hook=lambda tag, _: tag)


def _keep(number: int, value: Value, _immutable: bool) -> cbor2.CBORTag:  # noqa: FBT001 (see below)
    return cbor2.CBORTag(number, value)


def _untag(value: Value, _immutable: bool) -> Value:  # noqa: FBT001 (cbor2 calls it so)
    return value


def _refuse_tag(_value: Value, _immutable: bool) -> Value:  # noqa: FBT001 (cbor2 calls it so)
    raise ValueError(_UNKNOWN_TAG)


def _read_tag(tag: cbor2.CBORTag, _immutable: bool) -> Value:  # noqa: FBT001 (cbor2 calls it so)
    if tag.tag in TYPED_ARRAYS and isinstance(tag.value, bytes):
        return tag.value
    raise ValueError(_UNKNOWN_TAG)


TYPED_ARRAYS: Final = range(64, 88)
"""The CBOR tags of JavaScript's typed arrays (RFC 8746), which are bytes in other encodings."""

_UNKNOWN_TAG: Final = "it has a tag other than time (0, 1), big integer (2, 3), typed array (64 …)"

# Tags that cbor2 would interpret (RFC 8949 section 3.4 and registry). Dates (0, 1) stay the text or
# number that is tagged. Some other tags let a few bytes cost much memory or time: shared values and
# strings (28, 29, 25, 256) grow exponentially when they are written out, a big float (5) is a
# power, and 35 is a regular expression.
_CBOR_TAGS = {
    0: _untag,
    1: _untag,
    **dict.fromkeys(
        (4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000),
        _refuse_tag,
    ),
    55799: _untag,
}
# Big integers (2, 3) are integers everywhere.
_KEPT_TAGS = {number: partial(_keep, number) for number in _CBOR_TAGS}


_UNDEFINED = type(cbor2.undefined)


def _write_cbor(value: Value) -> bytes:
    return cbor2.dumps(value)


def _read_extension(code: int, data: memoryview) -> Value:
    """Return an extension type's value: None for JavaScript's undefined."""
    if code == 0 and bytes(data) == b"\0":
        return None
    return msgspec.msgpack.Ext(code, bytes(data))


_JSON_ANY = msgspec.json.Decoder()
_JSON_SPLIT = msgspec.json.Decoder(list[msgspec.Raw])
_JSON_ARGS = msgspec.json.Decoder(Args)
_JSON_KWARGS = msgspec.json.Decoder(Kwargs)
_JSON_ENCODER = msgspec.json.Encoder()
_MSGPACK_ENCODER = msgspec.msgpack.Encoder()

_ARGS_READERS: dict[int, Callable[[bytes], Args]] = {
    NONE: lambda _: [],
    JSON: lambda data: _read_json(_JSON_ARGS, data),
    MSGPACK: msgspec.msgpack.Decoder(Args, ext_hook=_read_extension).decode,
    CBOR: lambda data: _read_cbor(data, list),
}
_KWARGS_READERS: dict[int, Callable[[bytes], Kwargs]] = {
    NONE: lambda _: {},
    JSON: lambda data: _read_json(_JSON_KWARGS, data),
    MSGPACK: msgspec.msgpack.Decoder(Kwargs, ext_hook=_read_extension).decode,
    CBOR: lambda data: _read_cbor(data, dict),
}
_WRITERS: dict[int, Callable[[Value], bytes]] = {
    JSON: _write_json,
    MSGPACK: _write_msgpack,
    CBOR: _write_cbor,
}
