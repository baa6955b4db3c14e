"""MQTT clients: paho-mqtt, each with a thread of its own.

Owns: connecting, and the messages received. Never: what the clients send.
"""

import os
import queue
import socket
import threading

from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import MQTTv31, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE = 40.0
TRIES = 64

__all__ = ["PATIENCE", "MQTTv31", "MQTTv311", "MqttPeer", "MqttPeers", "Refused"]


class Refused(Exception):
    """The broker refused the connection: its first argument is the return code."""


class MqttPeer:
    """A connected client, whose received messages are in the queue `messages`."""

    def __init__(
        self, address, client_id, *, transport="tcp", protocol=MQTTv311, clean=True, keepalive=60,
        will=None, user=None, password=None, manual_ack=False,
    ):  # fmt: skip
        self.messages = queue.Queue()
        self.lost = threading.Event()
        self._offering = threading.Lock()
        self._connected = queue.Queue()
        self._answers = {}
        self._answered = threading.Condition()
        client = self.client = PahoClient(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean,
            protocol=protocol,
            transport=transport,
            reconnect_on_failure=False,
            manual_ack=manual_ack,
        )
        if transport == "websockets":
            client.ws_set_options("/mqtt")
        client.max_inflight_messages_set(1000)
        if will is not None:
            client.will_set(**will)
        if user is not None:
            client.username_pw_set(user, password)
        client.on_connect = lambda _c, _u, flags, code, _p: self._connected.put((flags, code))
        client.on_connect_fail = lambda *_: self._connected.put((None, "no connection"))
        client.on_message = lambda _c, _u, message: self.messages.put(message)
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self._answer(mid, codes)
        client.on_unsubscribe = lambda _c, _u, mid, _codes, _p: self._answer(mid, None)
        client.on_disconnect = self._on_disconnect
        client.connect(*address, keepalive=keepalive)
        client.loop_start()
        self.flags, code = self._connected.get(timeout=PATIENCE)
        if code != 0:
            self.close()
            raise Refused(code)

    def _on_disconnect(self, _client, _data, _flags, code, _properties):
        with self._offering:
            self.lost.set()
        self._connected.put((None, code))

    def _answer(self, mid, codes):
        with self._answered:
            self._answers[mid] = codes
            self._answered.notify_all()

    def _await(self, mid):
        with self._answered:
            assert self._answered.wait_for(lambda: mid in self._answers, PATIENCE), "no answer"
            return self._answers.pop(mid)

    @property
    def place(self):
        """(host, port) of this end."""
        with self._socket() as sock:
            return sock.getsockname()

    def _socket(self):
        """Return the plain socket, because paho's WebSocket lacks some of its methods."""
        return socket.socket(fileno=os.dup(self.client.socket().fileno()))

    def subscribe(self, *filters, qos=0):
        """Subscribe to all filters in one packet, and return the SUBACK's return codes.

        A filter may be a pair (filter, quality of service).
        """
        pairs = [pair if isinstance(pair, tuple) else (pair, qos) for pair in filters]
        _, mid = self.client.subscribe(pairs)
        return [code.value for code in self._await(mid)]

    def unsubscribe(self, *filters):
        """Unsubscribe and wait for UNSUBACK."""
        _, mid = self.client.unsubscribe(list(filters))
        self._await(mid)

    def publish(self, topic, payload=None, qos=0, retain=False):
        """Publish and wait until it is sent, or acknowledged (PUBACK, PUBCOMP)."""
        info = self.client.publish(topic, payload, qos, retain)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()

    def offer(self, topic, payload, qos, retain):
        """Publish without waiting, and return paho's MQTTMessageInfo.

        paho's thread ends with the connection. If it ended before paho's `publish` returns, paho
        would report no connection for a message that has been sent.
        """
        with self._offering:
            return self.client.publish(topic, payload, qos, retain)

    def receive(self):
        """Return the next message."""
        return self.messages.get(timeout=PATIENCE)

    def take(self, count):
        """Return the next messages, each as (topic, payload, qos, retain)."""
        got = [self.receive() for _ in range(count)]
        return [(m.topic, bytes(m.payload), m.qos, bool(m.retain)) for m in got]

    def until(self, topic):
        """Return (topic, payload, qos) of all messages before the next one of this topic."""
        payloads = []
        while (message := self.receive()).topic != topic:
            payloads.append((message.topic, bytes(message.payload), message.qos))
        return payloads

    def cut(self):
        """Cut the connection without DISCONNECT."""
        with self._socket() as sock:
            sock.shutdown(socket.SHUT_RDWR)
        assert self.lost.wait(PATIENCE)

    def close(self):
        """Disconnect and end paho's thread."""
        client = self.client
        client.disconnect()
        client.loop_stop()
        # A reference cycle might let the sockets be collected before paho closes them.
        client.on_connect = client.on_connect_fail = client.on_disconnect = None
        client.on_message = client.on_subscribe = client.on_unsubscribe = None


class MqttPeers:
    """All clients of one test."""

    def __init__(self, cluster):
        self.cluster = cluster
        self._peers = []

    def connect(self, client_id="", *, gateway=None, transport="tcp", **options):
        """Connect, at the gateway of that number unless it is None. Raises Refused."""
        kind = "websocket" if transport == "websockets" else "mqtt"
        address = ("127.0.0.1", self.cluster.ports[kind])
        for _ in range(TRIES):
            peer = MqttPeer(address, client_id, transport=transport, **options)
            peer.gateway = self.cluster.gateway_at(peer.place, kind)
            if gateway in (None, peer.gateway):
                self._peers.append(peer)
                return peer
            peer.close()
        raise AssertionError(f"no connection landed at gateway {gateway}")

    def close(self):
        for peer in self._peers:
            peer.close()
