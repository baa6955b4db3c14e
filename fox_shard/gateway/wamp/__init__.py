"""WAMP v2: messages, serializers and sessions. Knows nothing of MQTT."""
