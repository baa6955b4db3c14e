"""An HTTP server to which webhooks post, and whose answers a test chooses.

Owns: the server, and what it was sent. Never: what a webhook should send.
"""

import json
import ssl
import threading
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

HANG = "hang"
"""In place of a status: no answer comes before the target ends."""


class Request(NamedTuple):
    path: str
    headers: dict
    body: bytes

    @property
    def document(self):
        return json.loads(self.body)

    @property
    def topic(self):
        return self.document["type"]

    @property
    def value(self):
        return self.document["data"]["args"][0]


class Target:
    """The server, from `with` to its end. requests: all that it has got, also unanswered ones."""

    def __init__(self, certificate=None):
        """certificate: (certificate, key) files, for TLS."""
        self.requests = []
        # Path, or topic -> the next answers; the last one stays. A status, or (status, headers).
        self.answers = defaultdict(deque)
        self._released = threading.Event()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body)
                target.requests.append(request)
                target.answer(self, request)

            def do_GET(self):
                target.requests.append(Request(f"GET {self.path}", {}, b""))
                target.reply(self, 200)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        # A handshake that fails is no trouble of the test.
        self._server.handle_error = lambda *_: None
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def will(self, what, *answers):
        """Choose the next answers to a path or a topic."""
        self.answers[what] = deque(answers)

    def answer(self, handler, request):
        answers = self.answers.get(request.path) or self.answers.get(request.topic) or [200]
        found = answers[0]
        if len(answers) > 1:
            answers.popleft()
        if found == HANG:
            self._released.wait()
            handler.close_connection = True
            return
        status, headers = found if isinstance(found, tuple) else (found, {})
        self.reply(handler, status, headers)

    @staticmethod
    def reply(handler, status, headers=()):
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    def got(self, path):
        return [request for request in [*self.requests] if request.path == path]

    def values(self, path, topic):
        """Return the values posted of a topic, each once, in order of their first request."""
        found = (request.value for request in self.got(path) if request.topic == topic)
        return list(dict.fromkeys(found))
