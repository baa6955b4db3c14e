"""fox-shard: WAMP and MQTT clients on one topic space, over gateways, shards and a coordinator."""

__version__ = "0.1.0"
