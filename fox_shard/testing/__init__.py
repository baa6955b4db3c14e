"""The simulator: the cores of all processes in one thread, with virtual time, from one seed."""
