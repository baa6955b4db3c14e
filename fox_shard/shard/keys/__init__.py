"""Retained keys: values, expiry, owners, conditions, and wait queues."""
