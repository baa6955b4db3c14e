"""A gateway that has no file descriptors left for clients."""

import resource
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from cluster import await_true
from raw_wamp import PUBLISH, PUBLISHED, RawWamp


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux has prlimit(2)")
def test_a_gateway_without_descriptors_says_so_once_and_serves_its_clients(own_cluster):
    cluster = own_cluster(gateways=1, shards=1)
    limit = 80
    with closing(RawWamp(cluster.rawsocket)) as before:
        resource.prlimit(cluster.gateway_pids[0], resource.RLIMIT_NOFILE, (limit, limit))
        with ExitStack() as stack:
            for _ in range(limit):
                client = socket.create_connection(("127.0.0.1", cluster.mqtt))
                stack.callback(client.close)
            await_true("it is logged", lambda: "no_descriptors" in cluster.log())
            before.do(PUBLISH, {"acknowledge": True}, "a.b", answer=PUBLISHED)
        files = Path(f"/proc/{cluster.gateway_pids[0]}/fd")
        await_true("they have gone", lambda: len(list(files.iterdir())) < limit // 2)
        with closing(RawWamp(cluster.rawsocket)) as after:
            after.do(PUBLISH, {"acknowledge": True}, "a.b", answer=PUBLISHED)
    assert cluster.log().count(f"ERROR   gateway-0 no_descriptors limit={limit}") == 1
    cluster.end()
