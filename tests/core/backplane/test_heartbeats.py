"""The heartbeats of an idle server: each process wakes a few times a second, however many links."""

from collections import deque
from itertools import combinations, pairwise

from fox_shard.backplane.frames import decode
from fox_shard.backplane.links import Links
from fox_shard.backplane.terms import LinkSettings
from fox_shard.deadline import Deadline

SETTINGS = LinkSettings(shards=2)
NAMES = ("gateway-0", "gateway-1", "shard-0", "shard-1", "coordinator")
UNLINKED = {("gateway-0", "gateway-1")}
DELAY = 0.001
STEP = 0.0005


class Process:
    """A process that notes when it wakes, and what it sends."""

    def __init__(self, name, now, number):
        self.name = name
        self.inbox = deque()
        self.deadline = Deadline()
        self.wakes, self.sent = [], {}
        self.links = Links(
            name,
            self,
            settings=SETTINGS,
            incarnation=number,
            new_epoch=lambda: number << 40,
            deadline=self.deadline,
            notices=[],
            now=now,
        )

    def link_opened(self, link, before, now):
        link.resume([])

    def link_broken(self, link, now):
        raise AssertionError(f"{self.name} has lost {link.peer}")

    def peer_gone(self, link, now):
        raise AssertionError(f"{self.name} takes {link.peer} for gone")

    def turn(self, now):
        """Do what is due; return (peer, batch) for what is sent."""
        awake = False
        while self.inbox and self.inbox[0][0] <= now:
            _, source, data = self.inbox.popleft()
            self.links.receive(self.links.by_name[source], decode(data), len(data), now)
            awake = True
        if now >= self.deadline.at:
            self.links.tick(now)
            self.deadline.at = self.links.next_tick()
            awake = True
        if not awake:
            return []
        self.wakes.append(now)
        out = self.links.flush(now)
        for peer, _ in out:
            self.sent.setdefault(peer, []).append(now)
        self.deadline.by(self.links.next_tick())
        return out


def test_idle_processes_send_their_heartbeats_in_one_moment():
    now = 100.0
    # They start one after the other.
    processes = {}
    pairs = [pair for pair in combinations(NAMES, 2) if pair not in UNLINKED]
    for number, name in enumerate(NAMES, 1):
        processes[name] = Process(name, now, number)
        for one, other in pairs:
            if other == name:
                processes[one].links.add(other, now, connects=True)
                processes[other].links.add(one, now)
        now = run(processes, now, 0.37)
    now = run(processes, now, 5.0)
    for process in processes.values():
        process.wakes.clear()
        process.sent.clear()
    run(processes, now, 20.0)
    for process in processes.values():
        for times in process.sent.values():
            gaps = [later - earlier for earlier, later in pairwise(times)]
            # A peer is silent for no longer than before, and there is no more to send.
            assert max(gaps) <= SETTINGS.heartbeat + 0.01
            assert min(gaps) >= 0.9 * SETTINGS.heartbeat
        assert len(process.sent) == len(process.links.by_name)
        assert len(process.wakes) <= 3 * 20


def run(processes, now, seconds):
    """Let time pass; return the time after that."""
    until = now + seconds
    while now < until:
        now += STEP
        for process in processes.values():
            for peer, data in process.turn(now):
                processes[peer].inbox.append((now + DELAY, process.name, data))
    return now
