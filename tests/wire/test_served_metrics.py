"""`/metrics` of a server in one process."""

import httpx
from cluster import await_true
from prometheus_client.parser import text_string_to_metric_families
from served import Served


class WithWeb(Served):
    """`fox serve` with HTTP, whose nodes report often."""

    def environment(self, **more):
        return super().environment(
            **{**more, "FOX_WEB_ADDRESS": f"127.0.0.1:{self.web}", "FOX_METRICS_INTERVAL": "0.2"}
        )


def read(served):
    try:
        text = httpx.get(f"http://127.0.0.1:{served.web}/metrics", timeout=30).text
    except httpx.TransportError:
        return {}
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_fox_serve_has_the_metrics_of_all_its_nodes():
    with WithWeb() as served:
        await_true("a node has reported", lambda: ("fox_shard_keys", "shard-0") in read(served))
        found = read(served)
        up = {at[1] for at in found if at[0] == "fox_process_up"}
        assert up == {"gateway-0", "shard-0", "coordinator", "web"}
        assert {found["fox_process_up", process] for process in up} == {1.0}
        assert found["fox_process_resident_memory_bytes", "gateway-0"] > 0
        assert ("fox_process_resident_memory_bytes", "shard-0") not in found
        assert found["fox_web_streams", "web"] == 0
