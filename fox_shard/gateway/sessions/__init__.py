"""Sessions, whatever protocol they speak."""
