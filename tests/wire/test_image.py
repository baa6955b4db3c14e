"""The image and its pod, without Docker or a cluster: the Dockerfile's steps in an empty folder.

As root, the server then runs as the pod's user, with a root file system that is read-only.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tomllib
import venv

import pytest
import yaml
from cluster import END, ROOT, Places

from bench.ports import free_port

INSTALLING = 300.0
MANIFESTS = list(yaml.safe_load_all((ROOT / "conf" / "kubernetes.yaml").read_text()))
POD = next(one for one in MANIFESTS if one["kind"] == "StatefulSet")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
USER = POD["securityContext"]["runAsUser"]

# Everything read-only but the folders that are named behind `--`, until the next one.
READ_ONLY = """
mount --make-rprivate / && mount --bind / / && mount -o remount,bind,ro /
while [ "$1" != -- ]; do mount --bind "$1" "$1" && mount -o remount,bind,rw "$1"; shift; done
shift
exec setpriv --reuid {user} --regid {user} --clear-groups -- "$@"
"""


def instructions(name):
    """Return what follows each instruction of that name in the Dockerfile, lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def isolated():
    """Whether this machine lets us run something as another user on a read-only file system."""
    if os.getuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv"))):
        return False
    command = ["unshare", "--mount", "sh", "-ec", READ_ONLY.format(user=USER), "sh", "--", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Image:
    """The folder that the Dockerfile's steps make, beside an environment of Python."""

    def __init__(self, folder):
        self.app = folder / "app"
        self.app.mkdir()
        self.programs = folder / "python" / "bin"
        venv.create(folder / "python", with_pip=True)
        ignored = shutil.ignore_patterns("__pycache__", "users.toml")
        for line in instructions("COPY"):
            *sources, _ = line.split()
            for name in sources:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, self.app / name, symlinks=True, ignore=ignored)
                else:
                    shutil.copy(ROOT / name, self.app / name)
        for line in instructions("RUN"):
            self._run(line if isolated() else line.replace("-o 1000 -g 1000", ""))

    def _run(self, line):
        hidden = ("PYTHONPATH", "PYTHONSAFEPATH")
        environment = {name: text for name, text in os.environ.items() if name not in hidden}
        environment["PATH"] = f"{self.programs}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-ec", line],
            cwd=self.app,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALLING,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def environment(self):
        (line,) = instructions("ENV")
        pairs = dict(one.split("=", 1) for one in shlex.split(line))
        return {name: text.replace("/app", str(self.app)) for name, text in pairs.items()}


@pytest.fixture
def server():
    places = Places(2, 1)
    places.folder.chmod(0o755)
    yield places
    places.remove()


def test_the_build_sends_what_the_dockerfile_copies():
    lines = (ROOT / ".dockerignore").read_text().split()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {name for line in instructions("COPY") for name in line.split()[:-1]}
    assert lines[0] == "*"
    assert sent == copied


def test_the_server_runs_in_its_pod(server):
    image = Image(server.folder)
    apart = isolated()
    server.run_dir = image.app / "run"
    temporary = server.folder / "tmp"
    temporary.mkdir(mode=0o777)
    temporary.chmod(0o777)
    listener = free_port()
    configure(image.app / "conf" / "fox.toml", listener)
    users = add_user(server.folder, image)
    if apart:
        # As the kubelet mounts a secret for fsGroup.
        os.chown(users, 0, USER)
        users.chmod(0o440)
    environment = {
        "PATH": f"{image.programs}:/usr/bin:/bin",
        "TMPDIR": str(temporary),
        **image.environment(),
        **{one["name"]: one["value"] for one in CONTAINER["env"]},
        "FOX_USERS": str(users),
        "FOX_GATEWAY_WEBSOCKET": f"127.0.0.1:{server.websocket}",
        "FOX_GATEWAY_RAWSOCKET": f"127.0.0.1:{server.rawsocket}",
        "FOX_GATEWAY_MQTT": f"127.0.0.1:{server.mqtt}",
        "FOX_WEB_ADDRESS": f"127.0.0.1:{server.web}",
    }
    server.gateways, server.shards = (
        int(environment["FOX_GATEWAYS"]),
        int(environment["FOX_SHARDS"]),
    )

    def in_the_pod(command):
        if not apart:
            return command
        writable = [str(image.app / "data"), str(server.run_dir), str(temporary)]
        script = READ_ONLY.format(user=USER)
        return ["unshare", "--mount", "sh", "-ec", script, "sh", *writable, "--", *command]

    def ran(*command):
        return subprocess.run(
            in_the_pod(command),
            cwd=image.app,
            env={**environment, "FOX_PASSWORD": "s3cret"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    (start,) = instructions("CMD")
    with (server.folder / "said.log").open("wb") as said:
        if apart:
            # As container runtimes hand over a container's output.
            os.fchown(said.fileno(), USER, USER)
        process = subprocess.Popen(
            in_the_pod(words_of(start)),
            cwd=image.app,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        server.await_ready(unless=lambda: process.poll() is None or pytest.fail("it has ended"))
        (check,) = (line.partition("CMD ")[2] for line in instructions("HEALTHCHECK"))
        assert words_of(check) == CONTAINER["startupProbe"]["exec"]["command"]
        well = ran(*words_of(check))
        assert well.returncode == 0, well.stdout + well.stderr
        put = ran("fox", "put", "com.example.a", "1", "--user", "peter")
        assert put.returncode == 0, put.stderr
        assert (image.app / "data" / "manifest.json").exists()
        (stop,) = instructions("STOPSIGNAL")
        process.send_signal(signal.Signals[stop])
        assert process.wait(END) == 0
    finally:
        process.kill()
        process.wait()
        print((server.folder / "said.log").read_text())


def words_of(text):
    """Return the words of an instruction in exec form."""
    return [str(word) for word in yaml.safe_load(text)]


def configure(file, port):
    """Put the ConfigMap's file in its place, with a free port for its listener."""
    (config,) = (one for one in MANIFESTS if one["kind"] == "ConfigMap")
    text = config["data"]["fox.toml"]
    assert tomllib.loads(text)["listener"][0]["address"] == "0.0.0.0:8090"
    file.write_text(text.replace("0.0.0.0:8090", f"127.0.0.1:{port}"))


def add_user(folder, image):
    """Make a file with one user, and return its path."""
    users = folder / "users.toml"
    subprocess.run(
        [image.programs / "fox", "user", "add", "peter", "--realm", "realm1", "--role", "backend"],
        cwd=image.app,
        env={"PATH": os.environ["PATH"], "FOX_USERS": str(users)},
        input="s3cret\n",
        text=True,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return users
