"""What a shard tells of its registrations (WAMP #registration-metapi).

Owns: the answers to inquiries about registrations. Never: registering; what callers are answered.
"""

from typing import final

from msgspec import msgpack

from fox_shard.backplane.meta_api import (
    BEST_REGISTRATION,
    CALLEES,
    REGISTRATION,
    REGISTRATIONS,
    RegistrationState,
    id_key,
    id_lists,
    key_id,
)
from fox_shard.shard.inquiries import Inquiries, Page, chunks
from fox_shard.shard.rpc.dealer import Dealer
from fox_shard.shard.rpc.procedures import Callee, Procedure
from fox_shard.topics.ids import pattern_id


@final
class Reports:
    """The reports of one shard's registrations."""

    __slots__ = ("_dealer",)

    def __init__(self, dealer: Dealer, inquiries: Inquiries) -> None:
        self._dealer = dealer
        inquiries.answerers[REGISTRATIONS] = self._registrations
        inquiries.answerers[REGISTRATION] = self._registration
        inquiries.answerers[BEST_REGISTRATION] = self._best
        inquiries.answerers[CALLEES] = self._callees

    def _registrations(self, realm: str, _body: bytes, page: Page) -> None:
        procedures = list(self._dealer.procedures(realm).by_id.values())
        for key, chunk in chunks(page, procedures, _number):
            lists = id_lists([(one.registration, one.pattern.kind) for one in chunk])
            page.add(key, msgpack.encode(lists))

    def _registration(self, realm: str, body: bytes, page: Page) -> None:
        procedure = self._dealer.procedures(realm).by_id.get(key_id(body))
        if procedure is not None:
            state = RegistrationState(
                procedure.registration,
                procedure.created,
                procedure.pattern.text,
                procedure.invoke,
                len(procedure.callees),
                len(procedure.queue),
                sum(len(callee.running) for callee in procedure.callees),
            )
            page.add(body, msgpack.encode(state))

    def _best(self, realm: str, body: bytes, page: Page) -> None:
        """Add the id of the registration that a call of the procedure would reach."""
        procedures = self._dealer.procedures(realm)
        procedure = body.decode()
        exact = procedures.exact.get(procedure)
        if exact is not None:
            page.add(body, id_key(exact.registration))
            return
        pattern = procedures.best_pattern(procedure)
        if pattern is not None:
            # Its home may be another shard, but the id says all that is asked for.
            page.add(body, id_key(pattern_id(realm, "registration", pattern.text)))

    def _callees(self, realm: str, body: bytes, page: Page) -> None:
        procedure = self._dealer.procedures(realm).by_id.get(key_id(body))
        if procedure is not None:
            for key, chunk in chunks(page, list(procedure.callees), _place):
                page.add(key, msgpack.encode([callee.session for callee in chunk]))


def _number(procedure: Procedure) -> int:
    return procedure.number


def _place(callee: Callee) -> int:
    return callee.place
