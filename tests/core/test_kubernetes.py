"""conf/kubernetes.yaml and docs/kubernetes.md agree with Kubernetes, the image and the program."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from supervisor.options import ServerOptions

from fox_shard.cli_arguments import HELP
from fox_shard.config import SETTINGS, Config, parse
from fox_shard.gateway.transports.websocket import HEALTH_PATH

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MANIFESTS = list(yaml.safe_load_all((ROOT / "conf" / "kubernetes.yaml").read_text()))
OF_KIND = {one["kind"]: one for one in MANIFESTS}
STATEFUL_SET = OF_KIND["StatefulSet"]["spec"]
POD = STATEFUL_SET["template"]["spec"]
(CONTAINER,) = POD["containers"]


def configured():
    """Return what the ConfigMap's file sets, with the container's variables."""
    variables = {one["name"]: one["value"] for one in CONTAINER["env"]}
    text = OF_KIND["ConfigMap"]["data"]["fox.toml"]
    return parse(text, variables, folder=Path("/app"), name="fox.toml")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: one["kind"])
@pytest.mark.parametrize("version", ["1.27", "1.31", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(manifest, version):
    kubernetes_validate.validate(manifest, version, strict=True)


def test_there_is_one_pod():
    assert STATEFUL_SET["replicas"] == 1


def test_the_file_and_the_variables_are_settings():
    variables = {f"FOX_{path.upper().replace('.', '_')}" for path in SETTINGS}
    assert {one["name"] for one in CONTAINER["env"]} <= variables
    config, origins = configured()
    assert origins["gateway.allowed_origins"] == "fox.toml"
    assert not config.auth.open
    assert config.gateway.rawsocket is None
    (listener,) = config.listeners
    assert listener.forwarded == "x-forwarded-for"


def test_the_container_is_the_image():
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    security = POD["securityContext"]
    assert (str(security["runAsUser"]), str(security["runAsGroup"])) == user.groups()
    assert security["fsGroup"] == security["runAsGroup"]
    (folder,) = re.findall(r"^WORKDIR (.*)$", DOCKERFILE, re.MULTILINE)
    mounted = {one["mountPath"]: one for one in CONTAINER["volumeMounts"]}
    made = re.search(r"install -d .* (data run)$", DOCKERFILE, re.MULTILINE).group(1).split()
    assert {f"{folder}/{name}" for name in made} <= set(mounted)
    (file,) = re.findall(r"FOX_CONFIG=(\S+)", DOCKERFILE)
    assert mounted[file]["subPath"] in OF_KIND["ConfigMap"]["data"]
    users = next(one["value"] for one in CONTAINER["env"] if one["name"] == "FOX_USERS")
    assert Path(users).parent.as_posix() in mounted
    assert "subPath" not in mounted[Path(users).parent.as_posix()]


def test_what_is_named_exists():
    claims = [one["metadata"]["name"] for one in STATEFUL_SET["volumeClaimTemplates"]]
    volumes = {one["name"]: one for one in POD["volumes"]}
    assert {one["name"] for one in CONTAINER["volumeMounts"]} == {*volumes, *claims}
    assert volumes["config"]["configMap"]["name"] == OF_KIND["ConfigMap"]["metadata"]["name"]
    assert f"secret generic {volumes['users']['secret']['secretName']} " in PAGE
    labels = STATEFUL_SET["template"]["metadata"]["labels"]
    service = OF_KIND["Service"]
    assert STATEFUL_SET["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert STATEFUL_SET["serviceName"] == service["metadata"]["name"]
    ports = {one["name"] for one in CONTAINER["ports"]}
    assert {one["targetPort"] for one in service["spec"]["ports"]} == ports
    backends = [
        path["backend"]["service"]
        for rule in OF_KIND["Ingress"]["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert {one["name"] for one in backends} == {service["metadata"]["name"]}
    assert {one["port"]["name"] for one in backends} <= ports


def test_the_ports_are_those_at_which_the_server_listens():
    config, _ = configured()
    (mqtt,) = re.findall(r"FOX_GATEWAY_MQTT=\S+:(\d+)", DOCKERFILE)
    (web,) = re.findall(r"FOX_WEB_ADDRESS=\S+:(\d+)", DOCKERFILE)
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    listens = {"websocket": config.listeners[0].address.port, "mqtt": int(mqtt), "http": int(web)}
    assert ports == listens


def test_probes_ask_what_answers():
    assert CONTAINER["startupProbe"]["exec"]["command"] == ["fox", "health"]
    for probe in (CONTAINER["readinessProbe"], CONTAINER["livenessProbe"]):
        assert probe["httpGet"] == {"path": HEALTH_PATH, "port": "websocket"}


def test_prometheus_is_led_to_metrics_that_it_may_read():
    said = STATEFUL_SET["template"]["metadata"]["annotations"]
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    assert said["prometheus.io/path"] == "/metrics"
    assert int(said["prometheus.io/port"]) == ports["http"]
    config, _ = configured()
    assert config.metrics.access == "all"
    paths = [
        path["path"]
        for rule in OF_KIND["Ingress"]["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert not any("/metrics".startswith(path) for path in paths)


def test_the_pod_has_time_to_stop(monkeypatch):
    monkeypatch.setenv("FOX_GATEWAYS", "2")
    monkeypatch.setenv("FOX_SHARDS", "1")
    options = ServerOptions()
    options.realize(["-c", str(ROOT / "conf" / "fox.conf")])
    # supervisord stops one group after the other, and the processes of a group together.
    waits = [
        max(process.stopwaitsecs for process in group.process_configs)
        for group in options.process_group_configs
    ]
    assert f"together ({sum(waits)} s)" in PAGE
    assert sum(waits) < POD["terminationGracePeriodSeconds"]


def test_the_proxy_lets_through_what_the_server_does():
    defaults = Config()
    said = OF_KIND["Ingress"]["metadata"]["annotations"]
    timeout = int(said["nginx.ingress.kubernetes.io/proxy-read-timeout"])
    assert timeout > max(defaults.gateway.ping_interval, defaults.web.answer_timeout)
    size = said["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(size.removesuffix("m")) << 20 == defaults.gateway.max_message_size


def test_the_page_names_commands_and_settings_that_exist():
    commands = set(re.findall(r"^  (\w+) ", HELP, re.MULTILINE))
    assert set(re.findall(r"\bfox ([a-z]+)", PAGE)) <= commands
    named = set(re.findall(r"`((?:gateway|backplane|web|auth|log)\.\w+)`", PAGE))
    assert named
    assert named <= set(SETTINGS)
