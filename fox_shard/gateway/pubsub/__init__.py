"""Publishing, subscribing and fan-out."""
