"""The links between processes: frames, numbering, credit, placement, sockets."""
