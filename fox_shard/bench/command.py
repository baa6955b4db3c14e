"""`fox bench`: the command.

Owns: options and addresses, signals, what is printed, exit codes. Never: loads.
"""

import argparse
import asyncio
import resource
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, final

import msgspec
import uvloop

from fox_shard.bench.client import Client
from fox_shard.bench.driving import Pace
from fox_shard.bench.loads import (
    Calling,
    Counts,
    Publishing,
    Subscribing,
    Watch,
    call,
    publish,
    subscribe,
)
from fox_shard.bench.measured import Measured, sentences
from fox_shard.bench.wamp import WampClient, connect_wamp
from fox_shard.client import CannotConnect, Failure, Refused, Unreachable
from fox_shard.config import Config, ConfigError
from fox_shard.remote.connecting import (
    BY_SIGNAL,
    DONE,
    NO,
    UNAVAILABLE,
    comes_from,
    password_of,
    target_for,
    tell,
    tls_of,
    token_in,
)

MQTT: Final = ("mqtt://", "mqtts://")
CLEAR: Final = "\r\x1b[K"

Connect = Callable[[], Awaitable[Client]]
Load = Callable[[Watch], Awaitable[Measured]]


def run_bench(options: argparse.Namespace, config: Config) -> int:
    """Run a load. Returns the exit code. Raises ConfigError."""
    load = _load_of(options, config)
    # Each client is a file.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            measured = runner.run(_Command(options, load).run())
        except CannotConnect as error:
            tell(f"{error}{comes_from(options.source)} Does the server run?")
            return UNAVAILABLE
        except Failure as error:
            tell(error.sentence)
            return NO if isinstance(error, Refused) else UNAVAILABLE
        except asyncio.CancelledError:
            return BY_SIGNAL + signal.SIGINT
    if options.json:
        print(msgspec.json.encode(measured).decode())
    else:
        print("\n".join(sentences(measured)))
    return DONE if measured.is_whole else NO


def _load_of(options: argparse.Namespace, config: Config) -> Load:
    """Return what the options ask for. Raises ConfigError."""
    by_mqtt = options.mqtt or (options.url or "").startswith(MQTT)
    if options.action == "call":
        if by_mqtt:
            raise ConfigError("MQTT clients cannot call: say a URL ws://….")
        return partial(call, _calling(options), _wamp(options, config))
    connect: Connect = (_mqtt if by_mqtt else _wamp)(options, config)
    if options.action == "sub":
        load = Subscribing(options.clients, options.topic, options.qos, options.seconds)
        return partial(subscribe, load, connect)
    about = (options.topic, options.qos, options.size, options.subscribers)
    return partial(publish, Publishing(_pace(options), *about), connect)


def _calling(options: argparse.Namespace) -> Calling:
    callees = options.callees
    if callees is None:
        callees = 0 if options.procedure else 1
    return Calling(_pace(options), options.procedure, options.size, callees)


def _pace(options: argparse.Namespace) -> Pace:
    return Pace(options.clients, options.rate, options.seconds, options.window)


def _wamp(options: argparse.Namespace, config: Config) -> Callable[[], Awaitable[WampClient]]:
    target = target_for(options, config)
    return lambda: connect_wamp(target)


def _mqtt(options: argparse.Namespace, config: Config) -> Connect:
    """Return what connects MQTT clients. Raises ConfigError."""
    if options.auth not in (None, "ticket"):
        raise ConfigError(
            f"MQTT clients send the password itself: --auth is ticket for them, not {options.auth}."
        )
    try:
        from fox_shard.bench.mqtt import MqttTarget, connect_mqtt, place_of
    except ModuleNotFoundError as error:
        raise ConfigError("MQTT clients need paho-mqtt: pip install 'fox-shard[bench]'.") from error
    url = options.url or ""
    if not url:
        if config.gateway.mqtt is None:
            raise ConfigError("gateway.mqtt is off: say where with --url mqtt://HOST:PORT.")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(
            config.gateway.mqtt.host, config.gateway.mqtt.host
        )
        url = f"mqtt://{f'[{host}]' if ':' in host else host}:{config.gateway.mqtt.port}"
    elif not url.startswith(MQTT):
        raise ConfigError(f"{url} is no address of MQTT clients (mqtt://…, mqtts://…).")
    try:
        place_of(url)
    except Unreachable as error:
        raise ConfigError(f"{error}{comes_from(options.source)}") from error
    target = MqttTarget(url, *_login_of(options, config), tls_of(options))
    window = getattr(options, "window", 20)
    return lambda: connect_mqtt(target, f"fox-bench-{secrets.token_hex(6)}", window)


def _login_of(options: argparse.Namespace, config: Config) -> tuple[str | None, str | None]:
    """Return user name and password of MQTT clients. Raises ConfigError.

    A realm that is not that of all MQTT clients follows the user name; a token takes the place of
    a password.
    """
    user, password = options.user, None
    if options.token_file is not None:
        password = token_in(Path(options.token_file))
    elif user is not None:
        password = password_of(user)
    if options.realm not in (None, "", config.mqtt.realm):
        user = f"{user or ''}@{options.realm}"
    # MQTT has no password without a user name.
    return ("" if user is None and password is not None else user), password


@final
class _Command:
    """One load, which Ctrl-C ends; a second Ctrl-C ends the command."""

    def __init__(self, options: argparse.Namespace, load: Load) -> None:
        self._options = options
        self._load = load
        self._stop = asyncio.Event()
        self._counts: Counts = {}
        self._shows = sys.stderr.isatty() and not options.json

    async def run(self) -> Measured:
        """Return what was measured. Raises Failure."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupted() -> None:
            # Before it has begun, there is nothing to be printed.
            if self._stop.is_set() or not self._counts:
                task.cancel()
            self._stop.set()

        loop.add_signal_handler(signal.SIGINT, interrupted)
        loop.add_signal_handler(signal.SIGTERM, interrupted)
        showing = asyncio.create_task(self._show())
        try:
            return await self._load(Watch(secrets.token_hex(4), self._stop, self._begins))
        finally:
            showing.cancel()
            if self._shows:
                print(CLEAR, end="", file=sys.stderr, flush=True)

    def _begins(self, counts: Counts) -> None:
        self._counts = counts
        if self._options.seconds is None:
            tell(f"{self._options.topic} is subscribed to; Ctrl-C ends that.")

    async def _show(self) -> None:
        """Show at the terminal how far it is, once a second."""
        before: dict[str, int] = {}
        while self._shows:
            now = {word: count() for word, count in self._counts.items()}
            if before:
                text = ", ".join(
                    f"{word} {count:,} ({count - before[word]:,}/s)" for word, count in now.items()
                )
                print(CLEAR + text, end="", file=sys.stderr, flush=True)
            before = now
            await asyncio.sleep(1)
