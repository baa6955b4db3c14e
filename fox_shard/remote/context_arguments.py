"""The arguments of `fox context`.

Owns: options and help texts. Never: what the command does.
"""

from typing import Final

from fox_shard.remote.argument_types import Commands, add_json, add_listing
from fox_shard.remote.server_options import SERVER_OPTIONS, add_server_options

_OPTIONS: Final = ", ".join(f"--{one.name}" for one in SERVER_OPTIONS)
_VARIABLES: Final = ", ".join(f"${one.variable}" for one in SERVER_OPTIONS)


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "context",
        aliases=["contexts"],
        help="remember servers by name",
        description=f"Contexts stand in for {_OPTIONS}: the one that is in use, or that --context"
        f" or $FOX_CONTEXT names. Options come first, and then {_VARIABLES}.",
    )
    command.set_defaults(command="context")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = add_listing(actions, help="list contexts; * marks the one in use")
    add_json(listing)
    setting = actions.add_parser("set", help="add or change a context")
    setting.add_argument("name", metavar="NAME")
    add_server_options(setting.add_argument_group("the server"))
    use = actions.add_parser("use", help="use a context from now on; -: none")
    use.add_argument("name", metavar="NAME|-")
    remove = actions.add_parser("remove", aliases=["rm"], help="forget a context")
    remove.set_defaults(action="remove")
    remove.add_argument("name", metavar="NAME")
