"""MQTT clients of `fox bench`: paho's, in an event loop.

Owns: the sockets' turns, packet ids that wait for an answer. Never: loads; the protocol.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, final
from urllib.parse import urlsplit

import msgspec
from paho.mqtt.client import Client as Paho
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fox_shard.bench.client import Arrived
from fox_shard.client import CannotConnect, ConnectionLost, Refused, Unreachable
from fox_shard.client.connection import unreachable
from fox_shard.client.tls import Tls, context_of
from fox_shard.topics.topic import to_mqtt

SCHEMES: Final = {"mqtt": 1883, "mqtts": 8883}
"""The ports of the addresses that MQTT clients are at."""

OPENING: Final = 5.0
"""Seconds for connecting, and for the answers to CONNECT and SUBSCRIBE."""

READS: Final = 16
"""Packets that are read at a time, at most; paho reads one when it is told so."""

KEEP_ALIVE: Final = 60
"""Seconds of silence, after which the server is pinged."""

MISC: Final = 1.0
"""Seconds between two looks at whether the server is alive."""


class MqttTarget(NamedTuple):
    """The server. user, password: None: as an anonymous client."""

    url: str
    user: str | None = None
    password: str | None = None
    tls: Tls = Tls()


@final
class MqttClient:
    """One connection with a clean session. When it is lost, all that it is asked for fails."""

    def __init__(self, target: MqttTarget, name: str, window: int) -> None:
        """name: the client's id. window: acknowledged messages under way, at most."""
        self._url = target.url
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._joined: asyncio.Future[None] = self._loop.create_future()
        self._why = ""
        self._arrived: Arrived = lambda args: None
        self._misc: asyncio.TimerHandle | None = None
        paho = self._paho = Paho(CallbackAPIVersion.VERSION2, client_id=name)
        paho.max_inflight_messages_set(window)
        paho.connect_timeout = OPENING
        if target.user is not None:
            paho.username_pw_set(target.user, target.password)
        if target.url.startswith("mqtts:"):
            paho.tls_set_context(context_of(target.tls))
        paho.on_socket_open = self._opened
        paho.on_socket_close = self._closed
        paho.on_socket_register_write = self._has_to_write
        paho.on_socket_unregister_write = self._has_written
        paho.on_connect = self._on_connect
        paho.on_disconnect = self._on_disconnect
        paho.on_publish = self._on_publish
        paho.on_subscribe = self._on_subscribe
        paho.on_message = self._on_message

    async def connect(self) -> None:
        """Connect. Raises Unreachable."""
        try:
            self._paho.connect(*place_of(self._url), KEEP_ALIVE)
        except OSError as error:
            raise unreachable(self._url, error) from error
        self._look_after()
        try:
            async with asyncio.timeout(OPENING):
                await self._joined
        except TimeoutError as error:
            raise CannotConnect(f"{self._url} does not answer to CONNECT.") from error

    async def publish(self, topic: str, args: list[Any], qos: int) -> None:
        """Publish; return when that is acknowledged, or, with qos 0, when it is on its way."""
        info = self._paho.publish(to_mqtt(topic), msgspec.json.encode(args), qos)
        await self._answer(info.rc, info.mid)

    async def subscribe(self, pattern: str, arrived: Arrived, qos: int) -> None:
        """Subscribe."""
        self._arrived = arrived
        levels = to_mqtt(pattern).split("/")
        filter_ = "/".join("+" if level == "*" else level for level in levels)
        code, mid = self._paho.subscribe(filter_, qos)
        async with asyncio.timeout(OPENING):
            await self._answer(code, mid)

    async def close(self) -> None:
        """Leave."""
        self._paho.disconnect()
        if self._misc is not None:
            self._misc.cancel()
        while self._paho.want_write() and self._paho.loop_write() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            pass

    async def _answer(self, code: MQTTErrorCode, mid: int | None) -> None:
        if mid is None or code not in (
            MQTTErrorCode.MQTT_ERR_SUCCESS,
            MQTTErrorCode.MQTT_ERR_QUEUE_SIZE,
        ):
            raise ConnectionLost(self._why or f"The connection to {self._url} is lost.")
        answer = self._answers[mid] = self._loop.create_future()
        try:
            await answer
        finally:
            self._answers.pop(mid, None)

    # The socket

    def _opened(self, _paho: Paho, _data: object, sock: Any) -> None:  # noqa: ANN401
        self._loop.add_reader(sock, self._read, sock)

    def _closed(self, _paho: Paho, _data: object, sock: Any) -> None:  # noqa: ANN401
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _has_to_write(self, _paho: Paho, _data: object, sock: Any) -> None:  # noqa: ANN401
        self._loop.add_writer(sock, self._paho.loop_write)

    def _has_written(self, _paho: Paho, _data: object, sock: Any) -> None:  # noqa: ANN401
        self._loop.remove_writer(sock)

    def _read(self, sock: Any) -> None:  # noqa: ANN401
        for _ in range(READS):
            if self._paho.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
        # What TLS has read already, the system does not tell.
        while isinstance(sock, ssl.SSLSocket) and sock.pending():
            if self._paho.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    def _look_after(self) -> None:
        self._paho.loop_misc()
        self._misc = self._loop.call_later(MISC, self._look_after)

    # What the server says

    def _on_connect(
        self,
        _paho: Paho,
        _data: object,
        _flags: ConnectFlags | Mapping[str, Any],
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._joined.done():
            return
        if reason.is_failure:
            why = str(reason).lower()
            self._joined.set_exception(Unreachable(f"The server does not let us in: {why}."))
        else:
            self._joined.set_result(None)

    def _on_disconnect(
        self,
        _paho: Paho,
        _data: object,
        _flags: DisconnectFlags | Mapping[str, Any],
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._why = f"The connection to {self._url} is lost: {str(reason).lower()}."
        if self._misc is not None:
            self._misc.cancel()
        if not self._joined.done():
            self._joined.set_exception(CannotConnect(self._why))
        for answer in [*self._answers.values()]:
            if not answer.done():
                answer.set_exception(ConnectionLost(self._why))

    def _on_publish(
        self,
        _paho: Paho,
        _data: object,
        mid: int,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        # With QoS 0, paho may call this before it has said which number the message has.
        self._loop.call_soon(self._resolve, mid)

    def _on_subscribe(
        self,
        _paho: Paho,
        _data: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        answer = self._answers.get(mid)
        if answer is None or answer.done():
            return
        if refused:
            answer.set_exception(Refused("mqtt", [f"SUBSCRIBE is refused: {refused[0]}."]))
        else:
            answer.set_result(None)

    def _resolve(self, mid: int) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _on_message(self, _paho: Paho, _data: object, message: MQTTMessage) -> None:
        try:
            args = msgspec.json.decode(message.payload, type=list[Any])
        except msgspec.MsgspecError:
            args = []
        self._arrived(args)


def place_of(url: str) -> tuple[str, int]:
    """Return host and port. Raises Unreachable."""
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port or SCHEMES[address.scheme]
    except ValueError:
        host = None
    if not host:
        raise Unreachable(f"{url!r} is not the address of an MQTT server (mqtt://HOST:PORT).")
    return host, port


async def connect_mqtt(target: MqttTarget, name: str, window: int) -> MqttClient:
    """Connect. Raises Unreachable."""
    client = MqttClient(target, name, window)
    await client.connect()
    return client
