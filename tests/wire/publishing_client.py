"""A program that publishes once, prints the publication id, and stays until it is killed.

Usage: python publishing_client.py <rawsocket port> <topic> <options as JSON> <argument as JSON>.
"""

import json
import sys

from raw_wamp import PUBLISH, PUBLISHED, RawWamp

port, topic, options, argument = sys.argv[1:]
client = RawWamp(int(port))
options = {"acknowledge": True, **json.loads(options)}
print(client.do(PUBLISH, options, topic, [json.loads(argument)], answer=PUBLISHED)[2], flush=True)
sys.stdin.read()
