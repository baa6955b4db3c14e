"""Subscriptions of gateways, the events sent to them, and replays."""
