"""An authenticator for the fake gateways, which a test lets answer when it likes."""

from fox_shard.config import Realm
from fox_shard.gateway.auth.dynamic import Authenticators
from fox_shard.gateway.consulting.consultations import Consultations
from fox_shard.gateway.consulting.outcomes import Advice, NoAdvice

ALL_METHODS = ("ticket", "wampcra", "cryptosign", "tls", "anonymous")


class FakeAuthenticator:
    """The authenticator of realm1, at a gateway that only records its requests."""

    def __init__(self, gateway, methods=ALL_METHODS, limit=100):
        realm = Realm(
            name="realm1", authenticator="logins:authenticate", authenticator_methods=methods
        )
        self.consultations = Consultations(
            None, limit, gateway.limit_counts, gateway.timers, lambda: gateway.now
        )
        self.functions = self.consultations.functions
        gateway.authentication.authenticators = Authenticators(
            [realm], 5.0, self.consultations, gateway.realms, gateway.authentication
        )
        self.calls = []

    def asked(self):
        """Return the arguments of the questions since this was last read."""
        new = self.functions.due()
        self.calls += new
        return [call.args for call in new]

    def answers(self, value):
        """Answer the oldest question: with a value, or with the reason why there is none."""
        if not self.calls:
            assert self.asked()
        outcome = value if isinstance(value, NoAdvice) else Advice(value)
        self.functions.finished(self.calls.pop(0), outcome)
