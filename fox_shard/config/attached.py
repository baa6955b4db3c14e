"""The configuration of an attached gateway: its server's, with listeners of its own.

Owns: which settings may differ. Never: where the server's configuration comes from.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from fox_shard.config.mistakes import ConfigError
from fox_shard.config.reader import convert, from_environ
from fox_shard.config.settings import Config

OWN: Final = ("gateway", "log")
"""The sections that an attached gateway may set otherwise, by environment variables."""


def attached_config(server: Config, environ: Mapping[str, str]) -> Config:
    """Return the configuration of a gateway that is attached to that server.

    It has no listeners but those that `environ` names. Raises ConfigError for a mistake, and for a
    variable that would set something otherwise than the server has.
    """
    changed: dict[str, dict[str, Any]] = {
        "gateway": {"websocket": None, "rawsocket": None, "mqtt": None},
        "log": {},
    }
    for setting, raw in from_environ(environ):
        where = f"Environment variable {setting.variable}"
        value = convert(setting, raw, where, strict=False)
        if setting.section in OWN:
            changed[setting.section][setting.key] = value
            continue
        section = getattr(server, setting.section) if setting.section else server
        present = getattr(section, setting.key)
        # Directories of the environment are relative to nothing that is known here.
        if value != present and setting.path not in ("data_dir", "run_dir", "users"):
            raise ConfigError(
                f"{where} says {raw}, but {setting.path} is {present} in the running server: an "
                "attached gateway can set only its own listeners and limits (FOX_GATEWAY_…)."
            )
    return replace(
        server,
        gateway=replace(server.gateway, **changed["gateway"]),
        log=replace(server.log, **changed["log"]),
        listeners=(),
    )
