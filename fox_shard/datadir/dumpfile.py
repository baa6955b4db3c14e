"""A dump: schemas and retained keys as a stream of records, in JSON lines or MessagePack.

Owns: the records, both forms of them, and which files are refused. Never: stores.

The first record is a `Header`, the last an `End` that counts the keys between them, so that a dump
that was cut off is recognised. A `Schema` comes before all keys.

MessagePack holds the bytes of payloads. JSON lines show a payload in the first of these fields from
which exactly the same bytes come back:

| field | content |
|---|---|
| `args`, `kwargs` | the arguments of a WAMP event, as JSON |
| `payload` | an MQTT message that is JSON |
| `text` | an MQTT message in UTF-8 |
| `base64` | the bytes of any args and kwargs |
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, BinaryIO, Final, Literal, TypeAlias, TypeVar

import msgpack
import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, structs

from fox_shard.backplane.frames import Audience, Event, Identity, Publish, RetainOptions
from fox_shard.documents import payloads
from fox_shard.errors import InvalidPayload
from fox_shard.store.store import StoreError

Form: TypeAlias = Literal["jsonl", "msgpack"]

VERSION: Final = 2
"""The newest version that is read."""

WITHOUT_SCHEMAS: Final = 1
"""The version of a dump without schemas, which fox-shard 0.1.0 reads, too."""

_ENCODINGS: Final = {
    "none": payloads.NONE,
    "json": payloads.JSON,
    "msgpack": payloads.MSGPACK,
    "cbor": payloads.CBOR,
    "raw": payloads.RAW,
}
_NAMES: Final = {number: name for name, number in _ENCODINGS.items()}

Encoding = Literal["none", "json", "msgpack", "cbor", "raw"]
RealmName = Annotated[str, Meta(pattern=r"^[^\x00]+\Z")]


_UNREADABLE: Final = (
    InvalidPayload,
    ValueError,
    RecursionError,
    msgspec.MsgspecError,
    msgpack.UnpackException,
)
"""The errors that codecs raise for payloads and records that they cannot read."""


class Header(Struct, tag="header", tag_field="record"):
    """The first record. shards: the number of shards of the dumped folder."""

    version: int
    shards: int


class Schema(Struct, tag="schema", tag_field="record", forbid_unknown_fields=True):
    """The active schema of a realm. text: JSON."""

    realm: RealmName
    text: str


class End(Struct, tag="end", tag_field="record"):
    """The last record. keys: the number of keys before it."""

    keys: int


class Publisher(Struct, forbid_unknown_fields=True):
    """The publisher of a key; see `frames.Identity`."""

    authid: str
    authrole: str


class Limits(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The audience of a key; see `frames.Audience`."""

    exclude: list[int] | None = None
    exclude_authid: list[str] | None = None
    exclude_authrole: list[str] | None = None
    eligible: list[int] | None = None
    eligible_authid: list[str] | None = None
    eligible_authrole: list[str] | None = None


class _About(Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A retained key without its payload; see `frames.Event` and `frames.Publish`."""

    realm: RealmName
    topic: str
    publication: Annotated[int, Meta(ge=0, lt=1 << 53)]
    encoding: Encoding
    session: int = 0
    request: int = 0
    order: int = 0
    flags: int = 0
    publisher: Publisher | None = None
    audience: Limits | None = None
    expires: float = 0.0


class Key(_About, tag="key", tag_field="record", kw_only=True):
    """A retained key, with its payload in bytes as in MessagePack."""

    args: bytes = b""
    kwargs: bytes = b""


class _Line(_About, tag="key", tag_field="record", kw_only=True):
    """A retained key in JSON, with its payload in one of the fields that the module lists."""

    args: Raw | UnsetType = UNSET
    kwargs: Raw | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    text: str | UnsetType = UNSET
    base64: tuple[str, str] | UnsetType = UNSET


_ABOUT: Final = structs.fields(_About)

_Kind = TypeVar("_Kind", bound=Struct)


def key_of(event: Event) -> Key:
    """Return the record of a retained key."""
    publish = event.publish
    return Key(
        realm=publish.realm,
        topic=publish.topic,
        publication=event.publication,
        session=publish.session,
        request=publish.request,
        order=publish.order,
        flags=publish.flags,
        encoding=_NAMES[publish.encoding],  # type: ignore[arg-type]
        args=publish.args,
        kwargs=publish.kwargs,
        publisher=_as(Publisher, publish.publisher),
        audience=_as(Limits, publish.audience),
        expires=publish.retain.expires if publish.retain else 0.0,
    )


def event_of(key: Key) -> Event:
    """Return the retained key of a record."""
    publish = Publish(
        realm=key.realm,
        topic=key.topic,
        session=key.session,
        request=key.request,
        order=key.order,
        flags=key.flags,
        encoding=_ENCODINGS[key.encoding],
        args=key.args,
        kwargs=key.kwargs,
        publisher=_as(Identity, key.publisher),
        audience=_as(Audience, key.audience),
        retain=RetainOptions(expires=key.expires) if key.expires else None,
    )
    return Event(key.publication, publish)


def _as(kind: type[_Kind], value: Struct | None) -> _Kind | None:
    """Return the same fields in a struct of another kind; None: there is no struct."""
    return None if value is None else kind(**structs.asdict(value))


# Writing


def write(
    out: BinaryIO, form: Form, shards: int, keys: Iterable[Key], schemas: Sequence[Schema] = ()
) -> int:
    """Write a dump. shards: for the header. Returns the number of keys. Raises OSError."""
    encode = _ENCODERS[form]
    out.write(encode(Header(VERSION if schemas else WITHOUT_SCHEMAS, shards)))
    for schema in schemas:
        out.write(encode(schema))
    count = 0
    for key in keys:
        out.write(encode(key))
        count += 1
    out.write(encode(End(count)))
    out.flush()
    return count


def _encode_line(record: Header | Schema | Key | End) -> bytes:
    if not isinstance(record, Key):
        return msgspec.json.encode(record) + b"\n"
    about = {field.name: getattr(record, field.name) for field in _ABOUT}
    for show in (_shown_as_values, _shown_as_text):
        try:
            line = msgspec.json.encode(_Line(**about, **show(record)))
            if b"\n" not in line and line.decode() and _decode_line(line) == record:
                return line + b"\n"
        except _UNREADABLE:
            # The payload cannot be shown in this way. Base64, the last way, always works.
            continue
    both = (_to_base64(record.args), _to_base64(record.kwargs))
    return msgspec.json.encode(_Line(**about, base64=both)) + b"\n"


def _shown_as_values(key: Key) -> dict[str, Any]:
    if key.encoding == "raw":
        return {"payload": Raw(key.args)} if key.args else {}
    encoding = _ENCODINGS[key.encoding]
    args, kwargs = payloads.transcode(encoding, key.args, key.kwargs, payloads.JSON)
    shown = {"args": args, "kwargs": kwargs}
    return {name: Raw(data) for name, data in shown.items() if data}


def _shown_as_text(key: Key) -> dict[str, Any]:
    return {"text": key.args.decode()}


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


_ENCODERS: Final = {"jsonl": _encode_line, "msgpack": msgspec.msgpack.Encoder().encode}

# Reading


def read(source: BinaryIO) -> Iterator[Schema | Key]:
    """Yield the schemas of a dump in either form, and then the keys.

    Raises StoreError if the dump is damaged, was cut off (known only after its last key), is of a
    newer version, or is no dump. Raises OSError.
    """
    found = _records(source)
    header = next(found, None)
    if not isinstance(header, Header):
        raise StoreError("This is no dump of fox-shard: it does not begin with its header.")
    if header.version > VERSION:
        raise StoreError(
            f"The dump is of version {header.version}, and this version of fox-shard reads "
            f"{VERSION}: load it with the version of fox-shard that wrote it."
        )
    count = 0
    for record in found:
        match record:
            case Schema() if not count:
                yield record
            case Key():
                count += 1
                yield record
            case End(keys=expected) if expected == count and next(found, None) is None:
                return
            case _:
                raise StoreError(f"The dump is damaged: {count} keys are not all, or it goes on.")
    raise StoreError(f"The dump was cut off behind its key number {count}: nothing was loaded.")


def _records(source: BinaryIO) -> Iterator[Header | Schema | Key | End]:
    first = source.read(1)
    number = 0
    try:
        for record in _decoded(first, source):
            number += 1
            yield record
    except _UNREADABLE as error:
        what = "This is no dump of fox-shard" if number == 0 else "The dump is damaged"
        raise StoreError(f"{what}: its record number {number + 1}: {error}.") from error


def _decoded(first: bytes, source: BinaryIO) -> Iterator[Header | Schema | Key | End]:
    if first == b"{":
        lines = iter(source)
        for line in chain([first + next(lines, b"")], lines):
            yield _decode_line(line)
    elif first:
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        data = first
        while data:
            unpacker.feed(data)
            for record in unpacker:
                yield msgspec.convert(record, Header | Schema | Key | End)
            data = source.read(1 << 16)


def _decode_line(data: bytes) -> Header | Schema | Key | End:
    record: Header | Schema | _Line | End = _LINES.decode(data)
    if not isinstance(record, _Line):
        return record
    about = {field.name: getattr(record, field.name) for field in _ABOUT}
    args, kwargs = _payload(record)
    return Key(**about, args=args, kwargs=kwargs)


def _payload(line: _Line) -> tuple[bytes, bytes]:
    if line.base64 is not UNSET:
        args, kwargs = line.base64
        return base64.b64decode(args, validate=True), base64.b64decode(kwargs, validate=True)
    if line.encoding == "raw":
        return (line.text.encode() if line.text is not UNSET else _bytes(line.payload)), b""
    if line.encoding == "none":
        return b"", b""
    return payloads.transcode(
        payloads.JSON, _bytes(line.args), _bytes(line.kwargs), _ENCODINGS[line.encoding]
    )


def _bytes(raw: Raw | UnsetType) -> bytes:
    return b"" if raw is UNSET else bytes(raw)


_LINES: Final = msgspec.json.Decoder(Header | Schema | _Line | End)
