"""Retained keys: values, expiry, owners, conditions, and the publishes that wait for them."""
