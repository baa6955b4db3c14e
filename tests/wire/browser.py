"""A headless Chromium, and a server of the page that it opens.

Owns: starting and ending both, and which certificates the browser trusts. Never: what the page
does, which is in tests/wire/js.
"""

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import node
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

END = 60
"""Seconds the browser has to end."""

FILES = {
    "/": ("text/html", "page.html"),
    "/visit.js": ("text/javascript", "visit.js"),
    "/autobahn.js": ("text/javascript", "node_modules/autobahn-browser/autobahn.min.js"),
    "/wampy.js": ("text/javascript", "node_modules/wampy/dist/browser/wampy.min.js"),
    "/wampy-all.js": ("text/javascript", "node_modules/wampy/dist/browser/wampy-all.min.js"),
    "/wampcra.js": ("text/javascript", "node_modules/wampy/dist/esm/auth/wampcra/wampy-cra.js"),
}


def executable():
    """Return the path of Chromium. Without it the test is skipped; in CI it fails."""
    found = shutil.which("chromium")
    if found is None:
        reason = "there is no Chromium (Debian package chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Pages(BaseHTTPRequestHandler):
    """Answers with the page and its scripts."""

    def do_GET(self):
        if self.path not in FILES:
            self.send_error(404)
            return
        kind, file = FILES[self.path]
        content = (node.JS / file).read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Print nothing."""


class PageServer:
    """Serves the page over https at a free port of 127.0.0.1."""

    def __init__(self, certificate, key):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _key_of(certificate):
    """Return the hash of the public key in a PEM file."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    key = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


class Browser:
    """Chromium, in which pages make visits one after the other."""

    def __init__(self, certificate=None, hosts=()):
        """certificate: the PEM file of the only one to trust. hosts: names that are 127.0.0.1."""
        trusted = "" if certificate is None else _key_of(certificate)
        rules = ",".join(f"MAP {host} 127.0.0.1" for host in hosts)
        self._process = subprocess.Popen(
            ["node", str(node.JS / "browser.cjs"), executable(), trusted, rules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def visit(self, url, library, plan):
        """Open the page, let it carry out the plan of visit.js, and return what it saw."""
        print(json.dumps({"url": url, "library": library, "plan": plan}), file=self._process.stdin)
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser has ended"
        return json.loads(line)

    def close(self):
        try:
            self._process.communicate(timeout=END)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.communicate(timeout=END)
        assert self._process.returncode == 0
