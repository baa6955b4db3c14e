"""`fox top`: a live view of the processes of a server, in the terminal.

`answers` asks the processes, `monitor` makes a snapshot of what they say, `picture` puts that into
lines, and `screen` shows these.
"""
