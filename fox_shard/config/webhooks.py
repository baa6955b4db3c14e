"""Reading the sections [[realm.webhook]].

Owns: what may be in them, and the place of a mistake. Never: what the settings are (see `webhook`).
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from fox_shard.config.mistakes import ConfigError, refuse
from fox_shard.config.sections import RESERVED, TOPICS, check_keys, sections, struct
from fox_shard.config.webhook import Webhook, key_of

RESPITE: Final = 1.0
"""Seconds by which a request is over before the server asks for another one."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OWN_HEADERS: Final = ("content-length", "content-type", "host", "transfer-encoding", "connection")


def read_webhooks(raw: object, where: str) -> tuple[Webhook, ...]:
    """Return the webhooks of one realm. Raises ConfigError."""
    if raw is None:
        return ()
    webhooks: dict[str, Webhook] = {}
    for at, entry in sections(raw, f"{where}.webhook", "[[realm.webhook]]"):
        webhook = _webhook(entry, at)
        if webhook.name in webhooks:
            raise ConfigError(
                f'{at}.name: there are two webhooks "{webhook.name}": give one of them another '
                "`name`."
            )
        webhooks[webhook.name] = webhook
    return tuple(webhooks.values())


def _webhook(entry: dict[str, Any], at: str) -> Webhook:
    check_keys(entry, at, Webhook)
    for name, wanted in (("topic", "a topic or a pattern"), ("url", "a URL")):
        if not isinstance(entry.get(name), str):
            refuse(f"{at}.{name}", wanted, entry.get(name), TypeError())
    webhook = struct(entry, at, Webhook)
    topic = webhook.topic
    if not TOPICS[webhook.match].fullmatch(topic) or RESERVED.match(topic):
        wanted = (
            f'a topic or a pattern (match = "{webhook.match}") that the server does not reserve'
        )
        refuse(f"{at}.topic", wanted, topic, ValueError())
    _check_url(webhook.url, f"{at}.url")
    _check_headers(webhook.headers, f"{at}.headers")
    if webhook.secret and webhook.secret_file:
        raise ConfigError(f"{at}: there are both secret and secret_file: leave one of them out.")
    if webhook.secret:
        try:
            key_of(webhook.secret)
        except ValueError as error:
            raise ConfigError(f"{at}.secret: {error}") from None
    return replace(webhook, name=webhook.name or topic)


def _check_url(url: str, at: str) -> None:
    wanted = 'a URL such as "https://example.com/events", without a user, a password and a fragment'
    try:
        parts = urlsplit(url)
        well = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        well = False
    if not well or "@" in parts.netloc or parts.fragment or not _VALUE.fullmatch(url) or " " in url:
        refuse(at, wanted, url, ValueError())


def _check_headers(headers: dict[str, str], at: str) -> None:
    for name, value in headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name) or lower in _OWN_HEADERS or lower.startswith("webhook-"):
            raise ConfigError(f"{at}: {name!r} is no header that can be chosen.")
        if not _VALUE.fullmatch(value):
            # The value may be a secret.
            raise ConfigError(f"{at}.{name}: a header's value is printable ASCII on one line.")


def check_timeouts(webhooks: tuple[Webhook, ...], timeout: float) -> None:
    """Raise ConfigError if a request may take as long as the server waits for its end.

    timeout: `reducer.timeout`.
    """
    for webhook in webhooks:
        if webhook.timeout > timeout - RESPITE:
            raise ConfigError(
                f'The webhook "{webhook.name}" has a timeout of {webhook.timeout:g} s, but '
                f"reducer.timeout, {timeout:g} s, must be longer by {RESPITE:g} s at least."
            )
