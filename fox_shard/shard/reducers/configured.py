"""The reducers of the configuration that the server's worker serves: Python functions, webhooks.

They are there from the shard's start, so that no event passes them by before the worker has come
for the first time. A webhook is a durable reducer that keeps no key: its events queue up like those
of any other, and are shown to the worker, which posts them. What is different, a `Reducer` says by
`webhook`.

Owns: that the shard has those that the configuration names, and no other webhooks. Never: built-in
reducers, requests.
"""

from collections.abc import Iterable
from typing import Final, final

from fox_shard.backplane.node import Notice
from fox_shard.config import Realm
from fox_shard.shard.reducers.catalog import Catalog
from fox_shard.shard.reducers.queues import Queues
from fox_shard.topics.ids import reducer_id, webhook_id
from fox_shard.topics.pattern import Pattern

UNCONFIGURED: Final = "webhook_events_dropped"
"""The notice of events that waited for a webhook that the configuration does not name any more."""


@final
class Configured:
    """The worker's reducers on one shard."""

    __slots__ = ("_catalog", "_queues")

    def __init__(self, settings: Iterable[Realm], catalog: Catalog, queues: Queues) -> None:
        """settings: the configured realms."""
        self._catalog = catalog
        self._queues = queues
        for realm in settings:
            for one in realm.reducer:
                if not one.is_built_in:
                    text = Pattern.wamp(one.pattern, one.match).text
                    id_ = reducer_id(realm.name, text, one.destination, one.function)
                    catalog.get(id_, realm.name, text, one.destination, one.function)
                    catalog.configured.add(id_)
            for webhook in realm.webhook:
                text = Pattern.wamp(webhook.topic, webhook.match).text
                id_ = webhook_id(realm.name, webhook.name)
                catalog.get(id_, realm.name, text, "", webhook.name, webhook=webhook)
                catalog.configured.add(id_)

    def loaded(self) -> list[Notice]:
        """Return what is to be told of webhooks that are gone."""
        return [
            (UNCONFIGURED, {"realm": realm, "webhook": name, "events": events})
            for (realm, name), events in self._queues.take_unconfigured()
        ]

    def take_counts(self) -> dict[str, int]:
        """Return the webhooks' counters since the last call."""
        counts = self._queues.take_webhook_counts()
        return {f"webhook_{what}": count for what, count in counts.items()}
