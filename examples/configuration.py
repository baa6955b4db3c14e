"""Device configuration: changed and watched over WAMP, received by the devices over MQTT.

Run `make setup` once and `make run` in one shell. Then, in three other shells:

    .venv/bin/python examples/configuration.py watch              # WAMP: shows target and actual
    .venv/bin/python examples/configuration.py device lamp        # MQTT: applies its configuration
    .venv/bin/python examples/configuration.py set lamp level=3   # WAMP: changes a setting

You may start and restart the programs in any order, because a device's configuration is a key, and
so is its report of what it has applied. `set lamp level=null` removes a setting.
"""

import argparse
import json
import sys
from contextlib import suppress

import paho.mqtt.client as mqtt
from autobahn.asyncio.component import Component
from keys import KeyOptions, StateOptions, run

WANTED = "com.example.wanted."
APPLIED = "com.example.applied."


def setting(text):
    """A key, and the value that its JSON means."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no SETTING=JSON, such as level=3")
    try:
        return key, json.loads(value)
    except ValueError:
        hint = f"text needs quotes: '{key}=\"{value}\"'"
        raise argparse.ArgumentTypeError(f"{value!r} is no JSON; {hint}") from None


parser = argparse.ArgumentParser()
roles = parser.add_subparsers(dest="role", required=True)
roles.add_parser("watch")
roles.add_parser("device").add_argument("name")
change = roles.add_parser("set")
change.add_argument("name")
change.add_argument("settings", nargs="+", type=setting, metavar="SETTING=JSON")
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
parser.add_argument("--mqtt-port", type=int, default=1883)
arguments = parser.parse_args()


def device(name):
    """A device knows only MQTT and JSON. The dots of WAMP topics are slashes in MQTT."""
    wanted, applied = (f"{topic}{name}".replace(".", "/") for topic in (WANTED, APPLIED))
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)

    def connected(client, *_):
        client.subscribe(wanted, qos=1)

    def configured(client, _userdata, event):
        print(f"{name} applies {event.payload.decode()}", flush=True)
        client.publish(applied, event.payload, qos=1, retain=True)

    client.on_connect, client.on_message = connected, configured
    try:
        client.connect("127.0.0.1", arguments.mqtt_port)
    except OSError as error:
        sys.exit(f"Cannot connect to 127.0.0.1:{arguments.mqtt_port}: {error.strerror}.")
    with suppress(KeyboardInterrupt):
        client.loop_forever()


async def set_settings(session, name, settings):
    # The router merges the changes into the key, so concurrent changes do not get lost.
    await session.publish(WANTED + name, dict(settings), options=KeyOptions(patch=True))
    session.leave()


async def watch(session):
    def shows(prefix, verb):
        def changed(*value, details):
            what = json.dumps(value[0]) if value else "nothing"
            print(f"{details.topic.removeprefix(prefix)} {verb} {what}", flush=True)

        return session.subscribe(changed, prefix, options=StateOptions(match="prefix"))

    await shows(WANTED, "should have")
    await shows(APPLIED, "has")


def over_wamp():
    component = Component(transports=arguments.url, realm="realm1")

    @component.on_join
    async def joined(session, _details):
        if arguments.role == "watch":
            await watch(session)
        else:
            await set_settings(session, arguments.name, arguments.settings)

    run(component, arguments.url)


if arguments.role == "device":
    device(arguments.name)
else:
    over_wamp()
