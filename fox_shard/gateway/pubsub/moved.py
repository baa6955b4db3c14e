"""Subscriptions to topics that have become tables.

Owns: what becomes of them. Never: which tables there are; new subscriptions.

Rows are not published to the topic of their table, so a subscription that is older than the table
would get nothing any more. A client that can be told so is told, and subscribes anew. For one that
cannot (MQTT 3.1.1), the gateway does it.
"""

from typing import Final

from fox_shard.gateway.pubsub.subscribers import Subscribers
from fox_shard.gateway.pubsub.subscribing import SubscribeRequests
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.subscription import SubscribeOptions

TABLE_DEFINED: Final = "fox.close.table_defined"
"""Why a subscription is revoked whose topic has become a table."""

NO_REQUEST: Final = -1
"""In place of the number of a client's request: the gateway subscribes of its own accord."""


def move_to_rows(realm: Realm, subscriptions: Subscriptions, requests: SubscribeRequests) -> None:
    """Move the subscriptions to topics that are tables now to the tables' rows."""
    for subscribers in subscriptions.to_topics(realm.tables.tables):
        _move_incomplete(realm, subscribers, subscriptions, requests)
        _move_members(realm, subscribers, subscriptions, requests)


def _move_incomplete(
    realm: Realm,
    subscribers: Subscribers,
    subscriptions: Subscriptions,
    requests: SubscribeRequests,
) -> None:
    """Ask again for subscriptions that their clients wait for, now to the rows."""
    subscription = subscribers.subscription
    rows = realm.rows_of(subscription.pattern)
    sessions = dict.fromkeys(one.session for one in subscribers.pending.values())
    for session in sessions:
        incomplete = requests.withdraw(session, subscription.name)
        subscriptions.unsubscribe(session, subscription.name, incomplete)
        for pending in incomplete:
            if pending.confirmed:
                session.subscription_revoked(subscription, TABLE_DEFINED)
            else:
                requests.subscribe(
                    session, pending.request, rows, pending.granted_qos, pending.options
                )


def _move_members(
    realm: Realm,
    subscribers: Subscribers,
    subscriptions: Subscriptions,
    requests: SubscribeRequests,
) -> None:
    subscription = subscribers.subscription
    for session, granted_qos in [*subscribers.members.members()]:
        replaying = requests.withdraw(session, subscription.name)
        subscriptions.unsubscribe(session, subscription.name, replaying)
        if session.revocable:
            session.subscription_revoked(subscription, TABLE_DEFINED)
        else:
            rows = realm.rows_of(subscription.pattern)
            requests.subscribe(session, NO_REQUEST, rows, granted_qos, SubscribeOptions())
