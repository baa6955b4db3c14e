"""Webhooks: events are posted to the URLs that the configuration names."""
