"""The publishes of all writers, and the checks of what readers are shown.

Owns: the record of each writer's publishes and acknowledgements, the checks. Never: connections,
time.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

PREFIX = "chaos"


class Kind(Enum):
    """Kinds of publishes. KEEP and ERASE are retained, with and without a payload."""

    KEEP = "keep"
    ERASE = "erase"
    PLAIN = "plain"


class Mark(NamedTuple):
    """The payload of a publish: its writer, and the numbers of the connection and the publish."""

    writer: str
    connection: int
    number: int


def read_mark(args: object) -> Mark | None:
    """Return the mark in an event's arguments; None if there is none, as in an empty event."""
    if isinstance(args, list) and len(args) == 3:
        return Mark(*args)
    return None


class Operation:
    """One publish. Topics are in WAMP's notation, times in seconds of the run.

    acknowledged: when, or None. publication: the id in PUBLISHED; None: not acknowledged, or MQTT.
    fate: in words.
    """

    __slots__ = ("acknowledged", "connection", "fate", "kind", "publication", "sent", "topic")

    def __init__(self, topic: str, kind: Kind, connection: int, sent: float) -> None:
        self.topic = topic
        self.kind = kind
        self.connection = connection
        self.sent = sent
        self.acknowledged: float | None = None
        self.publication: int | None = None
        self.fate = "unanswered"


class Account:
    """The publishes of one writer, numbered 1, 2, 3 …."""

    def __init__(self, writer: str, how: str) -> None:
        """how: the protocol, `wamp`, or `mqtt` and the quality of service."""
        self.writer = writer
        self.how = how
        self.operations: list[Operation] = []
        # By topic: the numbers of all retained publishes, and of the last acknowledged one.
        self.history: dict[str, list[int]] = {}
        self.safe: dict[str, int] = {}
        self.acknowledged = 0

    def send(self, operation: Operation) -> int:
        """Record a publish that is being sent, and return its number."""
        self.operations.append(operation)
        number = len(self.operations)
        if operation.kind is not Kind.PLAIN:
            self.history.setdefault(operation.topic, []).append(number)
        return number

    def acknowledge(self, number: int, now: float, publication: int | None) -> None:
        """Record an acknowledgement. publication: the id, None from MQTT."""
        operation = self[number]
        operation.acknowledged, operation.fate = now, "acknowledged"
        operation.publication = publication
        self.acknowledged += 1
        if operation.kind is not Kind.PLAIN:
            self.safe[operation.topic] = max(number, self.safe.get(operation.topic, 0))

    def __getitem__(self, number: int) -> Operation:
        return self.operations[number - 1]

    def line(self, number: int) -> str:
        """Describe a publish in one line."""
        one = self[number]
        end = "" if one.acknowledged is None else f" at {one.acknowledged:.3f}"
        identity = "" if one.publication is None else f", publication {one.publication}"
        return (
            f"{self.writer} ({self.how}) #{number} {one.kind.value} {one.topic}, connection "
            f"{one.connection}, sent at {one.sent:.3f}, {one.fate}{end}{identity}"
        )

    def lines_of(self, topic: str) -> Iterator[str]:
        """Describe the publishes to a key, from just before the last acknowledged one."""
        numbers = self.history.get(topic, [])
        safe = self.safe.get(topic, 0)
        before = sum(number < safe for number in numbers)
        yield from (f"    {self.line(number)}" for number in numbers[max(0, before - 2) :])


class Found(NamedTuple):
    """A key as shown to a reader. publication: its id, None from MQTT."""

    mark: Mark
    publication: int | None


class Ledger:
    """The accounts of all writers, by the writers' names."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def open(self, writer: str, how: str) -> Account:
        """Add an account; see `Account`."""
        account = self.accounts[writer] = Account(writer, how)
        return account

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged publishes."""
        return sum(account.acknowledged for account in self.accounts.values())

    @property
    def keys(self) -> int:
        """The number of keys that were ever written."""
        return sum(len(account.history) for account in self.accounts.values())

    def judge_keys(self, reader: str, found: Mapping[str, Found]) -> Iterator[str]:
        """Yield complaints about the keys shown to a new reader. found: key by topic."""
        for account in self.accounts.values():
            for topic in account.history:
                complaint = _wrong(account, topic, found.get(topic))
                if complaint:
                    yield "\n".join((f"{reader}: {topic} {complaint}", *account.lines_of(topic)))
        known = {topic for account in self.accounts.values() for topic in account.history}
        for topic in found.keys() - known:
            yield f"{reader}: {topic} is a key, and nobody has published it"

    def judge_ids(self) -> Iterator[str]:
        """Yield complaints about publication ids that two publishes have in common."""
        first: dict[int, str] = {}
        for account in self.accounts.values():
            for number, operation in enumerate(account.operations, 1):
                if operation.publication is not None:
                    line = account.line(number)
                    other = first.setdefault(operation.publication, line)
                    if other is not line:
                        yield f"the same publication id twice:\n    {other}\n    {line}"


def _wrong(account: Account, topic: str, found: Found | None) -> str:
    """Return what is wrong with a key; "" if nothing is.

    A key must have the last acknowledged value or a later one. A key may be missing if a publish
    that erases it is the last acknowledged one or later, or if none is acknowledged.
    """
    safe = account.safe.get(topic, 0)
    if found is None:
        later = [number for number in account.history[topic] if number >= safe]
        if not safe or any(account[number].kind is Kind.ERASE for number in later):
            return ""
        return "is missing"
    number = found.mark.number
    if found.mark.writer != account.writer or number not in account.history[topic]:
        return f"has a value that was never published there: {found.mark}"
    if number < safe:
        return f"is #{number}, older than what was acknowledged"
    publication = account[number].publication
    if None not in (publication, found.publication) and publication != found.publication:
        return f"is #{number} with the publication id {found.publication}"
    return ""


class Watch:
    """The live events of a subscriber that stays connected, and complaints about them.

    Each event must come in the order of its writer's connection, and once, except that a plain
    publish may be repeated.
    """

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.name = name
        self._ledger = ledger
        self.complaints: list[str] = []
        self.events = 0
        # Number of plain publishes that came again.
        self.repeated = 0
        self._seen: dict[str, set[int]] = {}
        self._last: dict[tuple[str, int], int] = {}
        self._ids: set[int] = set()

    def see(self, topic: str, args: object, publication: int | None) -> None:
        """Check an event. publication: its id, None from MQTT."""
        self.events += 1
        mark = read_mark(args)
        new_id = publication is None or publication not in self._ids
        if publication is not None:
            self._ids.add(publication)
        if mark is not None:
            self._see(mark, new_id)
        elif not new_id:
            self.complaints.append(f"{self.name}: {topic} was erased twice as {publication}")

    def _see(self, mark: Mark, new_id: bool) -> None:  # noqa: FBT001
        account = self._ledger.accounts[mark.writer]
        seen = self._seen.setdefault(mark.writer, set())
        line = f"    {account.line(mark.number)}"
        if mark.number in seen:
            if account[mark.number].kind is Kind.PLAIN:
                self.repeated += 1
            else:
                same = "another" if new_id else "the same"
                self.complaints.append(f"{self.name}: came twice, with {same} id\n{line}")
            return
        seen.add(mark.number)
        last = self._last.get((mark.writer, mark.connection), 0)
        if mark.number < last:
            after = f"    {account.line(last)}"
            self.complaints.append(f"{self.name}: came late\n{line}\n  behind\n{after}")
        else:
            self._last[mark.writer, mark.connection] = mark.number

    def judge(self, writers: Iterable[str]) -> Iterator[str]:
        """Yield all complaints, also about acknowledged publishes of `writers` that are missing.

        To be called when the writers have ended.
        """
        yield from self.complaints
        for writer in writers:
            account = self._ledger.accounts[writer]
            seen = self._seen.get(writer, set())
            for number, operation in enumerate(account.operations, 1):
                if operation.acknowledged is not None and not self._has(operation, number, seen):
                    yield f"{self.name}: was never seen\n    {account.line(number)}"

    def _has(self, operation: Operation, number: int, seen: set[int]) -> bool:
        if operation.publication is not None and self._ids:
            return operation.publication in self._ids
        return number in seen or operation.kind is Kind.ERASE


def payload(mark: Mark) -> list[Any]:
    """Return the arguments to publish."""
    return list(mark)
