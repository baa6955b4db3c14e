"""Requests of users whom a web application has authenticated, and hands over.

Owns: which requests the application is asked about, and which visitor its answer is. Never: how the
application knows (see `fox_shard.embedded.handing_over`); what the user may do.

A cookie comes with whatever request another site makes the browser send, too. Those of its pages
have been refused by then (see `origins`), unless the browser has not said where they come from.
"""

from starlette.requests import Request

from fox_shard.web.bodies import address_of
from fox_shard.web.context import context_of
from fox_shard.web.problems import Problem
from fox_shard.web.sessions import Visitor


async def known_to_application(request: Request, realm: str) -> Visitor | None:
    """Return the visitor; None: nobody is handed over. Raises Problem."""
    context = context_of(request)
    if context.user_of is None or _comes_from_elsewhere(request):
        return None
    user = await context.user_of(request.scope)
    if user is None:
        return None
    if user.realm not in (None, realm):
        raise Problem(403, f"Your realm is {user.realm}: name it with the parameter realm.")
    if user.expires is not None and user.expires <= context.wall():
        raise Problem(401, "Your login at the web application has expired.")
    return Visitor(
        realm, address_of(request), user.authid, role=user.role, expires=user.expires or 0.0
    )


def _comes_from_elsewhere(request: Request) -> bool:
    crosses = request.headers.get("sec-fetch-site", "") in ("cross-site", "same-site")
    return crosses and "origin" not in request.headers
