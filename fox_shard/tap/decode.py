"""The content of a batch, read without the broker's own decoder.

Owns: bytes → named fields, with a sentence about anything that the broker could not read. Never:
output; ZeroMQ; `msgspec`'s decoding, which would fail just where an operator needs to look.

The msgpack package reads the bytes; the names and types of the fields are taken from the struct
classes of `fox_shard.backplane.frames` (tag → class → fields), so that a new frame needs no change.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

import msgpack
from msgspec import inspect

from fox_shard.backplane import frames
from fox_shard.documents import payloads
from fox_shard.errors import InvalidPayload

UNKNOWN = "unknown"
UNREADABLE = "unreadable"

DEPTH = 60
"""Levels of a nested value that are shown."""

Fields = dict[str, object]

_UNPACK: dict[str, object] = {
    "raw": False,
    "unicode_errors": "surrogateescape",
    "strict_map_key": False,
}
_BAD_MSGPACK = (msgpack.UnpackException, ValueError, TypeError)

_SCALARS: dict[type, tuple[str, tuple[type, ...]]] = {
    inspect.IntType: ("an integer", (int,)),
    inspect.FloatType: ("a number", (float, int)),
    inspect.StrType: ("text", (str,)),
    inspect.BytesType: ("bytes", (bytes,)),
    inspect.BoolType: ("a boolean", (bool,)),
    inspect.NoneType: ("nothing", (type(None),)),
}


class Copy(NamedTuple):
    """One copy of a batch, as a tap published it (see `fox_shard.backplane.tap`).

    time: seconds since 1970. direction: `>`: `process` sent the batch to `peer`; `<`: received it
    from there. number: counts the tap's copies.
    """

    time: float
    process: str
    direction: str
    peer: str
    number: int
    batch: bytes


@dataclass(slots=True)
class Seen:
    """One frame of a batch, as far as it can be read.

    seq: None: the batch does not tell. rseq: None: the frame is not reliable. problem: what the
    broker could not read; "": nothing.
    """

    copy: Copy
    kind: str
    seq: int | None = None
    rseq: int | None = None
    fields: Fields = field(default_factory=dict)
    problem: str = ""

    @property
    def realm(self) -> str:
        return str(next(values_of(self.fields, ("realm",)), ""))

    @property
    def topic(self) -> str:
        """The topic, the procedure, or the text of a pattern."""
        return str(next(values_of(self.fields, ("topic", "procedure", "pattern")), ""))

    @property
    def sessions(self) -> list[int]:
        """The sessions that the frame concerns, its own one first."""
        found = values_of(self.fields, ("session", "callee"))
        return [value for value in found if isinstance(value, int)]


def values_of(fields: Fields, names: tuple[str, ...]) -> Iterator[object]:
    """Yield the values of the fields with these names, nested frames included."""
    yield from (fields[name] for name in names if name in fields)
    for value in fields.values():
        if isinstance(value, dict):
            yield from values_of(value, names)


def kind_of(name: str) -> str:
    """Return the kind of frame that a class stands for: `CallError` → `call_error`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _struct(cls: type) -> inspect.StructType:
    described = inspect.type_info(cls)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{cls} is no frame")
    return described


_FRAMES = {_struct(cls).tag: _struct(cls) for cls in get_args(frames.Frame)}
_BATCH = _struct(frames.Batch)
_BATCH_NAMES = [each.name for each in _BATCH.fields]

KINDS = [kind_of(each.cls.__name__) for each in _FRAMES.values()]
"""All kinds of frames."""

_KIND_OF_TAG = dict(zip(_FRAMES, KINDS, strict=True))


def read_batch(copy: Copy, kinds: frozenset[str] | None = None) -> list[Seen]:
    """Return the frames of a batch, in order. kinds: only these (the others cost little).

    For a batch that cannot be read to its end, one of kind UNREADABLE follows the readable ones.
    """
    values, broken = _unpack(copy.batch)
    batch = dict(zip(_BATCH_NAMES, values, strict=False))
    if not broken and len(values) != len(_BATCH_NAMES):
        broken = f"the batch has {len(values)} fields instead of {len(_BATCH_NAMES)}"
    contents = batch.get("frames", [])
    if not isinstance(contents, list):
        contents, broken = [], "the batch's frames are no array"
    seen: list[Seen] = []
    for index, value in enumerate(contents):
        tag = value[0] if isinstance(value, list) and value else None
        kind = _KIND_OF_TAG.get(tag, UNKNOWN) if isinstance(tag, int) else UNKNOWN
        if kinds is None or kind in kinds:
            one = Seen(copy, kind)
            one.seq, one.rseq = _numbers(batch, index)
            one.fields, one.problem = _read_frame(value, tag, kind)
            seen.append(one)
    if broken and (kinds is None or UNREADABLE in kinds):
        shown = {**batch, "frames": len(contents), "bytes": copy.batch[:64]}
        seen.append(Seen(copy, UNREADABLE, fields=shown, problem=broken))
    return seen


def _numbers(batch: Fields, index: int) -> tuple[int | None, int | None]:
    first, rfirst, reliable = (batch.get(name) for name in ("first", "rfirst", "reliable"))
    seq = first + index if isinstance(first, int) else None
    rseq = None
    if isinstance(reliable, list) and isinstance(rfirst, int) and index in reliable:
        rseq = rfirst + reliable.index(index)
    return seq, rseq


def _unpack(data: bytes) -> tuple[list[object], str]:
    """Return the batch's fields as far as they can be read, and what is wrong; "": nothing."""
    try:
        values = msgpack.unpackb(data, **_UNPACK)
    except _BAD_MSGPACK:
        return _unpack_piecemeal(data)
    return (values, "") if isinstance(values, list) else ([], "the batch is no array")


def _unpack_piecemeal(data: bytes) -> tuple[list[object], str]:
    unpacker = msgpack.Unpacker(max_buffer_size=0, **_UNPACK)
    unpacker.feed(data)
    values: list[object] = []
    try:
        for index in range(unpacker.read_array_header()):
            if _BATCH_NAMES[index : index + 1] == ["frames"]:
                contents: list[object] = []
                values.append(contents)
                contents.extend(unpacker.unpack() for _ in range(unpacker.read_array_header()))
            else:
                values.append(unpacker.unpack())
    except msgpack.OutOfData:
        return values, f"the batch ends (or was cut) after {len(data)} bytes"
    except _BAD_MSGPACK as error:
        return values, f"no msgpack at byte {unpacker.tell()}: {error or type(error).__name__}"
    return values, f"{len(data) - unpacker.tell()} bytes behind the batch"


def _read_frame(value: object, tag: object, kind: str) -> tuple[Fields, str]:
    if kind == UNKNOWN or not isinstance(tag, int):
        return {"value": value}, f"unknown tag {tag!r}"
    problems: list[str] = []
    fields = _read_struct(_FRAMES[tag], value, "", problems)
    return fields if isinstance(fields, dict) else {"value": value}, "; ".join(problems)


def _read_struct(kind: inspect.StructType, value: object, path: str, problems: list[str]) -> object:
    if not isinstance(value, list):
        problems.append(f"{path or 'the frame'} is {_shape(value)}, not an array")
        return value
    values = value
    if kind.tag is not None:
        if value[:1] != [kind.tag]:
            problems.append(f"{path} has tag {value[:1]} instead of {kind.tag}")
        values = value[1:]
    required = sum(1 for each in kind.fields if each.required)
    if not required <= len(values) <= len(kind.fields):
        where = f"{path} has " if path else ""
        problems.append(f"{where}{len(values)} fields instead of {len(kind.fields)}")
    fields = {
        each.name: _read(each.type, one, f"{path}.{each.name}".lstrip("."), problems)
        for each, one in zip(kind.fields, values, strict=False)
    }
    if len(values) > len(kind.fields):
        fields["+"] = values[len(kind.fields) :]
    return fields


def _read(kind: inspect.Type, value: object, path: str, problems: list[str]) -> object:
    if isinstance(kind, inspect.UnionType):
        if value is None and any(isinstance(each, inspect.NoneType) for each in kind.types):
            return None
        kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.StructType):
        return _read_struct(kind, value, path, problems)
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [_read(kind.item_type, one, f"{path}[]", problems) for one in value]
    if isinstance(kind, inspect.TupleType) and isinstance(value, list):
        if len(value) != len(kind.item_types):
            problems.append(f"{path} has {len(value)} elements instead of {len(kind.item_types)}")
        pairs = zip(kind.item_types, value, strict=False)
        return [_read(each, one, path, problems) for each, one in pairs]
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {
            key: _read(kind.value_type, one, f"{path}[{key}]", problems)
            for key, one in value.items()
        }
    _check(kind, value, path, problems)
    return value


def _check(kind: inspect.Type, value: object, path: str, problems: list[str]) -> None:
    wanted, types = _SCALARS.get(type(kind), ("an array or map", ()))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        problems.append(f"{path} is {_shape(value)}, not {wanted}")
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            problems.append(f"{path} is not UTF-8")


def _shape(value: object) -> str:
    for wanted, types in _SCALARS.values():
        if type(value) in types:
            return wanted
    return type(value).__name__


def payload(encoding: object, name: str, data: object) -> object:
    """Return the value of `args` or `kwargs`; `{"hex": …}`: the bytes cannot be read."""
    if not isinstance(data, bytes):
        return data
    try:
        match encoding:
            case payloads.JSON:
                return json.loads(data)
            case payloads.MSGPACK:
                return msgpack.unpackb(data, raw=False, strict_map_key=False)
            case payloads.CBOR if name == "args":
                # The broker's reader; a plain one would follow tags that cost unlimited memory.
                return payloads.decode(payloads.CBOR, data, b"")[0]
            case payloads.CBOR:
                return payloads.decode(payloads.CBOR, b"", data)[1]
        return data.decode()
    except (*_BAD_MSGPACK, InvalidPayload, RecursionError):
        return {"hex": data.hex()}


def jsonable(value: object, depth: int = DEPTH) -> object:
    """Return the value in types of JSON: bytes as `{"hex": …}`, payloads decoded."""
    if not depth:
        return "…"
    match value:
        case dict():
            return {str(key): jsonable(one, depth - 1) for key, one in _readable(value).items()}
        case list() | tuple():
            return [jsonable(one, depth - 1) for one in value]
        case bytes():
            return {"hex": value.hex()}
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
    return str(value)


def _readable(fields: dict[object, object]) -> dict[object, object]:
    if "encoding" not in fields:
        return fields
    shown = dict(fields)
    for name in ("args", "kwargs"):
        if name in fields:
            shown[name] = payload(fields["encoding"], name, fields[name]) if fields[name] else None
    return shown
