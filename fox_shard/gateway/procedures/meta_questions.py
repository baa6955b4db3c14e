"""Questions of the meta procedures of registrations and subscriptions to the shards.

Owns: what both kinds of procedures ask alike. Never: how shards are asked (see `inquiry`), what a
procedure takes or returns.
"""

from collections.abc import Iterable
from typing import Any, final

from fox_shard.backplane.meta_api import id_key
from fox_shard.gateway.procedures.inquiry import Answer, Inquiries, InquiryQuestion, Item
from fox_shard.gateway.procedures.meta_arguments import MOST_ITEMS
from fox_shard.gateway.sessions.session import Session
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern


@final
class MetaQuestions:
    """Asks for the sessions of one gateway."""

    __slots__ = ("_inquiries",)

    def __init__(self, inquiries: Inquiries) -> None:
        self._inquiries = inquiries

    def ask(
        self,
        session: Session,
        request: int,
        encoding: int,
        kind: str,
        body: bytes,
        answer: Answer,
        shards: Iterable[int] | None = None,
    ) -> None:
        """Ask these shards; None: all, since an id does not say which shard has it."""
        question = InquiryQuestion(
            session, request, encoding, kind=kind, body=body, limit=MOST_ITEMS, answer=answer
        )
        self._inquiries.ask(question, self._inquiries.all_shards if shards is None else shards)

    def look_up(
        self, session: Session, request: int, encoding: int, kind: str, pattern: Pattern
    ) -> None:
        """Answer the id of what has this pattern, or None.

        kind: the question about one id, which is also what the id is of.
        """
        realm = session.realm
        id_ = pattern_id(realm.name, kind, pattern.text)
        home = realm.shard_of(pattern.topic if pattern.is_exact else pattern.text)

        def answer(items: list[Item], _more: bool) -> tuple[list[Any], dict[str, Any]]:  # noqa: FBT001 (an Answer)
            return [id_ if items else None], {}

        self.ask(session, request, encoding, kind, id_key(id_), answer, (home,))
