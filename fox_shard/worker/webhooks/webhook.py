"""One webhook: events that a shard shows are posted, and the shard is told what has come of it.

Owns: the order of these steps, what is logged. Never: the decisions (see `delivery`).
"""

import asyncio
import logging
import random
import time
from typing import Any, Final, NoReturn, final

from fox_shard.client import Refused
from fox_shard.client.callee import CallDetails
from fox_shard.config import Webhook as Settings
from fox_shard.errors import AskAgain, InvalidPayload, NotDelivered
from fox_shard.worker.webhooks.delivery import Delivered, GivenUp, Later, Now, State, Target
from fox_shard.worker.webhooks.message import body_of, headers_of, published_at
from fox_shard.worker.webhooks.secrets import read_keys
from fox_shard.worker.webhooks.sparing_log import SparingLog

SOON: Final = 0.1
"""Seconds after which an event is shown again for whose request there was no time left."""

RESPITE: Final = 0.5
"""Seconds by which an answer is earlier than the server would ask again."""


@final
class Webhook:
    """One webhook of a realm, within an event loop. delivered, given_up, failures: since the start.

    failures: tries that have failed.
    """

    def __init__(self, realm: str, settings: Settings, answer_within: float) -> None:
        """Read the secrets and certificates. Raises StartError.

        answer_within: seconds after which the server asks somebody else (`reducer.timeout`).
        """
        self.settings = settings
        self.name = settings.name
        self._realm = realm
        self._keys = read_keys(settings)
        self._target = Target(settings, random.random)
        # Who has no webhook does not wait for httpx.
        from fox_shard.worker.webhooks.posting import Poster

        self._poster = Poster(settings)
        self._answer_within = answer_within - RESPITE
        # Set, and replaced by another one, when a request has ended.
        self._request_ended = asyncio.Event()
        self.delivered = self.given_up = self.failures = 0
        self._failures_log = SparingLog("webhook_failed", logging.WARNING)
        self._given_up_log = SparingLog("webhook_given_up", logging.ERROR)

    @property
    def state(self) -> State:
        """How the target is."""
        return self._target.state

    async def close(self) -> None:
        """Close all connections."""
        await self._poster.close()

    async def post(self, args: list[Any], kwargs: dict[str, Any], told: CallDetails) -> None:
        """Post an event. Raises Refused if the shard shall show it again, or skip it."""
        until = time.monotonic() + self._answer_within
        publication = told.publication
        try:
            body = body_of(self._realm, told.topic, publication, args, kwargs)
        except InvalidPayload as error:
            self._give_up(told, f"the event cannot be written as JSON: {error}")
        await self._await_turn(told, until)
        try:
            outcome = await self._poster.post(
                headers_of(publication, time.time(), body, self._keys), body, time.time()
            )
            verdict = self._target.ended(publication, _age(publication), outcome, time.monotonic())
        finally:
            self._target.abandoned(publication)
            self._request_ended.set()
            self._request_ended = asyncio.Event()
        if isinstance(verdict, Delivered):
            self.delivered += 1
            return
        self.failures += 1
        self._failures_log.note(self._about(told, outcome.text), time.monotonic())
        if isinstance(verdict, GivenUp):
            self._give_up(told, verdict.why)
        _ask_again(verdict)

    async def _await_turn(self, told: CallDetails, until: float) -> None:
        """Return when the event may be sent, and there is time for it. Raises Refused."""
        publication = told.publication
        while True:
            now = time.monotonic()
            if now + self.settings.timeout > until:
                _ask_again(Later(SOON, self._target.last_failure))
            match self._target.may_send(publication, _age(publication), now):
                case Now.SEND:
                    return
                case Later() as verdict:
                    _ask_again(verdict)
                case GivenUp() as verdict:
                    self._give_up(told, verdict.why)
            await self._request_ended.wait()

    def _give_up(self, told: CallDetails, why: str) -> NoReturn:
        self.given_up += 1
        self._given_up_log.note(self._about(told, why), time.monotonic())
        raise Refused(NotDelivered.uri, [why])

    def _about(self, told: CallDetails, why: str) -> dict[str, object]:
        return {
            "process": "worker",
            "realm": self._realm,
            "webhook": self.name,
            "topic": told.topic,
            "publication": told.publication,
            "reason": why,
        }


def _age(publication: int) -> float:
    return time.time() - published_at(publication)


def _ask_again(verdict: Later) -> NoReturn:
    raise Refused(AskAgain.uri, [verdict.why], {"after": verdict.seconds})
