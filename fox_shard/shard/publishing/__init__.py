"""Publishes that change the store or depend on it, from their arrival to their answers."""
