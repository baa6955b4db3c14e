"""Keys of tokens from files and https URLs."""

import ssl
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from certificates import Authority
from token_samples import SECRET, key_set, pem, settings

from fox_shard.config import Config, Realm
from fox_shard.gateway.auth.token_keys import TokenKeysError
from fox_shard.runtime.token_keys import TokenKeysFileError, TokenKeysWatch, fetch, read_file


class Handler(BaseHTTPRequestHandler):
    """An identity provider."""

    def do_GET(self):
        path = self.path
        self.send_response(302 if path == "/moved" else 404 if path == "/none" else 200)
        if path == "/moved":
            self.send_header("Location", "/keys")
        self.end_headers()
        self.wfile.write(b"x" * 5000 if path == "/long" else key_set(("rsa", "a", 0)))

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def provider(tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("server", "localhost"))
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def at(url, **more):
    return settings(key="", jwks=url, **more)


def test_a_key_set_is_fetched(provider):
    assert len(fetch(at(f"{provider}/keys"))) == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/moved", "answers with the status 302"),
        ("/none", "answers with the status 404"),
        ("/long", r"longer than 4096 bytes \(jwks_size\)"),
    ],
)
def test_an_answer_that_is_no_key_set_is_refused(provider, path, reason):
    with pytest.raises(TokenKeysError, match=reason):
        fetch(at(provider + path, jwks_size=4096))


def test_a_server_that_is_not_trusted_is_not_believed(provider, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(TokenKeysError, match=r"cannot be read: .*CERTIFICATE_VERIFY_FAILED"):
        fetch(at(f"{provider}/keys"))


def test_nobody_listens():
    with pytest.raises(TokenKeysError, match="cannot be read"):
        fetch(at("https://127.0.0.1:1/keys"))


def test_a_secret_must_be_its_owners(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o640)
    with pytest.raises(TokenKeysError, match="chmod 600"):
        read_file(settings("HS256", key=str(path)))
    path.chmod(0o600)
    assert len(read_file(settings("HS256", key=str(path)))) == 1


def test_a_public_key_may_be_everybodys(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(pem("ec"))
    assert len(read_file(settings(key=str(path)))) == 1


def test_a_gateway_does_not_start_without_its_file(tmp_path):
    realm = Realm(name="realm1", jwt=settings(key=str(tmp_path / "none")))
    with pytest.raises(TokenKeysFileError, match=r"^realm realm1, jwt: .*none cannot be read: No"):
        TokenKeysWatch(Config(realms=(realm,)), "gateway-0")
