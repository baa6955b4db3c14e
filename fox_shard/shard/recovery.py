"""Catching up: what the peers of a restarted shard have sent again, in the order of its effects.

Owns: cutting a replay into its parts, and the common order of what several peers sent again. Never:
handling it.

What is recorded has publication ids, in whose order subscribers are to get the events. What was not
handled before the restart will get higher ones, so it comes behind all that is recorded, of
whatever peer. What was, and is not recorded, keeps its place among what its own peer sent.
"""

from collections.abc import Iterator
from heapq import merge

from fox_shard.backplane.frames import Frame
from fox_shard.shard.links.arrival import Arrival
from fox_shard.shard.links.outcomes import Ledger
from fox_shard.shard.links.peer import Peer

BEYOND = (1 << 53) - 1
"""A publication id that is higher than any."""


def split(arrival: Arrival, end: int) -> tuple[Arrival, Arrival]:
    """The frames before that index, and the others, which are the end of the batch."""
    inside = [mark for mark in arrival.marks if mark < end]
    outside = [mark - end for mark in arrival.marks if mark >= end]
    rfirst = arrival.rfirst + len(inside)
    frames = arrival.frames
    first = Arrival(frames[:end], arrival.last, rfirst - 1 if inside else 0, inside, arrival.rfirst)
    durable = arrival.durable if outside else 0
    return first, Arrival(frames[end:], arrival.last, durable, outside, rfirst)


def without_state(arrival: Arrival, state: tuple[type[Frame], ...]) -> Arrival:
    """The frames that are not of those types. State is never reliable."""
    kept = [i for i, frame in enumerate(arrival.frames) if not isinstance(frame, state)]
    place = {i: new for new, i in enumerate(kept)}
    return Arrival(
        [arrival.frames[i] for i in kept],
        arrival.last,
        arrival.durable,
        [place[mark] for mark in arrival.marks],
        arrival.rfirst,
    )


def in_order(peers: list[Peer], ledger: Ledger) -> Iterator[tuple[Peer, Arrival]]:
    """What those peers have sent again, one frame each, and it is taken from them."""
    streams = []
    for number, peer in enumerate(peers):
        arrivals, peer.resent = peer.resent, []
        streams.append(_placed(number, peer, arrivals, ledger))
    for _, number, arrival in merge(*streams, key=lambda placed: placed[:2]):
        yield peers[number], arrival


def _placed(
    number: int, peer: Peer, arrivals: list[Arrival], ledger: Ledger
) -> Iterator[tuple[int, int, Arrival]]:
    """(publication id, peer's number, frame); the id is that of the last recorded one."""
    place = 0
    watermark = ledger.watermark(peer)
    for arrival in arrivals:
        for index, frame in enumerate(arrival.frames):
            rseq = arrival.rseq(index)
            place = BEYOND if rseq > watermark else max(place, ledger.outcome(peer, rseq) or 0)
            # Of this pair nothing has passed until the batch has.
            yield place, number, Arrival([frame], 0, rseq, [0] if rseq else [], rseq)
