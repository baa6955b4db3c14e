"""The cluster in one thread under one seed: a simulator for tests."""
