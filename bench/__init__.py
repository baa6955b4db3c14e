"""The benchmark: load, broker CPU per message, latency, memory, beside mosquitto and fox-wamp."""
