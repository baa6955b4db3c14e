"""Sessions, independent of their protocols."""
