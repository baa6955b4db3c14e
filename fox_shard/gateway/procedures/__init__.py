"""The procedures that a gateway answers itself."""
