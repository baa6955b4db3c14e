"""The options of requests: validated, and turned into what frames need.

Owns: which options exist, their types, ranges and defaults. Never: their encodings (see
`option_readers`); sessions; where frames go.
"""

from math import isnan
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from fox_shard.backplane import frames
from fox_shard.documents.filters import Filter, check_levels
from fox_shard.documents.nesting import DEPTH_LIMIT, too_deep
from fox_shard.errors import InvalidArgument, LimitExceeded
from fox_shard.gateway.option_values import OPTION_BYTES, packed, packed_document
from fox_shard.gateway.sessions.subscription import SubscribeOptions
from fox_shard.gateway.wamp.attributes import Attributes
from fox_shard.gateway.wamp.messages import Id
from fox_shard.topics.ids import SHARDS, TICKS

Match = Literal["exact", "prefix", "wildcard"]
Milliseconds = Annotated[int, Meta(ge=0, le=1 << 53)]
Seconds = Annotated[int, Meta(ge=0, le=1 << 32)] | Annotated[float, Meta(ge=0, le=1 << 32)]
PublicationId = Annotated[int, Meta(ge=0, lt=1 << 53)]
Concurrency = Annotated[int, Meta(ge=1, le=1 << 31)]

CLOCK_SKEW: Final = 2 * TICKS * SHARDS
"""How far the clocks of other shards may lag behind: two seconds, in publication ids."""

DURABLE_LENGTH: Final = 256
"""Characters of the longest name of a durable reducer."""

LISTED: Final = 1000
"""The most elements of a list of sessions, authids or authroles, which are kept with keys."""


class RawPublishOptions(Struct, gc=False):
    """PUBLISH.Options, as the client sends them."""

    acknowledge: bool = False
    exclude_me: bool = True
    disclose_me: bool = False
    retain: bool | Seconds = False
    weak: bool | Literal["public", "private"] = False
    will: Any = UNSET
    when: dict[str, Any] | UnsetType | None = UNSET
    when_id: PublicationId | UnsetType = UNSET
    watch: bool = False
    patch: bool = False
    sequence: bool = False
    trace: bool = False
    exclude: list[Id] | None = None
    exclude_authid: list[str] | None = None
    exclude_authrole: list[str] | None = None
    eligible: list[Id] | None = None
    eligible_authid: list[str] | None = None
    eligible_authrole: list[str] | None = None


class PublishOptions(Struct, frozen=True, gc=False):
    """PUBLISH.Options, validated. flags, audience, retain: as in `frames.Publish`."""

    flags: int
    audience: frames.Audience | None
    retain: frames.RetainOptions | None
    attributes: Attributes | None = None

    @classmethod
    def of(cls, wire: RawPublishOptions, attributes: Attributes | None) -> "PublishOptions":
        """Validate the options. Raises InvalidArgument, LimitExceeded."""
        flags = 0
        for wanted, flag in (
            (wire.acknowledge, frames.ACKNOWLEDGE),
            (wire.exclude_me, frames.EXCLUDE_ME),
            (wire.disclose_me, frames.DISCLOSE),
            (wire.retain is not False or wire.sequence, frames.RETAIN),
            (wire.trace, frames.TRACE),
        ):
            if wanted:
                flags |= flag
        lists = (
            wire.exclude,
            wire.exclude_authid,
            wire.exclude_authrole,
            wire.eligible,
            wire.eligible_authid,
            wire.eligible_authrole,
        )
        limited = any(names is not None for names in lists)
        if limited:
            _check_lists(lists)
        retain = _retain_options(wire)
        if retain is not None and (retain.when is not None or retain.when_id is not None):
            flags |= frames.CONDITION
        audience = frames.Audience(*lists) if limited else None
        return cls(flags, audience, retain, attributes)


def _check_lists(lists: tuple[list[int] | list[str] | None, ...]) -> None:
    """Raise LimitExceeded if a list of receivers is too long. lists: in the order of `Audience`."""
    for name, listed in zip(frames.Audience.__struct_fields__, lists, strict=True):
        if listed is not None and len(listed) > LISTED:
            sentence = f"the option {name}: {len(listed)} elements, of at most {LISTED}"
            raise LimitExceeded(sentence).beyond("option_size")
        if listed and isinstance(listed[0], str) and sum(map(len, listed)) > OPTION_BYTES:
            sentence = f"the option {name}: more than {OPTION_BYTES} characters"
            raise LimitExceeded(sentence).beyond("option_size")


def _retain_options(wire: RawPublishOptions) -> frames.RetainOptions | None:
    """Return how the publish becomes a key, and on which condition; None: all by default.

    Both `retain: true` and `retain: 0` mean for ever. Raises InvalidArgument.
    """
    seconds = 0.0 if isinstance(wire.retain, bool) else float(wire.retain)
    if isnan(seconds):
        raise InvalidArgument("the option retain: a number of seconds, or true for ever, not NaN")
    _check_combinations(wire)
    if isinstance(wire.when, dict):
        check_levels(wire.when, "when")
    will = None if wire.will is UNSET else _will(wire.will)
    retain = frames.RetainOptions(
        seconds,
        when_id=None if wire.when_id is UNSET else wire.when_id,
        when=None if wire.when is UNSET else packed_document(wire.when, "when"),
        # A will without a value means the same as `weak`.
        weak=wire.weak is not False or will == b"",
        will=will or None,
        watch=wire.watch,
        patch=wire.patch,
        sequence=wire.sequence,
        private=wire.weak == "private",
    )
    return None if retain == frames.RetainOptions() else retain


def _check_combinations(wire: RawPublishOptions) -> None:
    """Raise InvalidArgument if an option lacks a condition that it needs, or excludes another."""
    conditional = wire.when is not UNSET or wire.when_id is not UNSET
    if wire.watch and not conditional:
        raise InvalidArgument("the option watch waits for a condition: it needs when or when_id")
    if wire.sequence and (conditional or wire.patch):
        raise InvalidArgument(
            "the option sequence makes a new key: it excludes when, when_id and patch"
        )


def _will(value: object) -> bytes:
    """Return the will's arguments: a list is all of them, any other value the only one."""
    args = value if isinstance(value, list) else [value]
    if too_deep(args):
        # The value is an event's arguments once the session ends.
        sentence = f"the option will: more than {DEPTH_LIMIT} levels"
        raise LimitExceeded(sentence).beyond("nesting")
    return b"" if args in ([], [None]) else packed(args, "will")


class RawSubscribeOptions(Struct, gc=False):
    """SUBSCRIBE.Options, as the client sends them. `retainedState` is another `get_retained`."""

    match: Match = "exact"
    get_retained: bool = False
    retainedState: bool = False
    retained: bool = False
    filter: dict[str, Any] = {}
    after: PublicationId | Annotated[list[PublicationId], Meta(max_length=64)] | None = None
    snapshot: bool = False


class WampSubscribeOptions(Struct, frozen=True, gc=False):
    """SUBSCRIBE.Options, validated: the matching policy, and the options for the gateway."""

    match: str
    subscribe_options: SubscribeOptions

    @classmethod
    def of(cls, wire: RawSubscribeOptions, _: Attributes | None) -> "WampSubscribeOptions":
        """Validate the options. Raises InvalidArgument."""
        if wire.retained and wire.after is not None:
            raise InvalidArgument(
                "the option after is about events, and retained about keys: subscribe twice"
            )
        after, floor = _after_and_floor(wire.after)
        keys = wire.get_retained or wire.retainedState or wire.retained
        if wire.filter:
            Filter(wire.filter)
        subscribe_options = SubscribeOptions(
            replay=keys or (wire.snapshot and after is None),
            state=wire.retained,
            filter=packed_document(wire.filter, "filter") if wire.filter else b"",
            after=after,
            floor=floor,
            snapshot=wire.snapshot,
        )
        return cls(wire.match, subscribe_options)


def _after_and_floor(after: int | list[int] | None) -> tuple[tuple[int, ...] | None, int]:
    """Return `after` and `floor` of `SubscribeOptions`; the floor is for shards without an id.

    With a single id, the other shards' clocks are assumed to be less than two seconds behind.
    """
    if after is None or after == 0:
        return (None if after is None else ()), 0
    if isinstance(after, int):
        return (after,), max(0, after - CLOCK_SKEW)
    return tuple(after), 0


class RawCallOptions(Struct, gc=False):
    """CALL.Options, as the client sends them."""

    timeout: Milliseconds = 0
    progress: bool = False
    receive_progress: bool = False
    disclose_me: bool = False


class CallOptions(Struct, frozen=True, gc=False):
    """CALL.Options, validated. flags: as in `frames.Call`. timeout: milliseconds, 0: none."""

    flags: int
    timeout: int
    attributes: Attributes | None = None

    @classmethod
    def of(cls, wire: RawCallOptions, attributes: Attributes | None) -> "CallOptions":
        """Turn the options into flags."""
        flags = frames.PROGRESS if wire.receive_progress else 0
        if wire.disclose_me:
            flags |= frames.DISCLOSE_CALLER
        if wire.progress:
            flags |= frames.CONTINUES
        return cls(flags, wire.timeout, attributes)


class PartOptions(Struct, frozen=True, gc=False):
    """CALL.Options of a further part of a call, of which only this one counts."""

    progress: bool = False


class RegisterOptions(Struct, frozen=True, gc=False):
    """REGISTER.Options. concurrency: how many invocations may run at once; None: unlimited.

    disclose_caller: the callee is told who calls (WAMP #rpc-caller-identification). reducer: the
    procedure is a reducer. mission, durable: see `frames.RegisterReducer`. webhook: the name of the
    one whose events are posted by this reducer; only who may do everything may register it.
    """

    match: Match = "exact"
    invoke: Literal["single", "first", "last", "random", "roundrobin"] = "single"
    concurrency: Concurrency | None = None
    force_reregister: bool = False
    disclose_caller: bool = False
    reducer: bool = False
    mission: str = ""
    durable: str = ""
    webhook: str = ""


class CancelOptions(Struct, frozen=True, gc=False):
    """CANCEL.Options.

    WAMP names no default mode. Ours, `killnowait`, answers the caller at once and stops the callee.
    """

    mode: Literal["skip", "kill", "killnowait"] = "killnowait"


class RawYieldOptions(Struct, gc=False):
    """YIELD.Options, as the client sends them."""

    progress: bool = False


class YieldOptions(Struct, frozen=True, gc=False):
    """YIELD.Options, validated."""

    progress: bool = False
    attributes: Attributes | None = None

    @classmethod
    def of(cls, wire: RawYieldOptions, attributes: Attributes | None) -> "YieldOptions":
        """Add the attributes that are passed on."""
        return cls(wire.progress, attributes)


class ErrorDetails(Struct, gc=False):
    """ERROR.Details, of which only attributes that are passed on matter."""

    attributes: Attributes | None = None

    @classmethod
    def of(cls, _: object, attributes: Attributes | None) -> "ErrorDetails":
        """Return the details with these attributes, whatever else they contain."""
        return cls(attributes)


class Wanted(Struct, gc=False):
    """Options that count whatever the others are.

    acknowledge: whether a PUBLISH is answered. progress: whether further parts of a CALL follow.
    """

    acknowledge: Any = False
    progress: Any = False
