"""Readers of the options of requests: from encoded bytes to validated options, with a cache.

Owns: the cache, and what a client is told of options that cannot be read. Never: which options
exist (see `options`).

Clients send few different options, but send them again and again. So parsed options are cached by
their encoded bytes, and the hot path is one dict lookup. Unknown options are ignored (WAMP
#extensibility). An option of a wrong type or range is refused with `wamp.error.invalid_argument`,
which names the option.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, final

from msgspec import MsgspecError, ValidationError

from fox_shard.errors import InvalidArgument, ProtocolViolation
from fox_shard.gateway.wamp.attributes import Attributes, attributes_of
from fox_shard.gateway.wamp.options import (
    CallOptions,
    CancelOptions,
    ErrorDetails,
    PartOptions,
    PublishOptions,
    RawCallOptions,
    RawPublishOptions,
    RawSubscribeOptions,
    RawYieldOptions,
    RegisterOptions,
    WampSubscribeOptions,
    Wanted,
    YieldOptions,
)

Decoder = Callable[[bytes], Any]
"""A function from encoded bytes to a value of the type that the decoder was made for."""

CACHE_ENTRIES: Final = 1024
CACHED_BYTES: Final = 128
"""Longer options, in bytes, are not cached; most of them are lists of sessions."""

BAD_INPUT: Final = (MsgspecError, ValueError, RecursionError)
"""The exceptions that decoders raise."""

_NO_TEXT: Final = "Invalid UTF-8"
"""What msgspec's error says of it from version 0.23 on; before, it raised UnicodeDecodeError."""

CHOICES: Final = {
    "match": "exact, prefix, wildcard",
    "weak": "true, false, public, private",
    "invoke": "single, first, last, random, roundrobin",
    "mode": "skip, kill, killnowait",
    "retain": "true, false, and seconds from 0 to 2³²",
}
"""The valid values of options that have only a few, for error messages."""

T = TypeVar("T")


class UnreadableValue(ValueError):
    """A well-formed value that has no meaning here, such as a CBOR tag in options."""


@final
class OptionsReader(Generic[T]):
    """The parser of one request's options in one encoding, with a cache."""

    __slots__ = ("_all", "_decode", "_make", "cache")

    def __init__(
        self,
        decode: Decoder,
        make: Callable[[Any, Attributes | None], T],
        all_: Decoder | None = None,
    ) -> None:
        """make: validates what `decode` returns, with the attributes that are passed on.

        all_: decodes all options, also unknown ones; None: none are passed on.
        """
        self._decode = decode
        self._make = make
        self._all = all_
        self.cache: dict[bytes, T] = {}

    def read(self, raw: bytes) -> T:
        """Parse encoded options. Raises InvalidArgument, ProtocolViolation."""
        options = self.cache.get(raw)
        if options is None:
            options = self._make(self._parse(raw), self._attributes(raw))
            if len(raw) <= CACHED_BYTES:
                if len(self.cache) >= CACHE_ENTRIES:
                    self.cache.clear()
                self.cache[raw] = options
        return options

    def _attributes(self, raw: bytes) -> Attributes | None:
        if self._all is None or b"_" not in raw:
            return None
        try:
            options = self._all(raw)
        except BAD_INPUT as error:
            raise InvalidArgument(f"the options cannot be read: {error}") from None
        return attributes_of(options)

    def _parse(self, raw: bytes) -> Any:  # noqa: ANN401 (what the decoder makes)
        try:
            return self._decode(raw)
        except ValidationError as error:
            problem, at, path = str(error).rpartition(" - at `$.")
            if at:
                name = path.rstrip("`")
                choices = f"; there are {CHOICES[name]}" if name in CHOICES else ""
                raise InvalidArgument(f"the option {name}: {problem}{choices}") from None
            raise ProtocolViolation(f"Options must be a dictionary: {error}") from None
        except (UnreadableValue, RecursionError) as error:
            raise InvalidArgument(f"the options cannot be read: {error}") from None
        except BAD_INPUT as error:
            if is_no_text(error):
                raise InvalidArgument(f"the options cannot be read: {error}") from None
            raise ProtocolViolation(f"the options cannot be read: {error}") from None


def is_no_text(error: Exception) -> bool:
    """Whether a decoder has found a string that is not UTF-8, in a message that is well-formed."""
    return isinstance(error, UnicodeDecodeError) or str(error).startswith(_NO_TEXT)


@final
class OptionsReaders:
    """The parsers of all requests' options in one encoding."""

    __slots__ = (
        "_wanted",
        "call",
        "cancel",
        "error",
        "part",
        "publish",
        "register",
        "subscribe",
        "yield_",
    )

    def __init__(
        self, decoder: Callable[[Any], Decoder], lenient: Callable[[Any], Decoder]
    ) -> None:
        """decoder: returns the decoder for a type. lenient: one that skips what it cannot read."""
        all_ = decoder(dict[str, Any])
        self.publish = OptionsReader(decoder(RawPublishOptions), PublishOptions.of, all_)
        self.subscribe = OptionsReader(decoder(RawSubscribeOptions), WampSubscribeOptions.of)
        self.call = OptionsReader(decoder(RawCallOptions), CallOptions.of, all_)
        self.part: OptionsReader[PartOptions] = OptionsReader(decoder(PartOptions), _unchanged)
        self.register: OptionsReader[RegisterOptions] = OptionsReader(
            decoder(RegisterOptions), _unchanged
        )
        self.cancel: OptionsReader[CancelOptions] = OptionsReader(
            decoder(CancelOptions), _unchanged
        )
        self.yield_ = OptionsReader(decoder(RawYieldOptions), YieldOptions.of, all_)
        self.error = OptionsReader(all_, ErrorDetails.of, all_)
        self._wanted = lenient(Wanted)

    def acknowledges(self, raw: bytes) -> bool:
        """Whether a refused PUBLISH, whose options may be invalid, asks for acknowledgement."""
        try:
            return bool(self._wanted(raw).acknowledge)
        except BAD_INPUT:
            return False

    def continues(self, raw: bytes) -> bool:
        """Whether further parts of a refused CALL, whose options may be invalid, follow."""
        try:
            return self._wanted(raw).progress is True
        except BAD_INPUT:
            return False


def _unchanged(options: T, _: Attributes | None) -> T:
    return options
