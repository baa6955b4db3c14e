"""Everything between processes: frames, links, placement, sockets."""
