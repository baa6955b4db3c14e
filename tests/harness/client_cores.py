"""A client's core and the other end of its connection, as a script in a test.

Owns: what the core has sent and told. Never: what messages mean.
"""

import msgspec

from fox_shard.client.core import ClientCore
from fox_shard.client.effects import Arrived, Hangup, Send

HELLO, WELCOME, GOODBYE, ERROR = 1, 2, 6, 8
SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, EVENT = 32, 33, 34, 35, 36
REGISTER, REGISTERED, UNREGISTER, UNREGISTERED, INVOCATION = 64, 65, 66, 67, 68


class CoreEnd:
    """A core that is joined, unless `joins` says otherwise. told: effects other than messages."""

    def __init__(self, login=None, joins=True):
        self.core = ClientCore("realm1", login, chance=lambda: 0.0)
        self.sent, self.told = [], []
        self.now = 0.0
        if joins:
            self.join()

    def perform(self, effects):
        for effect in effects:
            if isinstance(effect, Send):
                self.sent.append(msgspec.msgpack.decode(effect.data))
            else:
                self.told.append(effect)
                if isinstance(effect, Hangup):
                    self.lose(effect.why)

    def join(self, session=7):
        self.perform(self.core.opened())
        self.says(WELCOME, session, {})

    def lose(self, why="The line is cut."):
        self.perform(self.core.lost(why))

    def says(self, *message):
        """Let the router say something."""
        self.perform(self.core.received(msgspec.msgpack.encode(message), self.now))

    def do(self, verb, *arguments, **named):
        self.perform(getattr(self.core, verb)(*arguments, **named))

    def tick(self, now):
        self.now = now
        self.perform(self.core.tick(now))

    def take_sent(self, kind=None):
        """Return what has been sent since the last time, of one kind or all."""
        sent, self.sent = self.sent, []
        return [message for message in sent if kind in (None, message[0])]

    def take_told(self):
        told, self.told = self.told, []
        return told

    def shown(self, ticket):
        """Return topic, publication, removed of what a subscription has been shown since then."""
        return [
            (effect.event.topic, effect.event.publication, effect.event.removed)
            for effect in self.take_told()
            if isinstance(effect, Arrived) and effect.ticket == ticket
        ]

    def subscribed(self, ticket, pattern, options, number, stays=True):
        self.do("subscribe", ticket, pattern, options, stays=stays)
        self.confirm(number)

    def confirm(self, *numbers):
        """Confirm the subscriptions and registrations that have been asked for, in order."""
        asked = [one for one in self.take_sent() if one[0] in (SUBSCRIBE, REGISTER)]
        assert len(asked) == len(numbers)
        for message, number in zip(asked, numbers, strict=True):
            self.says(message[0] + 1, message[1], number)
