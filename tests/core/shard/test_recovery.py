"""Frames that several peers have sent again, in the order in which they had their effects."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_harness import call, leave, publish, subscribe

from fox_shard.backplane.frames import Subscribe, SyncEnd
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.recovery import in_order, without_state


def arrival(frames, marks=(), *, rfirst=1, last=9):
    marks = list(marks)
    durable = rfirst + len(marks) - 1 if marks else 0
    return Arrival(list(frames), last, durable, marks, rfirst)


def numbered(one):
    """Return [(frame, reliable number)], where 0 means a plain frame."""
    return [(frame, one.rseq(i)) for i, frame in enumerate(one.frames)]


# Splitting


@pytest.mark.parametrize(("marks", "numbers"), [([], [0] * 5), ([0, 2, 4], [6, 0, 7, 0, 8])])
def test_each_frame_has_its_reliable_number_or_0(marks, numbers):
    one = arrival([*"abcde"], marks, rfirst=6)
    assert [one.rseq(index) for index in range(5)] == numbers


@given(st.integers(0, 6), st.sets(st.integers(0, 5)))
def test_frames_keep_their_numbers_when_a_batch_is_split(end, marks):
    whole = arrival([*"abcdef"], sorted(marks), rfirst=4)
    first, rest = whole.split(end)
    assert (first.frames, rest.frames) == ([*"abcdef"][:end], [*"abcdef"][end:])
    assert numbered(first) + numbered(rest) == numbered(whole)
    # The part with the last reliable frame has the last reliable number of the whole.
    assert max(first.durable, rest.durable) == whole.durable
    for part in (first, rest):
        assert part.durable == max(0, *(number for _, number in numbered(part)), 0)
    assert (first.last, rest.last) == (whole.last - len(rest.frames), whole.last)


@given(st.lists(st.booleans(), max_size=8), st.sets(st.integers(0, 7)))
def test_frames_keep_their_numbers_when_state_is_left_out(kinds, marks):
    """State is never reliable."""
    frames = [subscribe() if state else publish(request=i) for i, state in enumerate(kinds)]
    marked = sorted(i for i in marks if i < len(kinds) and not kinds[i])
    whole = arrival(frames, marked)
    left = without_state(whole, (Subscribe, SyncEnd))
    assert numbered(left) == [
        (frame, number) for frame, number in numbered(whole) if not isinstance(frame, Subscribe)
    ]
    assert (left.last, left.durable) == (whole.last, whole.durable)


# The common order


class KnownOutcomes:
    """Outcomes as given: (peer's name, rseq) -> publication id."""

    def __init__(self, outcomes):
        self._outcomes = outcomes

    def outcome(self, peer, rseq):
        return self._outcomes.get((peer.name, rseq))

    def watermark(self, peer):
        return max((rseq for name, rseq in self._outcomes if name == peer.name), default=0)


def resent(name, *frames, unreliable=()):
    """Return a peer that has sent these frames again, in batches of two."""
    peer = SimpleNamespace(name=name, resent=[])
    rfirst = 1
    for start in range(0, len(frames), 2):
        batch = frames[start : start + 2]
        marks = [i for i, frame in enumerate(batch) if frame not in unreliable]
        peer.resent.append(arrival(batch, marks, rfirst=rfirst))
        rfirst += len(marks)
    return peer


def order(outcomes, *peers):
    return [
        (peer.name, *one.frames) for peer, one in in_order(list(peers), KnownOutcomes(outcomes))
    ]


def test_recorded_frames_come_in_the_order_of_publication_ids():
    outcomes = {("g0", 1): 10, ("g0", 2): 40, ("g1", 1): 20, ("g1", 2): 30}
    assert order(outcomes, resent("g0", "a", "d"), resent("g1", "b", "c")) == [
        ("g0", "a"), ("g1", "b"), ("g1", "c"), ("g0", "d"),
    ]  # fmt: skip


def test_unrecorded_frames_keep_their_place_and_unhandled_ones_come_last():
    outcomes = {("g0", 2): 20, ("g1", 1): 10, ("g1", 3): 30}
    peers = resent("g0", "first", "recorded", "behind"), resent("g1", "a", "plain", "b")
    assert order(outcomes, *peers) == [
        ("g0", "first"), ("g1", "a"), ("g1", "plain"), ("g0", "recorded"), ("g1", "b"),
        ("g0", "behind"),
    ]  # fmt: skip


def test_a_refused_frame_stays_behind_the_one_before_it():
    outcomes = {("g0", 1): 20, ("g0", 2): 0, ("g1", 1): 10}
    peers = resent("g0", "a", "refused"), resent("g1", "b")
    assert order(outcomes, *peers) == [("g1", "b"), ("g0", "a"), ("g0", "refused")]


def test_frames_without_outcomes_come_peer_by_peer():
    peers = resent("g0", "a", "b", "c"), resent("g1", "d")
    assert order({}, *peers) == [("g0", "a"), ("g0", "b"), ("g0", "c"), ("g1", "d")]


def test_frames_are_taken_from_the_peers_once():
    peers = resent("g0", "a"), resent("g1", "b")
    assert len(order({}, *peers)) == 2
    assert order({}, *peers) == []


def test_each_frame_comes_with_its_reliable_number_and_confirms_no_sequence_number():
    """A sequence number must not be confirmed before the whole batch has been handled."""
    peer = resent("g0", "a", "plain", "b", unreliable=("plain",))
    ones = [one for _, one in in_order([peer], KnownOutcomes({}))]
    assert [numbered(one) for one in ones] == [[("a", 1)], [("plain", 0)], [("b", 2)]]
    assert [one.durable for one in ones] == [1, 0, 2]
    assert {one.last for one in ones} == {0}


@given(
    st.lists(st.tuples(st.sampled_from(["g0", "g1", "g2"]), st.booleans()), max_size=15),
)
def test_the_order_of_each_peer_and_of_recorded_frames_is_kept(history):
    """Any publishes, some of them recorded, come again without a change of order."""
    sent = {"g0": [], "g1": [], "g2": []}
    outcomes = {}
    for publication, (name, recorded) in enumerate(history, 1):
        sent[name].append(publication)
        if recorded:
            outcomes[name, len(sent[name])] = publication
    again = order(outcomes, *(resent(name, *frames) for name, frames in sent.items()))
    for name, frames in sent.items():
        assert [frame for peer, frame in again if peer == name] == frames
    recorded = [frame for _, frame in again if frame in outcomes.values()]
    assert recorded == sorted(recorded)


@pytest.mark.parametrize("frame", [call(), leave(1), publish()])
def test_frames_that_are_not_state_stay(frame):
    assert without_state(arrival([frame]), (Subscribe, SyncEnd)).frames == [frame]
