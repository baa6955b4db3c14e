"""The configuration as TOML, with the origin of each value.

Owns: how `fox config` prints it. Never: reading it.
"""

import json
from itertools import groupby

import msgspec

from fox_shard.config.address import Address, UnixPath
from fox_shard.config.reader import Origins
from fox_shard.config.realm_limits import RealmLimits
from fox_shard.config.settings import SETTINGS, Config, Setting


def render(config: Config, origins: Origins) -> str:
    """Print the configuration as TOML; a comment after each value says where it came from."""
    blocks = []
    for section, settings in groupby(SETTINGS.values(), key=lambda setting: setting.section):
        lines = [f"[{section}]"] if section else []
        blocks.append([*lines, *(_line(setting, config, origins) for setting in settings)])
    for listener in config.listeners:
        blocks.append(_section("[[listener]]", listener))
    for realm in config.realms:
        name = json.dumps(realm.name, ensure_ascii=False)
        headers = f"kwargs_are_headers = {json.dumps(realm.kwargs_are_headers)}"
        schema = f"schema = {json.dumps(realm.schema, ensure_ascii=False)}"
        blocks.append(["[[realm]]", f"name = {name}", f'store = "{realm.store}"', schema, headers])
        own = ((limit, getattr(realm, limit)) for limit in RealmLimits.__struct_fields__)
        blocks[-1] += [f"{limit} = {value}" for limit, value in own if value is not None]
        if realm.jwt is not None:
            blocks.append(_section("[realm.jwt]", realm.jwt))
        blocks += [_section("[[realm.history]]", rule) for rule in realm.history]
        blocks += [_section("[[realm.reducer]]", reducer) for reducer in realm.reducer]
        blocks += [_section("[[realm.webhook]]", webhook.shown) for webhook in realm.webhook]
        for role in realm.role:
            blocks.append(["[[realm.role]]", f"name = {json.dumps(role.name, ensure_ascii=False)}"])
            blocks += [_section("[[realm.role.rule]]", rule) for rule in role.rule]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _section(name: str, section: msgspec.Struct) -> list[str]:
    fields = msgspec.structs.asdict(section).items()
    return [name, *(f"{key} = {_json(value)}" for key, value in fields)]


def _json(value: object) -> str:
    """Return a value of TOML, which looks like JSON."""
    text = str(value) if isinstance(value, Address | UnixPath) else value
    if isinstance(text, dict):
        pairs = (f"{json.dumps(key)} = {_json(inner)}" for key, inner in text.items())
        return f"{{{', '.join(pairs)}}}"
    return json.dumps(text, ensure_ascii=False)


def _line(setting: Setting, config: Config, origins: Origins) -> str:
    owner = getattr(config, setting.section) if setting.section else config
    value = getattr(owner, setting.key)
    if value is None:
        value = "off"
    assignment = f"{setting.key} = {_json(value)}"
    return f"{assignment:<40} # {origins[setting.path]}"
