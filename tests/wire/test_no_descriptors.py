"""A gateway that has no file descriptors left for clients."""

import resource
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from cluster import await_true
from raw_wamp import PUBLISH, PUBLISHED, at_gateway

FREE, CLIENTS = 30, 120
"""Descriptors that are left for clients of one gateway, and clients: about half are that one's."""


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux has prlimit(2)")
def test_a_gateway_without_descriptors_says_so_once_and_serves_its_clients(own_cluster):
    with own_cluster() as cluster, closing(at_gateway(cluster, 0)) as before:
        pid = cluster.gateway_pids[0]
        files = Path(f"/proc/{pid}/fd")
        needed = len(list(files.iterdir()))
        limit = needed + FREE
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        with ExitStack() as stack:
            for _ in range(CLIENTS):
                client = socket.create_connection(("127.0.0.1", cluster.mqtt))
                stack.callback(client.close)
            await_true("it is logged", lambda: "no_descriptors" in cluster.log())
            before.do(PUBLISH, {"acknowledge": True}, "a.b", answer=PUBLISHED)
        await_true("they have gone", lambda: len(list(files.iterdir())) <= needed)
        with closing(at_gateway(cluster, 0)) as after:
            after.do(PUBLISH, {"acknowledge": True}, "a.b", answer=PUBLISHED)
        assert cluster.log().count(f"ERROR   gateway-0 no_descriptors limit={limit}") == 1
