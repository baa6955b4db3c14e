"""The webhooks of the configuration, as the reducers that they are in a shard.

A webhook is a durable reducer that keeps no key: its events queue up like those of any other, and
are shown to the server's worker, which posts them. What is different, a `Reducer` says by
`webhook`.

Owns: that the shard has those that the configuration names, and no others. Never: requests.
"""

from collections.abc import Iterable
from typing import Final, final

from fox_shard.backplane.node import Notice
from fox_shard.config import Realm
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.queues import Queues
from fox_shard.topics.ids import webhook_id
from fox_shard.topics.pattern import Pattern

UNCONFIGURED: Final = "webhook_events_dropped"
"""The notice of events that waited for a webhook that the configuration does not name any more."""


@final
class Webhooks:
    """The webhooks of one shard."""

    __slots__ = ("_catalog", "_queues")

    def __init__(self, settings: Iterable[Realm], catalog: Catalog, queues: Queues) -> None:
        """settings: the configured realms."""
        self._catalog = catalog
        self._queues = queues
        for realm in settings:
            for webhook in realm.webhook:
                pattern = Pattern.wamp(webhook.topic, webhook.match).text
                id_ = webhook_id(realm.name, webhook.name)
                catalog.get(id_, realm.name, pattern, "", webhook.name, webhook=webhook)

    def loaded(self) -> list[Notice]:
        """Store those that are new; return what is to be told of those that are gone."""
        self._catalog.store_webhooks()
        return [
            (UNCONFIGURED, {"realm": realm, "webhook": name, "events": events})
            for (realm, name), events in self._queues.take_unconfigured()
        ]

    def take_counts(self, name: str) -> dict[str, int]:
        """Return the counters since the last call, with names that begin with the shard's."""
        counts = self._queues.take_webhook_counts()
        return {f"{name}.webhook_{what}": count for what, count in counts.items()}
