"""The chaos test: kills real processes at random under load, and checks the server's promises."""
