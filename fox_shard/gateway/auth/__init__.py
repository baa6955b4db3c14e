"""Authentication: how clients prove who they are, in WAMP and MQTT alike."""
