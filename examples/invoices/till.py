"""A till: publishes invoices over MQTT, at random, until Ctrl-C.

It knows nothing of tables, only a topic: an invoice is a JSON object. A row that is not valid is
dropped, because MQTT 3.1.1 has no way to refuse it; `fox health` counts such publishes.
"""

import argparse
import json
import random
import sys
import time
from contextlib import suppress
from datetime import date

import paho.mqtt.client as mqtt

CUSTOMERS = ("acme", "Globex Corp.", "Initech", "Stark & Co", "Žižkov s.r.o.")

parser = argparse.ArgumentParser()
parser.add_argument("name", help="of the till: the invoices' numbers begin with it")
parser.add_argument("--count", type=int, default=0, help="of invoices; 0: without end")
parser.add_argument("--pause", type=float, default=0.2, help="seconds between two invoices")
parser.add_argument("--mqtt-port", type=int, default=1883)
arguments = parser.parse_args()


def publish_invoices(client):
    opened = int(time.time())
    number = 0
    while not arguments.count or number < arguments.count:
        number += 1
        cents = random.randint(1, 50_000)
        invoice = {
            # A till that starts again must not use numbers for a second time: it would replace
            # those invoices.
            "number": f"{arguments.name}-{opened}-{number}",
            "customer": random.choice(CUSTOMERS),
            "date": date.today().isoformat(),
            "amount": f"{cents // 100}.{cents % 100:02}",
        }
        client.publish("com/example/invoice", json.dumps(invoice), qos=1).wait_for_publish()
        print(invoice["number"], invoice["customer"], invoice["amount"], flush=True)
        time.sleep(arguments.pause)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
try:
    client.connect("127.0.0.1", arguments.mqtt_port)
except OSError as error:
    sys.exit(f"Cannot connect to 127.0.0.1:{arguments.mqtt_port}: {error.strerror}.")
client.loop_start()
with suppress(KeyboardInterrupt):
    publish_invoices(client)
client.disconnect()
client.loop_stop()
