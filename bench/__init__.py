"""The benchmark: throughput, CPU per message, latency and memory, beside mosquitto and fox-wamp."""
