"""The data folder: opening it, resharding, backups, and the commands that work on it."""
