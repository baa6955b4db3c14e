"""`fox serve`: a process of its own for a server in one process.

Owns: what such a process does for itself: signals, log, limits, garbage. Never: the server (see
`router`).
"""

import asyncio
import resource
import signal
from pathlib import Path

import uvloop

from fox_shard.config import check_any_listener
from fox_shard.embedded.errors import RouterError
from fox_shard.embedded.http_server import HttpServer
from fox_shard.embedded.router import FoxRouter
from fox_shard.errors import StartError
from fox_shard.gateway.sockets.listening import ListenError
from fox_shard.runtime.addresses import check_addresses
from fox_shard.runtime.descriptors import watch_descriptors
from fox_shard.runtime.interpreter import settle_garbage, share_with_store
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.sentences import tell


def run_serve(file: Path | None) -> int:
    """Run the server until SIGTERM or SIGINT. Returns the exit code.

    file: the configuration file; None: see `FoxRouter`. Raises ConfigError.
    """
    router = FoxRouter(file)
    check_any_listener(router.config)
    try:
        check_addresses(router.config)
    except ListenError as error:
        tell(f"fox: {error}")
        return 1
    set_up_logging(router.config)
    # Each client is a file.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    share_with_store()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(router))
        except RouterError as error:
            # What advises applications is left out.
            reason = error.__cause__ if isinstance(error.__cause__, StartError) else error
            tell(f"fox: {reason}")
            return 1
    return 0


async def _serve(router: FoxRouter) -> None:
    loop = asyncio.get_running_loop()
    address = router.config.web.address
    http = HttpServer(router, address) if address is not None else None
    if http is not None:
        router.add(http)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await router.start()
    loop.add_signal_handler(signal.SIGHUP, router.reload_certificates)
    if router.openness:
        tell(router.openness)
    watch_descriptors("router", loop)
    if http is not None:
        await http.start()
    settle_garbage()
    ends = [stopped.wait(), router.wait(), *([http.wait()] if http is not None else [])]
    waits = [asyncio.create_task(one) for one in ends]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for one in waits:
        one.cancel()
    if http is not None:
        await http.stop()
    await router.stop()
    await router.wait()
