"""Metrics: how often they are reported, and sending them to StatsD.

Owns: the intervals. Never: what is counted; datagrams (see `coordinator.statsd`).
"""

import asyncio

from fox_shard.config import Config
from fox_shard.coordinator.node import CoordinatorNode
from fox_shard.coordinator.statsd import Sender


def report_interval(config: Config) -> float:
    """Seconds between two reports to the coordinator; 0: nobody wants them."""
    wanted = [float(config.mqtt.sys_interval)] if config.mqtt.sys_interval else []
    if config.web.address is not None and config.metrics.access != "off":
        wanted.append(config.metrics.interval)
    if config.statsd.address is not None:
        wanted.append(config.statsd.interval)
    return min(wanted, default=0.0)


async def send_metrics(
    coordinator: CoordinatorNode, config: Config, stopping: asyncio.Event
) -> None:
    """Send the metrics to StatsD, if there is one, until `stopping` is set."""
    if config.statsd.address is None:
        await stopping.wait()
        return
    sender = Sender(config.statsd.address, config.statsd.prefix)
    loop = asyncio.get_running_loop()
    while not stopping.is_set():
        await until_either(stopping, config.statsd.interval)
        await sender.send(coordinator.metrics(loop.time()))
    sender.close()


async def until_either(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, or so many seconds have passed."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
