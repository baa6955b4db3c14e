"""Posting: one request to the target, and what has come of it.

Owns: connections, TLS, the time that a request may take. Never: what follows (see `delivery`).

A request goes to the URL of the configuration and nowhere else: no redirect, no proxy of the
environment, no cookies. Of an answer only the head counts; of its body a little is read, so that
the connection can be used again.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final, final

import httpx

from fox_shard.config import Webhook
from fox_shard.errors import StartError
from fox_shard.version import __version__
from fox_shard.worker.webhooks.delivery import Answered, Outcome, Unanswered

BODY: Final = 1 << 14
"""Bytes of an answer's body that are read."""

REST: Final = 0.25
"""Seconds in which an answer's body has to end, or else its connection is closed. Shorter than what
is left until the server asks again (see `webhook.RESPITE`)."""

IDLE: Final = 60.0
"""Seconds for which an unused connection is kept."""

MAX_TEXT: Final = 200
"""Characters of an error's text that are told."""

MAX_PHRASE: Final = 60


@final
class Poster:
    """The connections to one webhook's target, which belong to one event loop."""

    def __init__(self, settings: Webhook) -> None:
        """Read the certificates. Raises StartError."""
        self._url = httpx.URL(settings.url)
        self._timeout = settings.timeout
        self._headers = [
            ("Host", self._url.netloc.decode("ascii")),
            ("User-Agent", f"fox-shard/{__version__}"),
            ("Accept", "*/*"),
            *settings.headers.items(),
        ]
        self._transport = httpx.AsyncHTTPTransport(
            verify=_context(settings),
            trust_env=False,
            limits=httpx.Limits(
                max_connections=settings.concurrency,
                max_keepalive_connections=settings.concurrency,
                keepalive_expiry=IDLE,
            ),
        )

    async def post(self, headers: Sequence[tuple[str, str]], body: bytes, wall: float) -> Outcome:
        """Post a body. wall: seconds since 1970, for a Retry-After that is a date."""
        request = httpx.Request("POST", self._url, headers=[*self._headers, *headers], content=body)
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._transport.handle_async_request(request)
        except TimeoutError:
            return Unanswered(f"no answer within {self._timeout:g} s (timeout)")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Unanswered(f"{type(error).__name__}: {error}"[:MAX_TEXT])
        # The target has decided: whatever becomes of the rest of its answer, nothing is sent again.
        with suppress(httpx.HTTPError, OSError):
            await _finish(response)
        return Answered(
            response.status_code,
            response.reason_phrase[:MAX_PHRASE],
            retry_after(response.headers.get("Retry-After", ""), wall),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


async def _finish(response: httpx.Response) -> None:
    """Read the rest of an answer, so that its connection can be used again, or close it."""
    read = 0
    try:
        async with asyncio.timeout(REST):
            async for part in response.aiter_raw():
                read += len(part)
                if read > BODY:
                    break
    finally:
        await response.aclose()


def retry_after(value: str, wall: float) -> float:
    """Return the seconds that a header Retry-After asks for; 0: none."""
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - wall)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _context(settings: Webhook) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file or None)
    except OSError as error:
        raise StartError(
            f'The webhook "{settings.name}" cannot trust {settings.ca_file}: there are no '
            f"certificates in PEM form ({error})."
        ) from error
