"""The configuration of an attached gateway: its server's, with listeners of its own.

Owns: which settings may differ. Never: where the server's configuration comes from.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from fox_shard.config.mistakes import ConfigError
from fox_shard.config.reader import NO_SETTINGS, convert, from_environ, from_program
from fox_shard.config.settings import Config, Setting

OWN: Final = ("gateway", "log")
"""The sections that an attached gateway may set otherwise than its server."""


def attached_config(
    server: Config, environ: Mapping[str, str], settings: Mapping[str, object] = NO_SETTINGS
) -> Config:
    """Return the configuration of a gateway that is attached to that server.

    It has no listeners but those that `environ` or `settings` names. settings: of a program (see
    `load_with_origins`). Raises ConfigError for a mistake, and for what would set something
    otherwise than the server has.
    """
    changed: dict[str, dict[str, Any]] = {
        "gateway": {"websocket": None, "rawsocket": None, "mqtt": None},
        "log": {},
    }
    for setting, value, said in _given(environ, settings):
        if setting.section in OWN:
            changed[setting.section][setting.key] = value
            continue
        section = getattr(server, setting.section) if setting.section else server
        present = getattr(section, setting.key)
        if value != present:
            raise ConfigError(
                f"{said}, but {setting.path} is {present} in the running server: an attached "
                "gateway can set only its own listeners and limits (FOX_GATEWAY_…, gateway.…)."
            )
    return replace(
        server,
        gateway=replace(server.gateway, **changed["gateway"]),
        log=replace(server.log, **changed["log"]),
        listeners=(),
    )


def _given(
    environ: Mapping[str, str], settings: Mapping[str, object]
) -> Iterator[tuple[Setting, object, str]]:
    """Yield each setting with its value, and a clause that says who has said what."""
    for setting, raw in from_environ(environ):
        where = f"Environment variable {setting.variable}"
        value = convert(setting, raw, where, strict=False)
        # Directories of the environment are relative to nothing that is known here.
        if setting.path not in ("data_dir", "run_dir", "users"):
            yield setting, value, f"{where} says {raw}"
    for setting, value in from_program(settings):
        yield setting, value, f"settings: {setting.path} says {settings[setting.path]}"
