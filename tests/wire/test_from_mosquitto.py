"""docs/from-mosquitto.md: mosquitto's bridge leads here, configured as it is printed."""

import re
import shutil
import subprocess
from queue import Queue

import pytest
from cluster import END, ROOT, await_true
from mqtt_peers import PahoClient
from paho.mqtt.enums import CallbackAPIVersion

from bench.measure import listening
from bench.ports import free_port

PAGE = (ROOT / "docs" / "from-mosquitto.md").read_text()
PATIENCE = 60.0


class Client:
    """A client with a queue of what it gets."""

    def __init__(self, port, *topics):
        self.got = Queue()
        self._paho = PahoClient(CallbackAPIVersion.VERSION2)
        self._paho.on_message = lambda _client, _data, message: self.got.put(message)
        self._paho.connect("127.0.0.1", port)
        self._paho.loop_start()
        await_true("it has connected", self._paho.is_connected)
        for topic in topics:
            self._paho.subscribe(topic, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._paho.disconnect()
        self._paho.loop_stop()

    def publish(self, topic, payload, **options):
        self._paho.publish(topic, payload, qos=1, **options).wait_for_publish(PATIENCE)


@pytest.fixture
def mosquitto(cluster, tmp_path):
    """Start mosquitto with the printed bridge, and return its port."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("mosquitto is not installed (Debian package mosquitto)")
    (bridge,) = re.findall(r"^```conf\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    port = free_port()
    file = tmp_path / "mosquitto.conf"
    bridge = bridge.replace("127.0.0.1:1883", f"127.0.0.1:{cluster.mqtt}")
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{bridge}")
    with (tmp_path / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(file)], stdout=log, stderr=log)
    try:
        await_true("mosquitto listens", lambda: listening(port))
        yield port
    finally:
        process.terminate()
        process.wait(END)


def test_its_bridge_takes_what_was_retained_and_brings_what_is_published(cluster, mosquitto):
    with Client(mosquitto, "commands/#") as old, Client(cluster.mqtt, "sensors/#") as new:
        old.publish("sensors/kitchen", "21.5", retain=True)
        message = new.got.get(timeout=PATIENCE)
        assert (message.topic, message.payload) == ("sensors/kitchen", b"21.5")
        new.publish("commands/kitchen", "warmer")
        message = old.got.get(timeout=PATIENCE)
        assert (message.topic, message.payload) == ("commands/kitchen", b"warmer")
    with Client(cluster.mqtt, "sensors/kitchen") as late:
        message = late.got.get(timeout=PATIENCE)
        assert (message.payload, message.retain) == (b"21.5", True)
