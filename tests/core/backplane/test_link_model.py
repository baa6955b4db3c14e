"""A model of two link ends and a wire that loses, cuts and delays."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from link_ends import Ends, number_of, publish, state

from fox_shard.backplane.frames import Hello, SyncEnd, decode
from fox_shard.backplane.terms import LinkSettings

WHICH = st.sampled_from("ab")


def numbers(frames):
    return [number_of(frame) for frame in frames if not isinstance(frame, SyncEnd)]


class Links(RuleBasedStateMachine):
    """Two link ends, whose frames are numbered in one series, to show which of them arrived."""

    def __init__(self):
        super().__init__()
        self.ends = Ends(LinkSettings(shards=2, credit=400))
        self.number = 0
        # By sender: the reliable frames of its present incarnation.
        # By receiver: all frames that its earlier incarnations handled.
        self.reliable = {"a": [], "b": []}
        self.ever = {"a": set(), "b": set()}

    def end(self, which):
        return getattr(self.ends, which)

    def other(self, which):
        return self.end("b" if which == "a" else "a")

    def wire(self, which):
        """Return the wire that leads to that end."""
        return self.ends.to_a if which == "a" else self.ends.to_b

    # Events

    @rule(which=WHICH, reliable=st.booleans(), kept=st.booleans(), many=st.integers(1, 4))
    def send(self, which, reliable, kept, many):
        link = self.end(which).link
        for _ in range(many):
            self.number += 1
            frame = publish(self.number) if kept or reliable else state(self.number)
            if reliable:
                link.send_reliable(frame)
                self.reliable[which].append(self.number)
            else:
                link.send(frame)

    @rule(which=WHICH)
    def flush(self, which):
        wire = self.wire("b" if which == "a" else "a")
        wire.extend(self.end(which).flush(self.ends.now))

    @rule(which=WHICH, many=st.integers(1, 5))
    def arrive(self, which, many):
        wire = self.wire(which)
        for _ in range(min(many, len(wire))):
            self.end(which).take(wire.popleft(), self.ends.now)

    @rule()
    def turns(self):
        for _ in range(4):
            self.ends.turn()

    @rule(which=WHICH, before=st.booleans(), behind=st.booleans())
    def lose_a_batch(self, which, before, behind):
        other = "b" if which == "a" else "a"
        if before:
            self.send(other, reliable=True, kept=True, many=2)
            self.flush(other)
        if self.wire(which):
            self.wire(which).pop()
        if behind:
            self.send(other, reliable=True, kept=True, many=1)
            self.flush(other)

    @rule(which=WHICH, noticed=st.booleans())
    def cut(self, which, noticed):
        self.ends.to_a.clear()
        self.ends.to_b.clear()
        if noticed:
            self.end(which).cut(self.ends.now)

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 6.0]))
    def pass_time(self, seconds):
        self.ends.now += seconds
        for which in "ab":
            self.end(which).tick(self.ends.now)

    @rule(which=WHICH, confirms=st.booleans(), holds=st.booleans())
    def be_slow(self, which, confirms, holds):
        self.end(which).confirms = confirms
        self.end(which).link.hold_credit = holds

    @rule(which=WHICH)
    def restart(self, which):
        self.ever[which].update(numbers(self.end(which).handled))
        self.end(which).start(self.ends.now)
        self.reliable[which] = []
        # Its connection breaks, so its batches on the wire are lost.
        self.wire("b" if which == "a" else "a").clear()

    # Invariants

    @invariant()
    def a_receiver_gets_a_prefix_of_what_was_sent_in_the_pair(self):
        for which in "ab":
            receiver, sender = self.end(which), self.other(which)
            link = receiver.link
            if not link.open or link.peer_epoch not in sender.sent:
                continue
            sent = sender.sent[link.peer_epoch][: link.received]
            got = receiver.by_pair.get(link.epoch, [])
            known = set(numbers(sent)) - set(numbers(got))
            assert numbers(got) == [n for n in numbers(sent) if n not in known]
            # Frames that were left out had been handled in an earlier pair.
            earlier = numbers(receiver.handled[: len(receiver.handled) - len(got)])
            assert known <= set(earlier)
            assert known <= set(self.reliable["b" if which == "a" else "a"])

    @invariant()
    def nothing_is_handled_twice_by_one_process(self):
        for which in "ab":
            got = numbers(self.end(which).handled)
            assert len(got) == len(set(got))

    @invariant()
    def frames_of_a_pair_are_in_the_order_of_sending(self):
        for which in "ab":
            for frames in self.end(which).by_pair.values():
                assert numbers(frames) == sorted(numbers(frames))

    @invariant()
    def bytes_in_flight_are_never_negative(self):
        for which in "ab":
            assert self.end(which).link.in_flight >= 0

    def teardown(self):
        """Let both ends work undisturbed: everything arrives and is confirmed."""
        for which in "ab":
            end = self.end(which)
            end.confirms, end.link.hold_credit = True, False
        self.ends.settle(14.0, step=0.25)
        for which in "ab":
            sender, receiver = self.end(which), self.other(which)
            assert sender.link.open
            assert sender.link.idle
            assert sender.link.in_flight == 0
            assert not sender.link.congested
            handled = self.ever["b" if which == "a" else "a"] | set(numbers(receiver.handled))
            assert set(self.reliable[which]) <= handled
        self.nothing_is_handled_twice_by_one_process()


TestLinks = Links.TestCase


def test_the_wire_of_the_model_carries_hellos_too():
    """Otherwise no pair of the model would ever open."""
    ends = Ends(opened=False)
    ends.a.tick(ends.now)
    ends.flush()
    assert isinstance(decode(ends.to_b[0]).frames[0], Hello)
