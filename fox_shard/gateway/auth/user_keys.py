"""The users that are kept in retained keys, as one gateway follows them (`[[realm]] users`).

Owns: the gateway's own subscriptions to these keys, and what each frame about them changes. Never:
what a document may contain (see `users.keyed`), what becomes of sessions, other keys.

Each shard is asked for its keys when its link opens, and sends the changes from then on. At the end
of the replay, users of that shard that it has not shown are gone. Until then, clients of the realms
concerned wait (see `awaited_users`). Frames of one shard come in order, so each is right when it
comes.
"""

from collections.abc import Callable, Iterable
from typing import Final, final

from fox_shard.backplane.frames import (
    CaughtUp,
    Event,
    Frame,
    More,
    Paused,
    Retained,
    SelectedEvent,
    SelectorSpec,
    Subscribe,
    sent_bytes,
)
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.backplane.link import Link
from fox_shard.backplane.node import Notice
from fox_shard.config import Auth, Realm
from fox_shard.documents.payloads import document
from fox_shard.errors import InvalidPayload
from fox_shard.topics.ids import OWN_SUBSCRIPTIONS
from fox_shard.topics.pattern import Pattern
from fox_shard.users.keyed import InvalidUser, KeyedUsers, user_of
from fox_shard.users.user import User

MAX_DOCUMENT: Final = 1 << 14
"""Bytes of the longest document."""

MOST_LOGGED: Final = 100
"""Keys whose documents are refused in the log; beyond that they are only counted."""

FULL: Final = "there are more users than auth.max_key_users and auth.key_user_bytes allow"

FIRST_TOKEN: Final = OWN_SUBSCRIPTIONS
"""Tokens of sessions' subscriptions are smaller."""


@final
class _Pattern:
    """The keys of one realm. head: how their topics begin. number: of the subscription."""

    __slots__ = ("head", "number", "pattern", "realm")

    def __init__(self, realm: str, pattern: str, number: int) -> None:
        self.realm = realm
        self.pattern = Pattern.wamp(pattern)
        self.head = pattern.removesuffix("*")
        self.number = number


@final
class _Replay:
    """A shard's replay of one pattern. unseen: names that it has not shown yet."""

    __slots__ = ("pattern", "shard", "unseen")

    def __init__(self, pattern: _Pattern, shard: int, unseen: Iterable[str]) -> None:
        self.pattern = pattern
        self.shard = shard
        self.unseen = dict.fromkeys(unseen)


@final
class UserKeys:
    """The keys with users of all realms. realms: the names of those that have such keys."""

    __slots__ = (
        "_counts",
        "_links",
        "_logged",
        "_names",
        "_next_token",
        "_notices",
        "_on_gone",
        "_patterns",
        "_replays",
        "_unread",
        "on_complete",
        "realms",
        "users",
    )

    def __init__(
        self,
        realms: Iterable[Realm],
        settings: Auth,
        links: list[Link],
        shards: int,
        counts: LimitCounts,
        notices: list[Notice],
        on_gone: Callable[[], None],
    ) -> None:
        """links: to the shards, by number, as soon as there are any. shards: their number.

        on_gone: called after users have been removed, or have got other roles. on_complete: called
        with a realm when all its users are known.
        """
        self.on_complete: Callable[[str], None] = lambda _realm: None
        self._links = links
        self._counts = counts
        self._notices = notices
        self._on_gone = on_gone
        self.users = KeyedUsers(settings.max_key_users, settings.key_user_bytes)
        self._patterns = [
            _Pattern(realm.name, realm.users, OWN_SUBSCRIPTIONS + number)
            for number, realm in enumerate(one for one in realms if one.users)
        ]
        self.realms = {one.realm: one for one in self._patterns}
        self._next_token = FIRST_TOKEN
        self._replays: dict[int, _Replay] = {}
        # (realm, shard) -> names of the users whose keys the shard has.
        self._names: dict[tuple[str, int], dict[str, None]] = {}
        # Realm -> shards whose keys have not all come.
        self._unread = {one.realm: dict.fromkeys(range(shards)) for one in self._patterns}
        # Topics whose documents the log has refused, with their realms.
        self._logged: dict[tuple[str, str], None] = {}

    def is_complete(self, realm: str) -> bool:
        """Whether all users of the realm are known, in so far as they are in keys."""
        return not self._unread.get(realm)

    def subscriptions(self) -> set[tuple[str, str, int]]:
        """Return (realm, text of the pattern, selector) of the gateway's own subscriptions."""
        return {(one.realm, one.pattern.text, one.number) for one in self._patterns}

    # Links

    def replay(self, shard: int) -> list[Frame]:
        """Return what a shard whose link has opened is to be asked."""
        self.link_broken(shard)
        frames: list[Frame] = []
        for one in self._patterns:
            self._next_token += 1
            names = self._names.get((one.realm, shard), {})
            self._replays[self._next_token] = _Replay(one, shard, names)
            selector = SelectorSpec(one.number, state=True)
            token, text = self._next_token, one.pattern.text
            frames.append(Subscribe(token, one.realm, text, replay=True, selector=selector))
        return frames

    def link_broken(self, shard: int) -> None:
        """Note that changes of that shard do not come any more."""
        for unread in self._unread.values():
            unread[shard] = None
        for token in [one for one, replay in self._replays.items() if replay.shard == shard]:
            del self._replays[token]

    # Frames

    def retained(self, frame: Retained) -> None:
        """Take a key of a replay."""
        replay = self._replays.get(frame.token)
        if replay is not None and frame.event is not None:
            self._changed(replay.pattern, frame.event, replay.shard, is_gone=False)

    def paused(self, frame: Paused) -> None:
        """Ask for the next page."""
        replay = self._replays.get(frame.token)
        if replay is not None:
            self._links[replay.shard].send(More(frame.token))

    def caught_up(self, frame: CaughtUp) -> None:
        """Take the end of a replay: what it has not shown is gone."""
        replay = self._replays.pop(frame.token, None)
        if replay is None:
            return
        realm = replay.pattern.realm
        for name in replay.unseen:
            self._remove(realm, name, replay.shard)
        self._unread[realm].pop(replay.shard, None)
        if replay.unseen:
            self._on_gone()
        if not self._unread[realm]:
            self.on_complete(realm)

    def selected(self, frame: SelectedEvent, shard: int) -> None:
        """Take a change of a key, if it is one of these."""
        pattern = self.realms[frame.event.publish.realm]
        if pattern.number in frame.selectors:
            self._changed(pattern, frame.event, shard, is_gone=bool(frame.removed))

    def _changed(self, pattern: _Pattern, event: Event, shard: int, *, is_gone: bool) -> None:
        """Take the present state of a key."""
        realm = pattern.realm
        # The component of a name with dots has slashes in their places.
        name = event.publish.topic[len(pattern.head) :].replace("/", ".")
        for replay in self._replays.values():
            if replay.shard == shard and replay.pattern is pattern:
                replay.unseen.pop(name, None)
        before = self.users.find(realm, name)
        user = None if is_gone else self._read(realm, name, event)
        if user is None:
            self._remove(realm, name, shard)
        elif self.users.set(user, sent_bytes(event.publish)):
            self._names.setdefault((realm, shard), {})[name] = None
        else:
            self._remove(realm, name, shard)
            self._refused("max_key_users", event, FULL)
            user = None
        if before is not None and (user is None or user.role != before.role):
            self._on_gone()

    def _remove(self, realm: str, name: str, shard: int) -> None:
        self.users.remove(realm, name)
        self._names.get((realm, shard), {}).pop(name, None)

    def _read(self, realm: str, name: str, event: Event) -> User | None:
        """Return the user of a key; None: its document is none of a user, as the log says."""
        publish = event.publish
        try:
            if sent_bytes(publish) > MAX_DOCUMENT:
                raise InvalidUser(f"the document has more than {MAX_DOCUMENT} bytes")
            found = document(publish.encoding, publish.args, publish.kwargs)
            if found is None:
                raise InvalidUser("the key has no document")
            return user_of(realm, name, found)
        except InvalidPayload as error:
            self._refused("invalid_key_users", event, error.message)
        except InvalidUser as error:
            self._refused("invalid_key_users", event, str(error))
        return None

    def _refused(self, count: str, event: Event, reason: str) -> None:
        """Count a document that makes no user, and log it once."""
        self._counts.add(count)
        key = (event.publish.realm, event.publish.topic)
        if key not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged[key] = None
            realm, topic = key
            fields: dict[str, object] = {"realm": realm, "topic": topic[:400], "reason": reason}
            self._notices.append(("user_key_refused", fields))
