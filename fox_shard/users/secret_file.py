"""Who may read a file with secrets.

Owns: the rule. Never: what is in the file; what is said of one that is exposed.
"""

import os
import stat

_OTHERS = 0o077
_GROUP_READS = 0o040


def exposing_mode(status: os.stat_result, user: int) -> str:
    """Return the mode that lets others than that user do anything with the file; "": it does not.

    status: of the open file. The group of a file of root's may read it: how else would root give it
    to one user, as Kubernetes does with secrets? (PostgreSQL has the same rule for its keys.)
    """
    allowed = _GROUP_READS if status.st_uid == 0 and user != 0 else 0
    mode = stat.S_IMODE(status.st_mode)
    return f"{mode:04o}" if mode & _OTHERS & ~allowed else ""
