"""What sessions may do: roles and their rules."""
