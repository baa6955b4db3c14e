"""The arguments of `fox context`.

Owns: options and help texts. Never: what the command does.
"""

from fox_shard.remote.argument_types import AUTH, Commands, add_json, add_listing


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "context",
        aliases=["contexts"],
        help="remember servers by name",
        description="Contexts stand in for --url, --realm, --user, --auth, --token-file, --ca,"
        " --cert and --key: the one that is in use, or that --context or $FOX_CONTEXT names."
        " Options come first, and then $FOX_URL, $FOX_REALM, $FOX_USER, $FOX_AUTH,"
        " $FOX_TOKEN_FILE, $FOX_CA, $FOX_CERT and $FOX_KEY.",
    )
    command.set_defaults(command="context")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = add_listing(actions, help="list contexts; * marks the one in use")
    add_json(listing)
    setting = actions.add_parser("set", help="add or change a context")
    setting.add_argument("name", metavar="NAME")
    for name, text in (
        ("url", "ws://…, wss://… or unix:/path"),
        ("realm", "the realm to join"),
        ("user", "the user to log in as"),
        ("auth", f"how the password is proved: {', '.join(AUTH)}"),
        ("token-file", "a file with a token (JWT)"),
        ("ca", "a file with authorities, in PEM form"),
        ("cert", "a file with the certificate to show"),
        ("key", "a file with its key"),
    ):
        setting.add_argument(f"--{name}", help=text)
    use = actions.add_parser("use", help="use a context from now on; -: none")
    use.add_argument("name", metavar="NAME|-")
    remove = actions.add_parser("remove", aliases=["rm"], help="forget a context")
    remove.set_defaults(action="remove")
    remove.add_argument("name", metavar="NAME")
