"""Gateways: terminate WAMP and MQTT connections, speak frames to the shards."""
