"""Where in a web application a mounted one is: what frameworks say of it, made what ASGI says.

Owns: `path` and `root_path` of a scope, of which ASGI says that the former begins with the latter.
Never: routes.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote


def with_whole_path(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scope of a request, with a `path` that begins with `root_path`."""
    root, path = scope.get("root_path", ""), scope["path"]
    whole = _sent(scope)
    if root and not path.startswith(root):
        return _with_what_a_proxy_cut_off(scope)
    if root or not whole or whole == path:
        return {**scope}
    # Litestar cuts off the mount's path without saying so, and has a slash at the end of the rest.
    rest = path
    if path != "/" and not whole.endswith("/"):
        rest = path.removesuffix("/")
    if whole.endswith(rest):
        return {**scope, "root_path": whole.removesuffix(rest), "path": whole}
    if path == "/":
        return {**scope, "root_path": whole, "path": f"{whole}/"}
    return {**scope}


def _with_what_a_proxy_cut_off(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scope with a whole path.

    An application may have a `root_path` that a proxy has cut off (FastAPI has a setting for that).
    Starlette's mount then adds its own path to `root_path`, but not what was cut off to `path`.
    """
    outer, path = scope.get("app_root_path", ""), scope["path"]
    if not outer or not path.startswith(scope["root_path"].removeprefix(outer)):
        return {**scope}
    raw = scope.get("raw_path") or path.encode()
    return {**scope, "path": outer + path, "raw_path": outer.encode() + raw}


def _sent(scope: Mapping[str, Any]) -> str:
    """Return the path as it was sent to the web server, decoded; "": the server does not say."""
    raw: bytes = scope.get("raw_path") or b""
    return unquote(raw.partition(b"?")[0].decode("ascii", "replace"))
