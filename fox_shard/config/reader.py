"""Reading the configuration: TOML text and FOX_ variables become one `Config`.

Owns: which of the two wins, and the sentence that describes a mistake.
Never: the process's own environment, which is an argument; files, except in `load` and
`load_with_origins`.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.structs import replace

from fox_shard.config.address import Address
from fox_shard.config.listener import Listener
from fox_shard.config.listeners import read_listeners, with_files
from fox_shard.config.metrics import contradiction
from fox_shard.config.mistakes import ConfigError, expected, refuse, shown
from fox_shard.config.realms import read_realms
from fox_shard.config.settings import (
    SETTINGS,
    Config,
    Gateway,
    OptionalAddress,
    Realm,
    Setting,
    WebOrigins,
)
from fox_shard.config.web import Networks
from fox_shard.config.webhooks import check_timeouts

Origins = dict[str, str]
"""Path of a setting → source of its value: `default`, the file's name, or the variable's name."""

NO_SETTINGS: Mapping[str, object] = MappingProxyType({})

_SECTIONS = tuple(dict.fromkeys(setting.section for setting in SETTINGS.values()))
_VARIABLES = {setting.variable: setting for setting in SETTINGS.values()}


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the file at `path` and the FOX_ variables in `environ`, which override the file.

    Raises ConfigError for the first mistake found.
    """
    return load_with_origins(path, environ)[0]


def load_with_origins(
    path: Path,
    environ: Mapping[str, str],
    settings: Mapping[str, object] = NO_SETTINGS,
    *,
    required: bool = True,
) -> tuple[Config, Origins]:
    """Do the same as `load`, and return the source of each value as well.

    settings: by path, such as `gateway.mqtt`; these override the variables, and may name the
    port 0 for a listener. required: otherwise a
    file that does not exist is as good as an empty one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if required or not isinstance(error, FileNotFoundError):
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"Cannot read the configuration file {path}: {reason}.") from error
        text = ""
    folder = path.absolute().parent.parent
    config, origins = parse(text, environ, settings, folder=folder, name=str(path))
    folder = path.absolute().parent
    config = replace(config, listeners=with_files(config.listeners, folder))
    return replace(config, realms=tuple(_with_files(one, folder) for one in config.realms)), origins


def _with_files(realm: Realm, folder: Path) -> Realm:
    """Return the realm with absolute paths of its files, relative to the folder of the file."""
    jwt = realm.jwt
    if jwt is not None:
        key = str(folder / jwt.key) if jwt.key else ""
        jwks = str(folder / jwt.jwks) if jwt.jwks and not jwt.is_fetched else jwt.jwks
        jwt = replace(jwt, key=key, jwks=jwks)
    schema = str(folder / realm.schema) if realm.schema else ""
    webhooks = tuple(
        replace(
            one,
            secret_file=str(folder / one.secret_file) if one.secret_file else "",
            ca_file=str(folder / one.ca_file) if one.ca_file else "",
        )
        for one in realm.webhook
    )
    return replace(realm, schema=schema, jwt=jwt, webhook=webhooks)


def parse(
    text: str,
    environ: Mapping[str, str],
    settings: Mapping[str, object] = NO_SETTINGS,
    *,
    folder: Path,
    name: str,
) -> tuple[Config, Origins]:
    """Build the configuration from TOML text and FOX_ variables.

    settings: see `load_with_origins`. folder: absolute path, to which data_dir, run_dir and users
    are relative. name: the name of the text in errors. Raises ConfigError for the first mistake
    found.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}.") from error
    realms = read_realms(document.pop("realm", None), name)
    listeners = document.pop("listener", None)
    values: dict[str, object] = {path: setting.default for path, setting in SETTINGS.items()}
    origins = dict.fromkeys(SETTINGS, "default")
    for setting, raw in _from_document(document, name):
        values[setting.path] = convert(setting, raw, f"{name}: {setting.path}", strict=True)
        origins[setting.path] = name
    for setting, raw in from_environ(environ):
        where = f"Environment variable {setting.variable}"
        values[setting.path] = convert(setting, raw, where, strict=False)
        origins[setting.path] = setting.variable
    for setting, value in from_program(settings):
        values[setting.path] = value
        origins[setting.path] = "settings"
    for path in ("data_dir", "run_dir", "users", "web.keys", "metrics.token"):
        values[path] = str(folder / str(values[path])) if values[path] else ""
    config = _build(values, realms)
    found = read_listeners(listeners, name, folder, config.gateways)
    config = replace(config, listeners=found)
    _check_combinations(config)
    return config, origins


def _build(values: Mapping[str, object], realms: tuple[Realm, ...]) -> Config:
    groups: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for path, setting in SETTINGS.items():
        groups[setting.section][setting.key] = values[path]
    top = groups.pop("")
    sections = {name: type(getattr(Config(), name))(**group) for name, group in groups.items()}
    return Config(**top, **sections, realms=realms)


def _from_document(document: Mapping[str, Any], name: str) -> Iterator[tuple[Setting, object]]:
    for key, value in document.items():
        if key not in _SECTIONS:
            yield _known(key, name), value
        elif not isinstance(value, dict):
            raise ConfigError(f"{name}: {key} must be a section [{key}], not {shown(value)}.")
        else:
            for inner, inner_value in value.items():
                yield _known(f"{key}.{inner}", name), inner_value


def _known(path: str, name: str) -> Setting:
    setting = SETTINGS.get(path)
    if setting is None:
        section = path.rpartition(".")[0]
        siblings = [s.key for s in SETTINGS.values() if s.section == section]
        if not section:
            siblings += [f"[{other}]" for other in _SECTIONS if other]
        raise ConfigError(
            f"{name}: there is no setting {path}"
            f"{_suggestion(path, (*SETTINGS, *_SECTIONS)) or _listing(siblings)}"
        )
    return setting


_NO_SETTINGS = (
    "FOX_CONFIG",
    "FOX_URL",
    "FOX_REALM",
    "FOX_USER",
    "FOX_PASSWORD",
    "FOX_CA",
    "FOX_CERT",
    "FOX_KEY",
    "FOX_AUTH",
    "FOX_TOKEN_FILE",
    "FOX_CONTEXT",
)
"""Variables of the command `fox`, which are about one client and not about the server."""


def from_environ(environ: Mapping[str, str]) -> Iterator[tuple[Setting, str]]:
    """Yield the settings of FOX_ variables, sorted so that the first mistake is always the same.

    A FOX_ variable that names no setting may belong to something else (tests, the benchmark). But
    one that begins like a section, or resembles a setting, is refused as a probable mistake.
    """
    for variable in sorted(name for name in environ if name.startswith("FOX_")):
        if setting := _VARIABLES.get(variable):
            yield setting, environ[variable]
        elif variable.startswith("FOX_LISTENER_"):
            raise ConfigError(
                f"Environment variable {variable}: listeners are set by [[listener]] in the file "
                "only, except the three of [gateway]."
            )
        elif variable.startswith("FOX_REALM_"):
            raise ConfigError(
                f"Environment variable {variable}: realms are set by [[realm]] in the file only."
            )
        elif variable not in _NO_SETTINGS:
            _refuse_if_meant_for_us(variable)


def _refuse_if_meant_for_us(variable: str) -> None:
    prefixes = tuple(f"FOX_{section.upper()}_" for section in _SECTIONS if section)
    nearest = _suggestion(variable, (*_VARIABLES, "FOX_CONFIG"))
    if nearest or variable.startswith(prefixes):
        section = variable.split("_")[1]
        siblings = [name for name in _VARIABLES if name.startswith(f"FOX_{section}_")]
        hint = nearest or _listing(siblings)
        raise ConfigError(f"Environment variable {variable} names no setting{hint}")


def _suggestion(word: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.8)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _listing(known: list[str]) -> str:
    return f"; there are {', '.join(known)}."


def convert(setting: Setting, raw: object, where: str, *, strict: bool) -> object:
    """Return the setting's value. where: names its source. Raises ConfigError."""
    try:
        if setting.kind == OptionalAddress:
            return _optional_address(raw)
        if setting.kind in (WebOrigins, Networks) and isinstance(raw, str) and not strict:
            raw = raw.replace(",", " ").split()
        found = msgspec.convert(raw, setting.kind, strict=strict)
        if setting.kind == Networks:
            for network in found:
                ip_network(network)
        return found
    except (msgspec.ValidationError, ValueError) as error:
        refuse(where, expected(setting.kind), raw, error)


def from_program(settings: Mapping[str, object]) -> Iterator[tuple[Setting, object]]:
    """Yield the settings of a program, with their values. settings: see `load_with_origins`."""
    for path, raw in settings.items():
        setting = _known(path, "settings")
        yield setting, _given(setting, raw, f"settings: {path}")


def _given(setting: Setting, raw: object, where: str) -> object:
    """Convert a setting of a program's own server, whose listeners may have any free port (0)."""
    if setting.section == "gateway" and setting.kind == OptionalAddress:
        with suppress(ValueError):
            return _optional_address(raw, lowest=0)
    return convert(setting, raw, where, strict=True)


def _optional_address(raw: object, lowest: int = 1) -> Address | None:
    if not isinstance(raw, str):
        raise ValueError(f"expected text, got {raw!r}")
    return None if raw in ("", "off") else Address.parse(raw, lowest)


def _check_combinations(config: Config) -> None:
    links = config.backplane
    if links.peer_timeout < 2 * links.heartbeat:
        raise ConfigError(
            f"backplane.peer_timeout ({links.peer_timeout:g} s) must be at least twice "
            f"backplane.heartbeat ({links.heartbeat:g} s)."
        )
    if links.attached_patience < 2 * links.heartbeat:
        raise ConfigError(
            f"backplane.attached_timeout ({links.attached_timeout:g} s) must be at least twice "
            f"backplane.heartbeat ({links.heartbeat:g} s)."
        )
    if config.mqtt.realm not in (realm.name for realm in config.realms):
        raise ConfigError(
            f'mqtt.realm must be the name of a [[realm]], and none is called "{config.mqtt.realm}".'
        )
    for realm in config.realms:
        check_timeouts(realm.webhook, config.reducer.timeout)
    _check_web(config)
    if wrong := contradiction(config.metrics):
        raise ConfigError(wrong)
    _check_listeners(config.gateway, config.listeners)


def _check_web(config: Config) -> None:
    web = config.web
    if web.realm and web.realm not in (realm.name for realm in config.realms):
        raise ConfigError(
            f'web.realm must be the name of a [[realm]], and none is called "{web.realm}".'
        )
    if web.address is None:
        return
    gateway = config.gateway
    others = {
        "gateway.websocket": gateway.websocket,
        "gateway.rawsocket": gateway.rawsocket,
        "gateway.mqtt": gateway.mqtt,
        **{f"listener[{at}].address": one.address for at, one in enumerate(config.listeners)},
    }
    for name, address in others.items():
        if address == web.address:
            raise ConfigError(f"{name} and web.address are both {address}.")


def _check_listeners(gateway: Gateway, more: tuple[Listener, ...]) -> None:
    taken: dict[Address, str] = {}
    for key in ("websocket", "rawsocket", "mqtt"):
        address = getattr(gateway, key)
        if address is None:
            continue
        if address.port and (other := taken.get(address)):
            raise ConfigError(f"gateway.{other} and gateway.{key} are both {address}.")
        taken[address] = key
    for index, listener in enumerate(more):
        if isinstance(listener.address, Address) and (other := taken.get(listener.address)):
            raise ConfigError(
                f"gateway.{other} and listener[{index}].address are both {listener.address}."
            )


def check_any_listener(config: Config) -> None:
    """Raise ConfigError if no client could connect, unless through an application's web server."""
    gateway = config.gateway
    if not (gateway.websocket or gateway.rawsocket or gateway.mqtt or config.listeners):
        raise ConfigError("gateway.websocket, gateway.rawsocket and gateway.mqtt are all off.")
