"""Whether the web server that runs this application has been told to stop.

Owns: how to find out. Never: what is done then.

ASGI says so in `lifespan.shutdown` only, for which uvicorn waits until all answers are complete: an
event stream would hold up the end of the web server for as long as its reader stays.
"""

import signal


def is_server_stopping() -> bool:
    """Whether uvicorn is stopping; False also under other web servers, which end answers.

    uvicorn's server handles signals itself, and has a public flag `should_exit`.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))
