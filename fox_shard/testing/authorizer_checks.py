"""What sessions with an authorizer may do in the simulator, and checks that they do nothing else.

Owns: the rules, the authorizer's answers, and what must be true of frames and of answers. Never:
what clients do (see `authorizer_scenarios`).
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, Final, final

from msgspec import json

from fox_shard.backplane.frames import Batch, Call, Publish, Register, Subscribe, Will
from fox_shard.config import Rule
from fox_shard.testing.authorizer_client import ERROR, PROCEDURE, Authorizer, Questions
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.records import SubscriptionRecord
from fox_shard.testing.rpc_checks import CANCELED, NO_SUCH_PROCEDURE
from fox_shard.testing.run import Run
from fox_shard.topics.pattern import Pattern

EVERYTHING: Final = ("publish", "subscribe", "call", "register")
RULES: Final = (
    Rule(uri=PROCEDURE, allow=("register",)),
    Rule(uri="known.", match="prefix", allow=EVERYTHING),
    Rule(uri="closed.", match="prefix"),
    Rule(uri="open.hidden", allow=("publish",)),
)

HIDDEN: Final = ("open.hidden", "closed.a")
"""Topics that rules hide from all subscriptions."""

ASKED: Final[dict[str, tuple[str, ...]]] = {
    "open": EVERYTHING,
    "half": ("subscribe", "register"),
    "mute": ("publish", "call"),
    "secret": (),
    "rows": ("publish",),
    "": ("subscribe",),
    "known": ("subscribe",),
    "closed": ("subscribe",),
}
"""What the authorizer allows, by the first component; "": of patterns that have none.

The latter two are for filters of MQTT such as `closed/#`, which match `closed`, too.
"""

NOT_AUTHORIZED: Final = "wamp.error.not_authorized"
FAILED: Final = "wamp.error.authorization_failed"
TAKEN: Final = "wamp.error.procedure_already_exists"

LATE: Final = 1.0
"""Seconds after which no question is still on its way to an authorizer."""

What = tuple[int, str, str]
"""Session, action, URI."""


def judge(action: str, uri: str) -> dict[str, Any]:
    """Return what the authorizer should answer. What ends with `kept` is to be remembered."""
    head = uri.partition(".")[0]
    allow = action in ASKED[head] and uri != "rows.secret"
    return {"allow": allow, "cache": uri.endswith(".kept")}


def is_permitted(action: str, uri: str) -> bool:
    """Whether rules and the authorizer together allow an action."""
    head = uri.partition(".")[0]
    if head in ("known", "closed") and not uri.endswith("#"):
        return head == "known"
    if uri in ("open.hidden", PROCEDURE):
        return action == ("publish" if uri == "open.hidden" else "register")
    return bool(judge(action, uri)["allow"])


def _is_asked(uri: str) -> bool:
    """Whether no rule decides about a topic or procedure."""
    head = uri.partition(".")[0]
    return uri not in ("open.hidden", PROCEDURE) and head not in ("known", "closed")


@final
class AuthorizerChecks:
    """The checks of one run.

    faults: whether something fails, until `recovered`, a time.
    """

    def __init__(self, run: Run, questions: Questions, *, faults: bool) -> None:
        self._run, self._world = run, run.world
        self._questions = questions
        self._faults = faults
        self.recovered = float("inf")
        self._checked = 0.0
        # (session, topic) -> `v` of the session's last row there.
        self._rows: dict[tuple[int, str], int] = {}

    # While it runs

    def check_done(self) -> None:
        """Check that all that has reached the shards was allowed, and asked about."""
        since, self._checked = self._checked, self._world.now
        latest = takewhile(lambda entry: entry[0] >= since, reversed(self._world.trace.entries))
        for _, process, batch in reversed(list(latest)):
            if isinstance(batch, Batch) and process.startswith("shard"):
                for frame in batch.frames if batch.source.startswith("gateway") else ():
                    self._check_frame(frame)

    def _check_frame(self, frame: object) -> None:
        match frame:
            case Publish() | Will():
                publish = frame.publish if isinstance(frame, Will) else frame
                self._check_asked(publish.session, "publish", publish.topic)
                if publish.topic.startswith("rows.") and not self._faults:
                    self._check_row(publish)
            case Call() if frame.procedure != PROCEDURE:
                self._check_asked(frame.session, "call", frame.procedure)
            case Subscribe() | Register():
                action = "subscribe" if isinstance(frame, Subscribe) else "register"
                uri = Pattern.parse(frame.pattern).shown[0]
                self._world.check(is_permitted(action, uri), f"{frame} is forbidden")

    def _check_row(self, publish: Publish) -> None:
        """Check that a session's rows come in order."""
        row, what = json.decode(publish.args)["v"], (publish.session, publish.topic)
        last = self._rows.get(what, 0)
        self._world.check(row >= last, f"the row {row} of {what} came behind {last}")
        self._rows[what] = row

    def _check_asked(self, session: int, action: str, uri: str) -> None:
        self._world.check(is_permitted(action, uri), f"{session} may not {action} {uri}")
        if _is_asked(uri):
            asked = (session, action, uri) in self._questions.allowed
            self._world.check(asked, f"nobody has allowed {session} to {action} {uri}")

    # At the end

    def note_what_is_not_due(self) -> None:
        """Note which publications must not arrive, or may or may not."""
        for one in self._run.clients:
            may_fail = isinstance(one, RecordingMqttClient) and self._faults
            for sent in one.sent:
                if not is_permitted("publish", sent.topic):
                    sent.refused = sent.refused or NOT_AUTHORIZED
                elif sent.topic in HIDDEN:
                    sent.refused = sent.refused or "hidden"
                elif may_fail and _is_asked(sent.topic) and sent.at < self.recovered:
                    # MQTT acknowledges these, too, when there was no answer.
                    sent.refused = FAILED

    def check_answers(self) -> None:
        """Check that all that was allowed was confirmed, all else refused, with the right error."""
        for one in self._run.clients:
            for event in one.received:
                self._world.check(event.topic not in HIDDEN, f"{one.name} got {event}")
            for subscription in one.subscriptions:
                self._check_subscription(one, subscription)
        for one in self._run.wamp_clients:
            self._check_answers_of(one)

    def _check_answers_of(self, one: RecordingWampClient) -> None:
        for sent in one.sent:
            if sent.acknowledge and sent.answers:
                refused = "" if sent.refused == "hidden" else sent.refused
                self._check_answer("publish", sent.topic, sent.at, refused)
        for registration in one.registrations:
            refused = registration.refused
            if refused or registration.confirmed is not None:
                uri = registration.pattern.shown[0]
                self._check_answer("register", uri, registration.asked, refused)
        for called in one.calls:
            if called.final is not None:
                kind, contents = called.final
                refused = contents if kind == "error" else ""
                self._check_answer("call", called.procedure, called.at, refused)
        for invoked in one.invoked:
            allowed = is_permitted("call", invoked.procedure)
            self._world.check(allowed, f"{one.name} got {invoked}")

    def _check_subscription(self, one: RecordingClient, subscription: SubscriptionRecord) -> None:
        if not subscription.refused and subscription.confirmed is None:
            return
        refused = subscription.refused
        if isinstance(one, RecordingMqttClient) and refused:
            # MQTT does not say why.
            refused = NOT_AUTHORIZED
        uri = subscription.pattern.shown[0]
        self._check_answer("subscribe", uri, subscription.asked, refused)

    def _check_answer(self, action: str, uri: str, at: float, refused: str) -> None:
        """Check the answer to a request.

        at: when the request was made. refused: the error; "": there was none.
        """
        permitted = is_permitted(action, uri)
        if permitted:
            # These errors are not the authorizer's.
            others = {"register": (TAKEN,), "call": (NO_SUCH_PROCEDURE, CANCELED)}
            right = not refused or refused in others.get(action, ())
        else:
            right = refused == NOT_AUTHORIZED
        if self._faults and at < self.recovered:
            right = right or bool(refused)
        self._world.check(right, f"to {action} {uri} was answered with {refused or 'yes'!r}")

    def check_own_requests(self, authorizers: Sequence[Authorizer]) -> None:
        """Check that what authorizers themselves ask for, and no rule decides, is refused."""
        for authorizer in authorizers:
            client = authorizer.client
            for request in authorizer.requests:
                error = client.answer(ERROR, request)
                right = authorizer.gone or (error is not None and error[4] == NOT_AUTHORIZED)
                self._world.check(right, f"{client.session} serves the authorizer, and got {error}")

    def check_kept(self) -> None:
        """Check that nothing was asked again for which an answer was to be kept."""
        known: dict[What, float] = {}
        for what, at in self._decided():
            known[what] = min(at, known.get(what, at))
        for session, action, uri, at in self._questions.asked:
            since = known.get((session, action, uri))
            again = uri.endswith(".kept") and since is not None and at > since + LATE
            self._world.check(not again, f"{session} was asked about again: {action} {uri}")

    def _decided(self) -> Iterator[tuple[What, float]]:
        """Yield what is decided about WAMP sessions, and when they were told so."""
        for one in self._run.wamp_clients:
            for sent in one.sent:
                if sent.answers and sent.refused != FAILED:
                    yield (one.session, "publish", sent.topic), sent.answers[0]
            for subscription in one.subscriptions:
                if subscription.confirmed is not None:
                    uri = subscription.pattern.shown[0]
                    yield (one.session, "subscribe", uri), subscription.confirmed
