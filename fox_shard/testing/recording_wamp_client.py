"""A recording WAMP client: publisher, subscriber, caller, and a callee that follows plans.

Owns: the messages for each request, the records. Never: the checks (see `checks`).
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.records import (
    CallRecord,
    InvocationRecord,
    Plan,
    PublicationRecord,
    RegistrationRecord,
    SubscriptionRecord,
)
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern

SUBSCRIBE, UNSUBSCRIBE, REGISTER, UNREGISTER = 32, 34, 64, 66

PROMPT: Final = Plan()


@final
class RecordingWampClient(RecordingClient):
    """A recording WAMP client. As a callee, the client follows the plan in the call's arguments."""

    def __init__(self, world: World, gateway: int, name: str, realm: str = "realm1") -> None:
        super().__init__(world, gateway, name)
        self.calls: list[CallRecord] = []
        self.registrations: list[RegistrationRecord] = []
        self.invoked: list[InvocationRecord] = []
        self._requests: dict[int, Any] = {}
        self._subscription_by_id: dict[int, SubscriptionRecord] = {}
        self._registration_by_id: dict[int, RegistrationRecord] = {}
        self._invocations: dict[int, InvocationRecord] = {}
        self.client = WampClient(world, gateway, realm, self._message)

    @property
    def ready(self) -> bool:
        """Whether WELCOME has come; see `RecordingClient`."""
        return bool(self.client.session)

    @property
    def closed(self) -> bool:
        """Whether the gateway has closed the connection, or died."""
        return self.client.closed

    @property
    def session(self) -> int:
        """The session id, 0 before WELCOME."""
        return self.client.session

    # Publish and subscribe

    def publish(
        self,
        topic: str,
        *,
        acknowledge: bool = False,
        retain: bool = False,
        empty: bool = False,
        exclude_me: bool = True,
    ) -> PublicationRecord:
        """Publish the next number, or, if `empty`, no arguments."""
        sent = self._publication(
            topic, 0, acknowledge=acknowledge, retain=retain, empty=empty, exclude_me=exclude_me
        )
        args = [] if empty else [self.name, sent.number]
        options = {"acknowledge": acknowledge, "retain": retain, "exclude_me": exclude_me}
        options = {key: value for key, value in options.items() if value is (key != "exclude_me")}
        request = self.client.publish(topic, *args, **options)
        if acknowledge:
            self._requests[request] = sent
        return sent

    def subscribe(
        self, topic: str, match: str = "exact", *, replay: bool = False
    ) -> SubscriptionRecord:
        """Subscribe. replay: get the matching keys first (`get_retained`)."""
        pattern = Pattern.wamp(topic, match)
        subscription = SubscriptionRecord(self.name, pattern, self.world.now, replay, 0)
        self.subscriptions.append(subscription)
        self._ask(
            SUBSCRIBE,
            subscription,
            {"match": match, "get_retained": replay} if replay else {"match": match},
            topic,
        )
        return subscription

    def unsubscribe(self, subscription: SubscriptionRecord) -> None:
        """End a confirmed subscription."""
        subscription.ended = self.world.now
        id_ = next(id_ for id_, other in self._subscription_by_id.items() if other is subscription)
        self._ask(UNSUBSCRIBE, subscription, id_)

    def _ask(self, code: int, record: object, *rest: object) -> int:
        request = self.client.request(code, *rest)
        self._requests[request] = record
        self.waiting[request] = f"{code} {rest}"
        return request

    # Calls

    def call(
        self, procedure: str, plan: Plan = PROMPT, *, timeout: int = 0, progress: bool = False
    ) -> CallRecord:
        """Call a procedure. plan: for the callee. timeout: milliseconds; 0: none."""
        called = CallRecord(
            self.name, len(self.calls) + 1, procedure, self.world.now, plan, timeout, progress
        )
        self.calls.append(called)
        options: dict[str, Any] = {"timeout": timeout} if timeout else {}
        if progress:
            options["receive_progress"] = True
        args = [self.name, called.number, asdict(plan)]
        request = self.client.call(procedure, *args, **options)
        self._requests[request] = called
        self.waiting[request] = f"call {procedure} {called.number}"
        return called

    def cancel(self, called: CallRecord, mode: str) -> None:
        """Cancel a call. mode: `skip`, `kill` or `killnowait`."""
        called.cancel, called.canceled = mode, self.world.now
        request = next(one for one, record in self._requests.items() if record is called)
        self.client.send([49, request, {"mode": mode}])

    def register(
        self,
        procedure: str,
        match: str = "exact",
        *,
        invoke: str = "single",
        concurrency: int = 0,
        force: bool = False,
    ) -> RegistrationRecord:
        """Register a procedure or pattern. concurrency: 0 for no limit."""
        registration = RegistrationRecord(
            self.name, Pattern.wamp(procedure, match), invoke, concurrency, self.world.now
        )
        self.registrations.append(registration)
        options: dict[str, Any] = {"match": match, "invoke": invoke}
        if concurrency:
            options["concurrency"] = concurrency
        if force:
            options["force_reregister"] = True
        self._ask(REGISTER, registration, options, procedure)
        return registration

    def unregister(self, registration: RegistrationRecord) -> None:
        """End a confirmed registration."""
        registration.ended = self.world.now
        self._ask(UNREGISTER, registration, registration.id)

    def leave(self, *, graceful: bool) -> None:
        """End the session; see `RecordingClient`."""
        self.left, self.graceful = self.world.now, graceful
        self.waiting.clear()
        if graceful:
            self.client.leave()
        else:
            self.client.drop()

    # Incoming messages

    def _message(self, message: list[Any]) -> None:
        handler = _HANDLERS.get(message[0])
        if handler is not None:
            handler(self, message)

    def _answered(self, request: int) -> None:
        if self.waiting.pop(request, None) is None and self.left is None:
            self.add_violation(f"an answer to {request}, which does not wait for one")

    def _on_error(self, message: list[Any]) -> None:
        _, _, request, _, uri = message[:5]
        record = self._requests.get(request)
        match record:
            case PublicationRecord():
                record.refused = uri
                record.answers.append(self.world.now)
            case CallRecord():
                self._answered(request)
                self._final(record, "error", uri)
            case RegistrationRecord():
                self._answered(request)
                record.refused = uri
            case SubscriptionRecord() if message[1] == SUBSCRIBE:
                self._answered(request)
                record.refused = uri
            case _:
                self.add_violation(f"unexpected {message}")

    def _on_published(self, message: list[Any]) -> None:
        self._requests[message[1]].answers.append(self.world.now)

    def _on_subscribed(self, message: list[Any]) -> None:
        self._answered(message[1])
        subscription = self._requests[message[1]]
        subscription.confirmed = self.world.now
        self._subscription_by_id[message[2]] = subscription

    def _on_unsubscribed(self, message: list[Any]) -> None:
        self._answered(message[1])
        subscription = self._requests[message[1]]
        subscription.over = self.world.now
        self._subscription_by_id = {
            id_: one for id_, one in self._subscription_by_id.items() if one is not subscription
        }

    def _on_event(self, message: list[Any]) -> None:
        _, subscription_id, _, details, *rest = message
        subscription = self._subscription_by_id.get(subscription_id)
        if subscription is None:
            self.add_violation(f"an event for no subscription of mine: {message}")
            return
        topic = details.get("topic") or subscription.pattern.topic
        args = rest[0] if rest else []
        self._event(subscription, topic, args, retained=details.get("retained", False), qos=0)

    def _on_result(self, message: list[Any]) -> None:
        _, request, details, args = message
        called = self._requests[request]
        if details.get("progress"):
            if called.answered is not None:
                self.add_violation(f"progress of {called.number} behind its final answer")
            called.answers.append(("progress", args))
            called.progressed = self.world.now
        else:
            self._answered(request)
            self._final(called, "result", args)

    def _final(self, called: CallRecord, kind: str, contents: object) -> None:
        if called.answered is not None:
            self.add_violation(f"a second final answer of call {called.number}")
        called.answers.append((kind, contents))
        called.answered = self.world.now

    def _on_registered(self, message: list[Any]) -> None:
        self._answered(message[1])
        registration = self._requests[message[1]]
        registration.confirmed, registration.id = self.world.now, message[2]
        self._registration_by_id[message[2]] = registration

    def _on_unregistered(self, message: list[Any]) -> None:
        if message[1]:
            self._answered(message[1])
        else:
            registration = self._registration_by_id.get(message[2]["registration"])
            if registration is None:
                self.add_violation(f"a revocation of no registration of mine: {message}")
            else:
                registration.ended = self.world.now

    # As a callee

    def _on_invocation(self, message: list[Any]) -> None:
        _, request, registration_id, details, args = message
        caller, number, plan = args
        registration = self._registration_by_id.get(registration_id)
        if registration is None:
            self.add_violation(f"an invocation of no registration of mine: {message}")
            return
        procedure = details.get("procedure") or registration.pattern.topic
        invoked = InvocationRecord(self.world.now, registration, caller, number, procedure, request)
        self.invoked.append(invoked)
        self._invocations[request] = invoked
        registration.outstanding.add(request)
        registration.most_outstanding = max(
            registration.most_outstanding, len(registration.outstanding)
        )
        steps = plan["steps"] if details.get("receive_progress") else 0
        self._go_on(invoked, Plan(plan["end"], steps, plan["delay"]), 0)

    def _go_on(self, invoked: InvocationRecord, plan: Plan, step: int) -> None:
        if plan.end == "never" and step == plan.steps:
            invoked.idle = True
            return
        if plan.delay:
            delay = plan.delay * (0.5 + self.world.rng.random())
            self.world.at(self.world.now + delay, lambda: self._step(invoked, plan, step))
        else:
            self._step(invoked, plan, step)

    def _step(self, invoked: InvocationRecord, plan: Plan, step: int) -> None:
        if invoked.done or not self.connected:
            return
        contents = [invoked.caller, invoked.number]
        if step < plan.steps:
            self.client.send([70, invoked.request, {"progress": True}, [*contents, step]])
            self._go_on(invoked, plan, step + 1)
        elif plan.end == "yield":
            self._end(invoked, [70, invoked.request, {}, contents])
        else:
            self._end(invoked, [8, 68, invoked.request, {}, "app.error.failed", contents])

    def _end(self, invoked: InvocationRecord, message: list[Any]) -> None:
        invoked.done = True
        invoked.registration.outstanding.discard(invoked.request)
        self.client.send(message)

    def finish(self, invoked: InvocationRecord) -> None:
        """Answer an invocation whose plan says `never`."""
        if invoked.idle and not invoked.done:
            contents = [invoked.caller, invoked.number]
            self._end(invoked, [70, invoked.request, {}, contents])

    def _on_interrupt(self, message: list[Any]) -> None:
        _, request, options = message
        invoked = self._invocations.get(request)
        if invoked is None:
            self.add_violation(f"an interrupt of no invocation of mine: {message}")
            return
        invoked.interrupted = options["mode"]
        if not invoked.done:
            self._end(invoked, [8, 68, request, {}, "wamp.error.canceled"])


_HANDLERS: dict[int, Callable[[RecordingWampClient, list[Any]], None]] = {
    8: RecordingWampClient._on_error,  # noqa: SLF001 - a table of its methods
    17: RecordingWampClient._on_published,  # noqa: SLF001
    33: RecordingWampClient._on_subscribed,  # noqa: SLF001
    35: RecordingWampClient._on_unsubscribed,  # noqa: SLF001
    36: RecordingWampClient._on_event,  # noqa: SLF001
    50: RecordingWampClient._on_result,  # noqa: SLF001
    65: RecordingWampClient._on_registered,  # noqa: SLF001
    67: RecordingWampClient._on_unregistered,  # noqa: SLF001
    68: RecordingWampClient._on_invocation,  # noqa: SLF001
    69: RecordingWampClient._on_interrupt,  # noqa: SLF001
}
