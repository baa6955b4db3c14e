"""A lock: a weak key that one session has at a time, and a command that runs meanwhile.

Owns: taking, watching and releasing the lock; that the command runs only while it is held.
Never: the command's process (`command`).
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Final, NamedTuple, final

from fox_shard.client import ConnectionLost, Event, NoAnswer, Refused, Session
from fox_shard.config import Config
from fox_shard.errors import ConditionFailed
from fox_shard.remote.command import Command
from fox_shard.remote.connecting import TEMPORARY, Target, tell
from fox_shard.remote.values import as_json, value_of

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Exit codes for commands that cannot be started, as in shells."""

SIGHT: Final = 15.0
"""Seconds in which the router must show us our own lock."""

HOLDER: Final = 1.0
"""Seconds in which to learn who holds the lock that we did not get."""

VIGILANCE: Final = 0.8
"""Part of `backplane.peer_timeout` after which a silent gateway is given up.

After the whole `peer_timeout`, the shards take the gateway for dead, and give the lock to the next
waiter.
"""


class Terms(NamedTuple):
    """Times in seconds. wait: for the lock; `inf`: no limit. grace: from SIGTERM to SIGKILL."""

    wait: float = inf
    grace: float = 5.0


def vigilant(target: Target, config: Config) -> Target:
    """Return the target with a patience that notices in time that the gateway is gone."""
    return target._replace(patience=VIGILANCE * config.backplane.peer_timeout)


class Held(Exception):
    """Another session has the lock; the message says which."""


def run_under_lock(
    session: Session, name: str, value: object, terms: Terms, command: Sequence[str]
) -> int:
    """Run the command while the lock is held.

    Returns the command's exit code, or one that says why the command did not run to its end.
    """
    lock = Lock(session, name)
    try:
        fence = lock.take(value, terms.wait)
    except Held as held:
        tell(str(held))
        return TEMPORARY
    try:
        running = Command(command, {"FOX_LOCK": name, "FOX_FENCE": str(fence)})
    except OSError as error:
        tell(f"Cannot run {command[0]}: {error.strerror}.")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    with running:
        if lost := lock.await_loss(running.fileno()):
            tell(f"The lock {name} is lost: {lost} The command is ended.")
            running.end(terms.grace)
            return TEMPORARY
        code = running.code()
    if not lock.release():
        tell(f"The lock {name} was lost before the command had ended.")
        return TEMPORARY
    return code


@final
class Lock:
    """A lock, which is the key of that name, as one session sees it."""

    __slots__ = ("_changes", "_fence", "_session", "name")

    def __init__(self, session: Session, name: str) -> None:
        self.name = name
        self._session = session
        self._fence = 0
        # Subscribed before the lock is asked for, so that no later change of the key is missed.
        self._changes = session.subscribe(name, {"retained": True})

    def take(self, value: object, wait: float) -> int:
        """Wait up to `wait` seconds for the lock. Returns the fence. Raises Held, Failure."""
        until = time.monotonic() + wait
        options = {"retain": True, "when": None, "weak": True, "exclude_me": False}
        if wait > 0:
            options["watch"] = True
        try:
            self._fence = self._session.publish(
                self.name, [value], options, until=until if wait > 0 else None
            )
        except Refused as error:
            if error.uri != ConditionFailed.uri:
                raise
            raise Held(f"{self._whose(error.kwargs.get('publication', 0))}.") from None
        except NoAnswer:
            # The publish still waits, but ends with this session; its key would do so too.
            if wait <= 0:
                raise
            raise Held(f"{self._whose(0)}, and was not released within {wait:g} s.") from None
        self._await_own_value()
        return self._fence

    def await_loss(self, unless: int) -> str:
        """Wait until the lock is lost, and return a sentence that says how.

        unless: a file descriptor; if it becomes readable first, "" is returned.
        """
        try:
            while (event := self._changes.next(unless=unless)) is not None:
                if not self._is_ours(event):
                    return _loss(event)
        except ConnectionLost as error:
            return str(error)
        return "The router has ended the subscription." if self._changes.over else ""

    def release(self) -> bool:
        """Release the lock; returns False if it was lost before."""
        try:
            # A router that is gone or slow releases the lock when it notices the session's end.
            with suppress(ConnectionLost, NoAnswer):
                released = {"retain": True, "when_id": self._fence}
                self._session.publish(self.name, [], released)
        except Refused as error:
            if error.uri != ConditionFailed.uri:
                raise
            return False
        return True

    def _await_own_value(self) -> None:
        """Read changes up to our own value; every later change means that the lock is lost."""
        until = time.monotonic() + SIGHT
        while (event := self._changes.next(until)) is not None:
            if self._is_ours(event):
                return
            if event.publication >= self._fence:
                raise Held(f"{self.name} was lost as soon as it was taken: {_loss(event)}")
        raise NoAnswer(f"The router does not show us our own lock {self.name}.")

    def _is_ours(self, event: Event) -> bool:
        return event.publication == self._fence and not event.removed

    def _whose(self, publication: int) -> str:
        """Return the beginning of a sentence about who holds the lock.

        publication: the id of the holder's key; 0: the latest key that we know of.
        """
        present: Event | None = None
        until = time.monotonic() + (HOLDER if publication else 0)
        while present is None or present.publication < publication:
            event = self._changes.next(until)
            if event is None:
                break
            present = None if event.removed else event
        if present is None:
            return f"{self.name} is held by somebody"
        return f"{self.name} is held by {as_json(value_of(present))}"


def _loss(event: Event) -> str:
    match event.removed:
        case "":
            return f"Somebody has published {as_json(value_of(event))} there."
        case "weak":
            return "The router has ended our session."
        case "expired":
            return "The key has expired."
        case _:
            return "The key was deleted."
