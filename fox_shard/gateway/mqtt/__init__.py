"""MQTT 3.1 and 3.1.1: packets and sessions. Knows nothing of WAMP."""
