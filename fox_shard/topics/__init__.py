"""Topics: their names, the patterns that match them, and the indexes over both."""
