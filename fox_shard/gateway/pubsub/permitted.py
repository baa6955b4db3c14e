"""Whether a session may publish something, in a realm with roles.

Owns: which permissions a publish needs, and what a refusal may tell. Never: the rules (see
`authorization`), asking an authorizer (see `authorizers`).
"""

from fox_shard.backplane.frames import CONDITION, RetainOptions
from fox_shard.errors import Refusal
from fox_shard.gateway.authorization.answers import Answers
from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.authorization.rules import PUBLISH, SUBSCRIBE, UNDECIDED, Extent
from fox_shard.gateway.pubsub.rows import Row, find_row
from fox_shard.gateway.sessions.realm import Route
from fox_shard.gateway.sessions.session import Session


def check_publish(
    permissions: Permissions, answers: Answers | None, topic: str, flags: int, named: str = ""
) -> int:
    """Return the decision about a topic; raise a refusal unless it allows the publish.

    named: the topic that the refusal names; "": this one. Raises NotAuthorized,
    AuthorizationFailed, Undecided.

    A condition tells whether the key meets it, so it needs the permission to subscribe, too.
    """
    decision = permissions.kept.get(topic)
    if decision is None:
        decision = permissions.decide(topic)
    if decision & UNDECIDED and answers is not None:
        decision = answers.decide(PUBLISH, topic)
        if decision and flags & CONDITION:
            decision |= answers.decide(SUBSCRIBE, topic)
    if not decision & PUBLISH:
        raise permissions.refusal(PUBLISH, named or topic)
    if flags & CONDITION and not decision & SUBSCRIBE:
        raise permissions.refusal(SUBSCRIBE, topic)
    return decision


def check_row(
    session: Session,
    permissions: Permissions,
    route: Route,
    flags: int,
    encoding: int,
    args: bytes,
    kwargs: bytes,
    retain: RetainOptions | None,
) -> tuple[Row, int]:
    """Return the row that a publish is about, and the decision about its topic.

    route: with a table. Raises a refusal unless the publish is allowed, and Undecided. Whoever may
    publish to no row must not learn whether there is a table, or of which fields its key is made.
    """
    table, answers = route.table, session.answers
    assert table is not None
    if route.topic != table.name:
        check_publish(permissions, answers, route.topic, 0)
        row = find_row(session.realm, route, flags, encoding, args, kwargs, retain)
        return row, check_publish(permissions, answers, route.topic, flags)
    session.connection.budget -= permissions.cost(PUBLISH, table.rows)
    knows = permissions.extent(PUBLISH, table.rows) is not Extent.NOTHING
    if not (knows or permissions.authorizer):
        raise permissions.refusal(PUBLISH, table.name)
    try:
        row = find_row(session.realm, route, flags, encoding, args, kwargs, retain)
    except Refusal:
        if not knows:
            # There is no row that the authorizer could be asked about.
            check_publish(permissions, answers, table.name, 0)
        raise
    # The topic of the row counts, which is made of the document.
    named = "" if knows else table.name
    return row, check_publish(permissions, answers, row.route.topic, flags, named)
