"""The keys that verify tokens (JWT), as a gateway reads them: from files and https URLs.

Owns: when they are read, and the limits of a request. Never: what they are (see
`gateway.auth.token_keys`), when a key set is due (see `gateway.auth.renewal`).
"""

import asyncio
import logging
import os
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, final

from fox_shard.config import Config, Jwt
from fox_shard.errors import StartError
from fox_shard.gateway.auth.token_keys import TokenKeys, TokenKeysError, read_key, read_key_set
from fox_shard.gateway.auth.tokens import Tokens
from fox_shard.gateway.core import Gateway
from fox_shard.runtime.file_stamp import Stamp, stamp_of
from fox_shard.users.secret_file import exposing_mode

_log = logging.getLogger("fox")

LOOK: Final = 1.0
"""Seconds between two looks whether a file has changed, or a key set is due."""

PIECE: Final = 1 << 16
"""Bytes of an answer that are read at once."""


class TokenKeysFileError(StartError):
    """A file with keys that a gateway cannot start with; the message is a sentence."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Answers that lead elsewhere, which may be in the clear, are errors."""

    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - of the class above
        """Follow no redirect."""


@final
class TokenKeysWatch:
    """The keys of one gateway. If they cannot be read again, the former ones stay."""

    def __init__(self, config: Config, process: str) -> None:
        """Read the files. process: for the log. Raises TokenKeysFileError."""
        self._process = process
        self._settings = {one.name: one.jwt for one in config.realms if one.jwt is not None}
        self._stamps: dict[str, Stamp] = {}
        self._keys: dict[str, TokenKeys] = {}
        self._gateway: Gateway | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading: dict[str, asyncio.Task[None]] = {}
        for realm, settings in self._settings.items():
            if not settings.is_fetched:
                self._stamps[realm] = _stamp(settings)
                try:
                    self._keys[realm] = read_file(settings)
                except TokenKeysError as error:
                    place = settings.key or settings.jwks
                    raise TokenKeysFileError(f"realm {realm}, jwt: {place} {error}.") from error

    def start(self, gateway: Gateway) -> None:
        """Give the gateway its keys, and begin to look for others."""
        self._gateway = gateway
        for realm, keys in self._keys.items():
            gateway.authentication.tokens[realm].keys = keys
        if self._settings:
            self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._reading.values():
            task.cancel()

    def _look(self) -> None:
        assert self._gateway is not None
        loop = asyncio.get_running_loop()
        for realm, settings in self._settings.items():
            tokens = self._gateway.authentication.tokens[realm]
            if self._is_due(realm, settings, tokens, loop.time()):
                tokens.renewal.began()
                self._reading[realm] = loop.create_task(self._read(realm, settings, tokens))
        self._timer = loop.call_later(LOOK, self._look)

    def _is_due(self, realm: str, settings: Jwt, tokens: Tokens, now: float) -> bool:
        if settings.is_fetched:
            return tokens.renewal.is_due(now)
        reading = self._reading.get(realm)
        stamp = _stamp(settings)
        if stamp == self._stamps[realm] or not (reading is None or reading.done()):
            return False
        self._stamps[realm] = stamp
        return True

    async def _read(self, realm: str, settings: Jwt, tokens: Tokens) -> None:
        """Read the keys of a realm beside the event loop."""
        fields: dict[str, object] = {"process": self._process, "realm": realm}
        loop = asyncio.get_running_loop()
        read = fetch if settings.is_fetched else read_file
        try:
            keys = await asyncio.to_thread(read, settings)
        except TokenKeysError as error:
            tokens.renewal.failed(loop.time())
            reason = f"{settings.key or settings.jwks} {error}"
            _log.error("token_keys_not_read", extra={"fox": {**fields, "reason": reason}})
            return
        tokens.renewal.succeeded(loop.time())
        tokens.keys = keys
        _log.info("token_keys_read", extra={"fox": {**fields, "keys": len(keys)}})


def _stamp(settings: Jwt) -> Stamp:
    return stamp_of(Path(settings.key or settings.jwks))


def read_file(settings: Jwt) -> TokenKeys:
    """Return the keys of a file. Raises TokenKeysError."""
    try:
        with Path(settings.key or settings.jwks).open("rb") as file:
            if settings.is_secret and exposing_mode(os.fstat(file.fileno()), os.getuid()):
                raise TokenKeysError("may be read by others on this machine: chmod 600")
            data = file.read(settings.jwks_size + 1)
    except OSError as error:
        raise TokenKeysError(f"cannot be read: {error.strerror}") from error
    return _parse(data, settings)


def fetch(settings: Jwt) -> TokenKeys:
    """Return the keys of a URL. Blocks, so not for an event loop. Raises TokenKeysError."""
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(settings.jwks, headers={"Accept": "application/json"})
    deadline = time.monotonic() + settings.jwks_timeout
    data = bytearray()
    try:
        with opener.open(request, timeout=settings.jwks_timeout) as answer:
            while len(data) <= settings.jwks_size and (piece := answer.read1(PIECE)):
                data += piece
                if time.monotonic() > deadline:
                    raise TimeoutError("the answer takes too long")
    except urllib.error.HTTPError as error:
        raise TokenKeysError(f"answers with the status {error.code}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise TokenKeysError(f"cannot be read: {reason}") from error
    return _parse(bytes(data), settings)


def _parse(data: bytes, settings: Jwt) -> TokenKeys:
    if len(data) > settings.jwks_size:
        raise TokenKeysError(f"is longer than {settings.jwks_size} bytes (jwks_size)")
    return (read_key_set if settings.jwks else read_key)(data, settings)
