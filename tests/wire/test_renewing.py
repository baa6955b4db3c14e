"""A certificate is renewed under supervisord, by the command that docs/tls.md names."""

import re
import shlex
import socket
import ssl
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cluster import ROOT, await_true
from raw_wamp import PUBLISH, PUBLISHED, RawWamp
from supervised import Supervised

from bench.ports import free_port

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from certificates import Authority

SECTION = """
[[listener]]
protocol = "websocket"
address = "127.0.0.1:{port}"
certificate = "server.pem"
key = "server.key"
"""


class Encrypted:
    """A server under supervisord with two gateways and a listener with TLS."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        self.authority.sign("server", "localhost")
        self.port = free_port()
        config = folder / "fox.toml"
        text = (ROOT / "conf" / "fox.toml").read_text()
        config.write_text(text + SECTION.format(port=self.port))
        self.broker = Supervised(config=config)

    def shown(self):
        """Return the certificate that one of the gateways shows."""
        context = ssl.create_default_context(cafile=self.authority.path)
        with (
            socket.create_connection(("127.0.0.1", self.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            return encrypted.getpeercert(binary_form=True)

    def renew(self):
        """Replace the certificate, and return the new one."""
        certificate, _ = self.authority.sign("server", "localhost")
        return ssl.PEM_cert_to_DER_cert(certificate.read_text())

    def readers(self):
        """Return the names of the gateways that have said that they read a certificate."""
        return set(re.findall(r"(gateway-\d) certificate_read ", self.broker.said.read_text()))


@pytest.fixture
def encrypted(tmp_path):
    encrypted = Encrypted(tmp_path)
    yield encrypted
    assert encrypted.broker.stop() == 0


def documented():
    """Return the arguments of supervisorctl in docs/tls.md, behind its configuration file."""
    text = (ROOT / "docs" / "tls.md").read_text()
    (line,) = re.findall(r"^    \.venv/bin/supervisorctl -c conf/fox\.conf (.*)$", text, re.M)
    return shlex.split(line)


def test_the_documented_command_renews_the_certificate_of_all_gateways(encrypted):
    broker = encrypted.broker
    before = broker.children()
    with closing(RawWamp(broker.rawsocket)) as client:
        new = encrypted.renew()
        assert encrypted.shown() != new
        said = broker.ctl(*documented())
        assert said.split() == [
            "gateway:gateway-0:",
            "signalled",
            "gateway:gateway-1:",
            "signalled",
        ]
        await_true("both have read it", lambda: encrypted.readers() == {"gateway-0", "gateway-1"})
        assert {encrypted.shown() for _ in range(10)} == {new}
        client.do(PUBLISH, {"acknowledge": True}, "renewed.topic", answer=PUBLISHED)
    assert broker.children() == before
