"""Schemas: the definitions of tables of all realms, and their way to the shards.

Owns: which schema a realm has, who has it already, the procedures `fox.schema.…`. Never: what a
schema means (see `tables.schema`), files, sending.

A new schema is stored here, then by all shards, then it is active. A step begins when the row that
says so is durable, so a coordinator that restarts goes on where it was. A schema that has begun its
way takes effect whatever is set meanwhile. The one that is set meanwhile waits, and its turn comes
when all shards work by the one before; only while it waits can a newer one take its place.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Final, final

from msgspec import Struct

from fox_shard.backplane.frames import (
    ActiveTables,
    Call,
    CallError,
    DefineTables,
    Frame,
    Result,
    TablesDefined,
)
from fox_shard.backplane.refusals import call_error
from fox_shard.coordinator import rows
from fox_shard.deadline import NEVER
from fox_shard.documents import payloads
from fox_shard.errors import (
    Canceled,
    InvalidArgument,
    InvalidPayload,
    NoSuchProcedure,
    Refusal,
    Timeout,
    Unavailable,
)
from fox_shard.store.journal import Journal
from fox_shard.tables.schema import LARGEST, TableSet, too_long

PREFIX: Final = "fox.schema."
"""The beginning of the procedures' names."""

SET: Final = "fox.schema.set"
GET: Final = "fox.schema.get"

LARGEST_CALL: Final = 2 * LARGEST
"""Bytes of arguments that are read: beyond that no encoding has a schema that is short enough. To
read 16 MB of lists only to refuse them would take a second or two."""

WAITING: Final = 0
"""The version of a schema whose turn has not come."""

Effects = list[tuple[str, Frame]]


class _Waiter(Struct):
    """A call of `fox.schema.set` whose schema is on its way, or waits for its turn.

    gateway: the caller's. version: the schema's; WAITING: its turn has not come. expires: when the
    call times out. superseded: the transaction in which another schema takes its place, 0: none
    does; the caller is told when that is durable, for until then a restart could bring it back.
    """

    realm: str
    gateway: str
    session: int
    request: int
    version: int
    expires: float
    superseded: int = 0

    def fail(self, refusal: Refusal) -> tuple[str, Frame]:
        """Return the answer to a call that has failed; its schema goes on."""
        return self.gateway, call_error(self.session, self.request, refusal)


@final
class _Realm:
    """The schemas of one realm: its row, and who has confirmed it."""

    __slots__ = ("confirmed", "durable", "name", "row")

    def __init__(self, name: str, row: rows.SchemaRow) -> None:
        self.name = name
        self.row = row
        #: Whether the row is in the store, so that shards may be told.
        self.durable = True
        #: The shards that have confirmed the present step.
        self.confirmed: set[str] = set()

    def settled(self, shards: frozenset[str]) -> bool:
        """Return whether all shards work by the last schema that has begun its way."""
        row = self.row
        return not row.next_version and (not row.version or self.confirmed == shards)


@final
class Schemas:
    """The schemas of all realms."""

    __slots__ = ("_files", "_journal", "_realms", "_shards", "_uncommitted", "_waiters")

    def __init__(
        self,
        shards: Sequence[str],
        realms: Sequence[str],
        files: Mapping[str, str],
        journal: Journal,
    ) -> None:
        """shards, realms: names. files: the texts of the configured schemas, by realm."""
        self._shards = frozenset(shards)
        self._realms = {name: _Realm(name, rows.SchemaRow()) for name in realms}
        self._files = files
        self._journal = journal
        # (ticket of the transaction that has a realm's row, realm). If the commit fails, the next
        # transaction, which has a higher ticket, has the row.
        self._uncommitted: deque[tuple[int, str]] = deque()
        # In the order of the calls.
        self._waiters: list[_Waiter] = []

    def load(self, realm: str, row: rows.SchemaRow) -> None:
        """Load the row of a realm from before the restart; it counts while it is configured."""
        if realm in self._realms:
            self._realms[realm] = _Realm(realm, row)

    def begin(self) -> None:
        """Take over the configured schemas that are others than those last read; after `load`."""
        for name, text in self._files.items():
            realm = self._realms[name]
            file = sha256(text.encode()).hexdigest()
            if file != realm.row.file:
                realm.row.file = file
                self._set(realm, TableSet.parse(text).text)

    # The way of a schema

    def _set(self, realm: _Realm, text: str) -> int:
        """Begin to give the realm this schema, or let it wait; return its version, or WAITING."""
        if realm.settled(self._shards):
            return self._begin_way(realm, text)
        realm.row.waiting_text = text
        # The present step goes on: what the shards have been told has not changed.
        self._keep(realm)
        return WAITING

    def _begin_way(self, realm: _Realm, text: str) -> int:
        row = realm.row
        row.next_version = row.version + 1
        row.next_text = text
        row.waiting_text = ""
        self._begin_step(realm)
        return row.next_version

    def _begin_step(self, realm: _Realm) -> None:
        """Keep the row; when it is durable, all shards are told."""
        realm.durable = False
        realm.confirmed.clear()
        self._keep(realm)
        self._uncommitted.append((self._journal.ticket, realm.name))

    def _keep(self, realm: _Realm) -> None:
        self._journal.keep(rows.schema(realm.name), rows.encode(realm.row))

    def replay(self) -> list[Frame]:
        """Return what a shard must know when its link opens."""
        return [
            frame for realm in self._realms.values() if realm.durable for frame in _frames(realm)
        ]

    def committed(self, ticket: int) -> Effects:
        """Go on with the realms whose rows are durable."""
        effects: Effects = []
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0][0] <= ticket:
            _, name = uncommitted.popleft()
            realm = self._realms[name]
            if not any(name == other for _, other in uncommitted):
                realm.durable = True
                effects += [
                    (shard, frame) for shard in sorted(self._shards) for frame in _frames(realm)
                ]
        return effects + self._refuse_superseded(ticket)

    def defined(self, shard: str, frame: TablesDefined) -> Effects:
        """Note that a shard has taken a step; take the next one when all have."""
        realm = self._realms.get(frame.realm)
        if realm is None or not realm.durable or shard not in self._shards:
            return []
        row = realm.row
        if row.next_version:
            if (frame.version, frame.active) != (row.next_version, False):
                return []
            realm.confirmed.add(shard)
            if realm.confirmed == self._shards:
                row.version, row.text = row.next_version, row.next_text
                row.next_version, row.next_text = 0, ""
                self._begin_step(realm)
            return []
        if (frame.version, frame.active) == (row.version, True):
            realm.confirmed.add(shard)
            if realm.confirmed == self._shards:
                return self._settle(realm)
        return []

    def _settle(self, realm: _Realm) -> Effects:
        """Answer the calls whose schema all shards work by, and begin the one that waits."""
        answers = self._answer(realm)
        if realm.row.waiting_text:
            version = self._begin_way(realm, realm.row.waiting_text)
            self._renumber(realm, WAITING, version)
        return answers

    def found(self, frame: ActiveTables) -> None:
        """Take over a shard's schema that this process does not know.

        Its store is in memory, or a dump has been loaded.
        """
        realm = self._realms.get(frame.realm)
        if realm is not None and frame.version > realm.row.version:
            row = realm.row
            row.version, row.text = frame.version, frame.text
            if 0 < row.next_version <= frame.version:
                self._renumber(realm, row.next_version, frame.version + 1)
                row.next_version = frame.version + 1
            self._begin_step(realm)

    # Procedures

    def call(self, gateway: str, call: Call, now: float) -> Effects:
        """Answer a call, at once or when its schema is active. now: monotonic seconds."""
        try:
            realm = self._realms.get(call.realm)
            if realm is None or call.procedure not in (SET, GET):
                raise NoSuchProcedure(f"The router has no procedure {call.procedure}.")
            if call.procedure == GET:
                return [(gateway, self._get(realm, call))]
            text = TableSet.parse(_argument(call)).text
        except Refusal as refusal:
            return [(gateway, call_error(call.session, call.request, refusal))]
        version = self._set(realm, text)
        if version == WAITING:
            self._supersede(realm)
        expires = now + call.timeout / 1000 if call.timeout else NEVER
        waiter = _Waiter(realm.name, gateway, call.session, call.request, version, expires)
        self._waiters.append(waiter)
        return []

    @property
    def waiting(self) -> int:
        """How many calls wait until their schemas have taken effect, or are refused."""
        return len(self._waiters)

    def _get(self, realm: _Realm, call: Call) -> Result | CallError:
        row = realm.row
        schema = json.loads(row.text) if row.text else {}
        return _result(call.session, call.request, [schema], {"version": row.version})

    def _supersede(self, realm: _Realm) -> None:
        """Note whose schema another one takes the place of, in this transaction."""
        for one in self._waiters:
            if one.realm == realm.name and one.version == WAITING and not one.superseded:
                one.superseded = self._journal.ticket

    def _refuse_superseded(self, ticket: int) -> Effects:
        refusal = Unavailable(
            "Another schema has been set before this one's turn, and takes its place."
        )
        return [one.fail(refusal) for one in self._take(lambda one: 0 < one.superseded <= ticket)]

    def _answer(self, realm: _Realm) -> Effects:
        name, version = realm.name, realm.row.version
        done = self._take(lambda one: one.realm == name and WAITING < one.version <= version)
        return [(one.gateway, _result(one.session, one.request, [one.version], {})) for one in done]

    def _renumber(self, realm: _Realm, version: int, other: int) -> None:
        for one in self._waiters:
            if (one.realm, one.version) == (realm.name, version) and not one.superseded:
                one.version = other

    def _take(self, wanted: Callable[[_Waiter], bool]) -> list[_Waiter]:
        """Take out calls that are to be answered."""
        taken = [one for one in self._waiters if wanted(one)]
        self._waiters = [one for one in self._waiters if not wanted(one)]
        return taken

    def cancel(self, gateway: str, session: int, request: int) -> Effects:
        """Answer a call that is canceled, if it waits."""
        call = (gateway, session, request)
        mine = self._take(lambda one: (one.gateway, one.session, one.request) == call)
        return [one.fail(Canceled("The call was canceled; its schema goes on.")) for one in mine]

    @property
    def next_expiry(self) -> float:
        """When `expire` is due."""
        return min((one.expires for one in self._waiters), default=NEVER)

    def expire(self, now: float) -> Effects:
        """Answer the calls that have timed out."""
        refusal = Timeout("Not all shards have the schema yet; it goes on.")
        return [one.fail(refusal) for one in self._take(lambda one: one.expires <= now)]

    def gateway_gone(self, gateway: str) -> None:
        """Forget the calls of a gateway with which the pair has ended; their schemas go on."""
        self._waiters = [one for one in self._waiters if one.gateway != gateway]


def _frames(realm: _Realm) -> list[Frame]:
    """Return the frames of the present step, and those that a shard may have missed."""
    row = realm.row
    frames: list[Frame] = []
    if row.version:
        frames.append(DefineTables(realm.name, row.version, row.text, active=True))
    if row.next_version:
        frames.append(DefineTables(realm.name, row.next_version, row.next_text, active=False))
    return frames


def _argument(call: Call) -> str | dict[str, object]:
    if len(call.args) > LARGEST_CALL:
        raise too_long()
    try:
        args, kwargs = payloads.decode(call.encoding, call.args, call.kwargs)
    except InvalidPayload as error:
        raise InvalidArgument(error.message) from None
    if len(args) != 1 or kwargs or not isinstance(args[0], str | dict):
        raise InvalidArgument("The only argument must be the schema: an object, or JSON text.")
    return args[0]


def _result(session: int, request: int, args: list[object], kwargs: dict[str, object]) -> Result:
    encoded, named = payloads.encode(args, kwargs, payloads.MSGPACK)
    return Result(
        session=session,
        request=request,
        progress=False,
        encoding=payloads.MSGPACK,
        args=encoded,
        kwargs=named,
    )
