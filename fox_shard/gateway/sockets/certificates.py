"""The certificates of a listener, and the names in those of its clients.

Owns: reading the files, the sentences about what is wrong with them, what TLS may be. Never:
connections, when the files are read again.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from fox_shard.config import Listener
from fox_shard.errors import StartError

NAME_LENGTH: Final = 255
"""Characters of the longest name of a user."""

_SAN: Final = {"dns": "DNS", "email": "email", "uri": "URI"}


class CertificateError(StartError):
    """A listener's files are not usable. The message is one sentence, which names the setting."""


def make_context(listener: Listener, where: str) -> ssl.SSLContext:
    """Read the files, and return the context for the next connections. Raises CertificateError.

    where: the listener's place in the configuration, such as `listener[0]`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client cannot make the server compute keys again and again.
    context.options |= ssl.OP_NO_RENEGOTIATION
    for key in ("certificate", "key"):
        _check_readable(getattr(listener, key), f"{where}.{key}")
    _certificates(listener.certificate, f"{where}.certificate")
    try:
        # Without a function, OpenSSL would ask at the terminal.
        context.load_cert_chain(listener.certificate, listener.key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError(_what_is_wrong(listener, where, error)) from error
    if listener.client_certificate != "off":
        _check_readable(listener.ca, f"{where}.ca")
        _certificates(listener.ca, f"{where}.ca")
        try:
            context.load_verify_locations(listener.ca)
        except ssl.SSLError as error:
            raise CertificateError(f"{where}.ca: {listener.ca}: {error.reason}.") from error
        required = listener.client_certificate == "required"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def expiry(listener: Listener, where: str) -> datetime:
    """Return until when the listener's certificate is valid. Raises CertificateError."""
    return _certificates(listener.certificate, f"{where}.certificate")[0].not_valid_after_utc


def is_expired(until: datetime, wall: float) -> bool:
    """Whether a certificate that is valid until then is not any more. wall: since 1970."""
    return until < datetime.fromtimestamp(wall, UTC)


def user_of(certificate: Mapping[str, Any], kind: str) -> str | None:
    """Return the user's name in a client's certificate; None: it has none, or several.

    certificate: as `ssl.SSLSocket.getpeercert` describes it. kind: `Listener.certificate_user`.
    """
    if kind == "cn":
        subject = certificate.get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
    else:
        alternatives = certificate.get("subjectAltName", ())
        names = [value for key, value in alternatives if key == _SAN[kind]]
    if len(names) != 1 or not 0 < len(names[0]) <= NAME_LENGTH:
        return None
    return str(names[0])


def _check_readable(path: str, where: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise CertificateError(f"{where}: cannot read {path}: {error.strerror}.") from error


def _certificates(path: str, where: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(f"{where}: {path} has no certificate in PEM form.") from error


def _what_is_wrong(listener: Listener, where: str, error: Exception) -> str:
    reason = getattr(error, "reason", "") or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return (
            f"{where}.key: {listener.key} is not the key of the certificate {listener.certificate}."
        )
    if "ENCRYPTED" in Path(listener.key).read_text(errors="replace"):
        return (
            f"{where}.key: {listener.key} is encrypted with a passphrase, and nobody is there to "
            "type it: store it without one."
        )
    if reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        return f"{where}.certificate: {listener.certificate} is too weak: {reason}."
    return f"{where}.key: {listener.key} has no private key in PEM form."
