"""Whether anybody who reaches the server may do everything in it.

Owns: which realms are open to all, whether listeners are open to the network, and the sentences
that say so. Never: what a role may do (see `gateway.authorization`).
"""

import socket
from ipaddress import ip_address
from pathlib import Path

from fox_shard.config import Address, Config, asks_for_proof
from fox_shard.gateway.sockets.listening import ListenError


class OpenToAll(ListenError):
    """Anybody in the network might do everything, and nobody has said that this is meant."""


def check_openness(config: Config) -> str:
    """Return a sentence that says which realms anybody may do everything in; "": none.

    Raises OpenToAll if they are open to the network, and not on purpose.
    """
    realms = _open_realms(config)
    if not realms:
        return ""
    named = ", ".join(realms)
    reachable = [str(address) for address in _addresses(config) if not _is_local(address)]
    if not reachable:
        return (
            f"Anybody on this machine may do everything in {named}: there are no users and no "
            "roles."
        )
    at = ", ".join(reachable)
    if config.auth.open:
        return (
            f"Anybody who reaches {at} may do everything in {named}: auth.open says that this is "
            "meant."
        )
    raise OpenToAll(
        f"Cannot listen at {at}: anybody in the network might do everything in {named}. Add users "
        "(`fox user add`) or roles ([[realm.role]]), or say that this is meant: [auth] open = "
        "true, or FOX_AUTH_OPEN=true."
    )


def _open_realms(config: Config) -> list[str]:
    """Return the realms that have no roles, and that anonymous clients may join."""
    has_users = Path(config.users).exists() or asks_for_proof(config.realms)
    found = [
        realm.name
        for realm in config.realms
        if not realm.role and (realm.anonymous or not has_users)
    ]
    if config.auth.realms_on_demand and not has_users:
        found.append("realms on demand")
    return found


def _addresses(config: Config) -> list[Address]:
    gateway = config.gateway
    found = [gateway.websocket, gateway.rawsocket, gateway.mqtt, config.web.address]
    # Where a certificate is required, not anybody comes in.
    found += [
        one.address
        for one in config.listeners
        if isinstance(one.address, Address) and one.client_certificate != "required"
    ]
    return [address for address in found if address is not None]


def _is_local(address: Address) -> bool:
    """Whether only this machine can reach the address."""
    try:
        places = socket.getaddrinfo(address.host, address.port, flags=socket.AI_PASSIVE)
    except OSError:
        return False  # Whoever listens there finds out why.
    return all(ip_address(str(place[4][0]).partition("%")[0]).is_loopback for place in places)
