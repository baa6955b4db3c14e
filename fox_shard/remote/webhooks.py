"""`fox webhooks`: the list of webhooks, and how their deliveries are going.

Owns: what is printed. Never: what a server has (see the procedure `fox.reducer.list`).
"""

from typing import Any, Final

import msgspec

from fox_shard.client import Session
from fox_shard.remote.columns import print_columns
from fox_shard.remote.connecting import DONE
from fox_shard.remote.values import as_name

HEAD: Final = (
    "WEBHOOK",
    "TOPIC",
    "WAITING",
    "OLDEST",
    "DELIVERED",
    "GIVEN UP",
    "DROPPED",
    "RETRIES",
    "NEXT TRY",
    "LAST FAILURE",
)

FIELDS: Final = {
    "webhook": "name",
    "pattern": "topic",
    "match": "match",
    "queued": "waiting",
    "bytes": "bytes",
    "oldest": "oldest",
    "folded": "delivered",
    "failed": "given_up",
    "dropped": "dropped",
    "retried": "retries",
    "retrying": "retrying",
    "next_try": "next_try",
    "failure": "last_failure",
}
"""The fields of the server's list, by what they are called for webhooks."""


def list_webhooks(router: Session, *, json: bool) -> int:
    """Print the realm's webhooks. Returns the exit code. Raises ConnectionLost, Refused."""
    (found,) = router.call("fox.reducer.list")
    webhooks = [_named(one) for one in found if one["webhook"]]
    webhooks.sort(key=lambda one: str(one["name"]))
    if json:
        for webhook in webhooks:
            print(msgspec.json.encode(webhook).decode())
    elif webhooks:
        print_columns(HEAD, map(_line, webhooks))
    else:
        print("There are no webhooks.")
    return DONE


def _named(listed: dict[str, Any]) -> dict[str, Any]:
    return {name: listed[field] for field, name in FIELDS.items()}


def _line(webhook: dict[str, Any]) -> tuple[str, ...]:
    retrying, next_try = webhook["retrying"], webhook["next_try"]
    topics = f"{retrying} topic{'' if retrying == 1 else 's'}"
    return (
        as_name(webhook["name"]),
        as_name(webhook["topic"]) + (" (prefix)" if webhook["match"] == "prefix" else ""),
        str(webhook["waiting"]),
        f"{webhook['oldest']:.1f} s" if webhook["waiting"] else "-",
        str(webhook["delivered"]),
        str(webhook["given_up"]),
        str(webhook["dropped"]),
        str(webhook["retries"]),
        f"{topics} in {next_try:.1f} s" if retrying else "-",
        webhook["last_failure"] or "-",
    )
