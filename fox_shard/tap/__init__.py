"""What the processes of a running server send to each other, seen from outside."""
