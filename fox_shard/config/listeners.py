"""Reading the sections [[listener]].

Owns: what they may contain, what must go together, and the place of a mistake. Never: files, so not
the contents of certificates, which gateways read when they start.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fox_shard.config.address import GATEWAY, PATH_LENGTH, Address, UnixPath
from fox_shard.config.listener import Listener
from fox_shard.config.mistakes import ConfigError, expected, refuse

MOST: Final = 100
"""Sections of one file."""

PROXIES: Final = 100
"""Networks of one listener."""

_UNIX: Final = "unix:"
_LISTED: Final = 'a list of networks such as ["10.0.0.0/8", "::1"]'


def read_listeners(raw: object, name: str, folder: Path, gateways: int) -> tuple[Listener, ...]:
    """Return the configured listeners. Raises ConfigError.

    raw: the file's value of `listener`; None: there is none. name: the file's name. folder: the
    absolute path to which paths of sockets are relative, like run_dir.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list) or not 0 < len(raw) <= MOST:
        refuse(f"{name}: listener", f"1 to {MOST} sections [[listener]]", raw, TypeError())
    listeners: list[Listener] = []
    for index, entry in enumerate(raw):
        where = f"{name}: listener[{index}]"
        if not isinstance(entry, dict):
            refuse(where, "a section [[listener]]", entry, TypeError())
        listener = _listener(entry, where, folder)
        _check(listener, where, gateways)
        if any(listener.address == other.address for other in listeners):
            raise ConfigError(f"{where}.address: there are two listeners at {listener.address}.")
        listeners.append(listener)
    return tuple(listeners)


def with_files(listeners: Sequence[Listener], folder: Path) -> tuple[Listener, ...]:
    """Return the listeners with absolute paths of certificates, relative to the file's folder."""

    def absolute(listener: Listener, key: str) -> str:
        path = getattr(listener, key)
        return str(folder / path) if path else ""

    files = ("certificate", "key", "ca")
    return tuple(replace(one, **{key: absolute(one, key) for key in files}) for one in listeners)


def _listener(entry: Mapping[str, Any], where: str, folder: Path) -> Listener:
    fields = {field.name: field for field in msgspec.structs.fields(Listener)}
    for key in entry:
        if key not in fields:
            listed = ", ".join(fields)
            raise ConfigError(f"{where}: there is no setting {key}; there are {listed}.")
    values: dict[str, Any] = {"address": _address(entry.get("address"), where, folder)}
    for key, field in fields.items():
        if key == "address" or (key not in entry and not field.required):
            continue
        raw = entry.get(key)
        try:
            values[key] = msgspec.convert(raw, field.type)
        except msgspec.ValidationError as error:
            wanted = _LISTED if key == "trusted_proxies" else expected(field.type)
            refuse(f"{where}.{key}", wanted, raw, error)
    return Listener(**values)


def _address(raw: object, where: str, folder: Path) -> Address | UnixPath:
    wanted = 'an address "host:port" with a port from 1 to 65535, or "unix:/path"'
    try:
        if not isinstance(raw, str):
            raise TypeError
        if not raw.startswith(_UNIX):
            return Address.parse(raw)
        path = raw.removeprefix(_UNIX)
        if not path or "\0" in path:
            raise ValueError
    except (TypeError, ValueError) as error:
        refuse(f"{where}.address", wanted, raw, error)
    absolute = UnixPath(str(folder / path))
    longest = len(absolute.of_gateway(999).path.encode())
    if longest > PATH_LENGTH:
        raise ConfigError(
            f"{where}.address: {absolute.path} is too long for a UNIX socket, whose path has at "
            f"most {PATH_LENGTH} bytes."
        )
    return absolute


def _check(listener: Listener, where: str, gateways: int) -> None:
    """Raise ConfigError if settings contradict each other."""
    _check_tls(listener, where)
    if listener.forwarded != "off" and listener.protocol != "websocket":
        raise ConfigError(f"{where}.forwarded is for HTTP: use proxy_protocol with this protocol.")
    if listener.forwarded != "off" and listener.proxy_protocol:
        raise ConfigError(f"{where}: proxy_protocol and forwarded contradict each other.")
    path = listener.address.path if isinstance(listener.address, UnixPath) else None
    if path is not None and gateways > 1 and GATEWAY not in path:
        raise ConfigError(
            f"{where}.address must contain {GATEWAY}, as unix:run/mqtt-{GATEWAY}.sock does: each "
            f"of the {gateways} gateways has a UNIX socket of its own."
        )
    if len(listener.trusted_proxies) > PROXIES:
        raise ConfigError(f"{where}.trusted_proxies has more than {PROXIES} networks.")
    for network in listener.trusted_proxies:
        try:
            ip_network(network)
        except ValueError as error:
            refuse(f"{where}.trusted_proxies", _LISTED, network, error)


def _check_tls(listener: Listener, where: str) -> None:
    if bool(listener.certificate) != bool(listener.key):
        missing = "key" if listener.certificate else "certificate"
        raise ConfigError(f"{where}.{missing} is missing: TLS needs a certificate and its key.")
    wanted = listener.client_certificate
    if wanted != "off" and not listener.encrypts:
        raise ConfigError(f"{where}.client_certificate needs TLS: set certificate and key, too.")
    if wanted != "off" and not listener.ca:
        raise ConfigError(
            f"{where}.ca is missing: the authorities that sign the certificates of clients."
        )
    if wanted == "off" and listener.ca:
        raise ConfigError(
            f'{where}.ca has no effect unless client_certificate is "optional" or "required".'
        )
