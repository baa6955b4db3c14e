"""Gateways, which speak WAMP and MQTT to clients, and frames to the shards."""
