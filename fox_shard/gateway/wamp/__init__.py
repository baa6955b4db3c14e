"""WAMP v2: messages, serializers, transports and sessions. Knows nothing of MQTT."""
