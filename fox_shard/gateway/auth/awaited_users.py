"""Clients that wait until the users of their realm have been read from keys.

Owns: who waits, and in which order they go on. Never: users (see `user_keys`), proofs.

Others are let in meanwhile. Very many clients may wait, when a gateway starts or a shard returns,
so they go on a few at a time.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, final

from fox_shard.errors import Refusal
from fox_shard.gateway.auth import login
from fox_shard.gateway.auth.authentication import Authentication
from fox_shard.gateway.auth.claims import Attempt, Authenticated, Claim, Outcome, Prepared
from fox_shard.gateway.auth.user_keys import UserKeys

AT_ONCE: Final = 5
"""Clients that go on in one part of the chore. To check a token takes a tenth of a millisecond."""


@final
class AwaitedUsers:
    """The clients of one gateway that wait for the users of their realms."""

    __slots__ = ("_add_chore", "_going_on", "_user_keys", "_waiting", "authentication")

    def __init__(
        self,
        user_keys: UserKeys,
        authentication: Authentication,
        add_chore: Callable[[Callable[[], bool]], None],
    ) -> None:
        """add_chore: does something in the next turns, a part at a time (see `Turns`)."""
        self._user_keys = user_keys
        self.authentication = authentication
        self._add_chore = add_chore
        # Realm -> the attempts that wait for its users, in order.
        self._waiting: dict[str, OrderedDict[AwaitingAttempt, None]] = {}
        # The realms whose users are known and whose clients are going on.
        self._going_on: set[str] = set()
        user_keys.on_complete = self._completed

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def waits(self, realm: str) -> bool:
        """Whether a client of the realm has to wait."""
        return not self._user_keys.is_complete(realm)

    def wait(self, attempt: "AwaitingAttempt") -> None:
        """Let an attempt go on when its realm's users are known, behind those that wait already."""
        self._waiting.setdefault(attempt.realm, OrderedDict())[attempt] = None

    def leave(self, attempt: "AwaitingAttempt") -> None:
        """Forget an attempt: its client has left."""
        waiting = self._waiting.get(attempt.realm)
        if waiting is not None:
            waiting.pop(attempt, None)
            if not waiting:
                del self._waiting[attempt.realm]

    def attempt(self, claim: Claim) -> "AwaitingAttempt":
        """Return the attempt of a client that has to wait."""
        return AwaitingAttempt(self, claim)

    def _completed(self, realm: str) -> None:
        """Let clients go on whose realm's users are known."""
        if realm in self._waiting and realm not in self._going_on:
            self._going_on.add(realm)
            self._add_chore(lambda: self._go_on(realm))

    def _go_on(self, realm: str) -> bool:
        """Let some clients go on; return whether there are more."""
        for _ in range(AT_ONCE):
            waiting = self._waiting.get(realm)
            if waiting is None or not self._user_keys.is_complete(realm):
                self._going_on.discard(realm)
                return False
            attempt = next(iter(waiting))
            self.leave(attempt)
            attempt.go_on()
        return True


@final
class AwaitingAttempt:
    """An attempt (see `claims.Attempt`) that waits for users, and then is another one."""

    def __init__(self, awaited: AwaitedUsers, claim: Claim) -> None:
        self._awaited = awaited
        self._claim = claim
        self._attempt: Attempt | None = None
        self._done: Prepared | None = None
        self._reason = ""
        self.realm = claim.realm

    @property
    def method(self) -> str:
        """The method of CHALLENGE."""
        return "" if self._attempt is None else self._attempt.method

    @property
    def extra(self) -> dict[str, Any]:
        """The details of CHALLENGE."""
        return {} if self._attempt is None else self._attempt.extra

    @property
    def session(self) -> int:
        """The id that the session is to have; 0: any."""
        return 0 if self._attempt is None else self._attempt.session

    def prepare(self, done: Prepared) -> None:
        """Wait for the users, and then call `done` as the attempt does that has begun by then."""
        self._done = done
        self._awaited.wait(self)

    def go_on(self) -> None:
        """Begin, as the users are known."""
        done, self._done = self._done, None
        assert done is not None
        try:
            begun = login.begin(self._awaited.authentication, self._claim)
        except Refusal as refusal:
            self._reason = getattr(refusal, "about", "")
            done(refusal)
            return
        if isinstance(begun, Authenticated):
            done(begun)
        else:
            self._attempt = begun
            begun.prepare(done)

    def answer(self, signature: str, extra: dict[str, Any], done: Outcome) -> None:
        """Check the client's only answer."""
        assert self._attempt is not None
        self._attempt.answer(signature, extra, done)

    def cancel(self) -> None:
        """Wait no more: the client has left."""
        if self._attempt is None:
            self._awaited.leave(self)
        else:
            self._attempt.cancel()

    @property
    def description(self) -> str:
        """The attempt in words, for the log."""
        if self._attempt is not None:
            return self._attempt.description
        words = self._claim.description("/".join(self._claim.methods[:3])[:64] or "anonymous")
        return f"{words}: {self._reason}" if self._reason else words
