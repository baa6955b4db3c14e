"""All links of a process: who is silent, who is gone, and what a standstill changes."""

from collections import deque

import pytest

from fox_shard.backplane.frames import Hello, decode
from fox_shard.backplane.links import Links
from fox_shard.backplane.terms import LinkSettings
from fox_shard.deadline import Deadline

SETTINGS = LinkSettings(shards=1)
TIMEOUT = SETTINGS.peer_timeout


class Process:
    """A process with one link, which notes what it is told and never resumes state."""

    def __init__(self, name, peer, now, *, connects=False, incarnation=1):
        self.name = name
        self.told = []
        self.working = set()
        self.notices = []
        self.links = Links(
            name,
            self,
            settings=SETTINGS,
            incarnation=incarnation,
            new_epoch=lambda: incarnation << 40,
            deadline=Deadline(),
            notices=self.notices,
            now=now,
            is_working=lambda *peer: peer[:2] in self.working,
            on_disowned=self.disowned if connects else None,
        )
        self.link = self.links.add(peer, now, connects=connects)

    def link_opened(self, link, before, now):
        self.told.append("opened")
        link.resume([])

    def link_broken(self, link, now):
        self.told.append("broken")

    def peer_gone(self, link, now):
        self.told.append("gone")
        link.disown()

    def disowned(self, now):
        self.told.append("disowned")
        self.links.renew(self.links.incarnation + 1, now)


class Two:
    """A gateway and a shard. Who does not run neither ticks nor reads; its batches wait."""

    def __init__(self):
        self.now = 100.0
        self.losing = False
        self.gateway = Process("gateway-0", "shard-0", self.now, connects=True, incarnation=1)
        self.start_shard(1)
        self.inbox = {"gateway-0": deque(), "shard-0": deque()}
        self.run(1.0)
        assert self.gateway.told == self.shard.told == ["opened"]
        self.gateway.told.clear()
        self.shard.told.clear()

    def start_shard(self, incarnation):
        self.shard = Process("shard-0", "gateway-0", self.now, incarnation=incarnation)

    def run(self, seconds, *, only=None, step=0.05):
        """Let time pass for both processes, or for one only."""
        until = self.now + seconds
        while self.now < until:
            self.now += step
            for one in (self.gateway, self.shard):
                if only is None or one is only:
                    self.turn(one)

    def turn(self, one):
        one.links.tick(self.now)
        while self.inbox[one.name]:
            data = self.inbox[one.name].popleft()
            one.links.receive(one.link, decode(data), len(data), self.now)
        for peer, data in one.links.flush(self.now):
            if not self.losing:
                self.inbox[peer].append(data)


def test_a_silent_peer_is_lost_and_then_gone():
    two = Two()
    two.run(2 * TIMEOUT + 1, only=two.shard)
    assert two.shard.told == ["broken", "gone"]


def test_a_silent_peer_that_works_is_neither_lost_nor_gone():
    two = Two()
    two.shard.working.add(("gateway-0", 1))
    two.run(4 * TIMEOUT, only=two.shard)
    assert two.shard.told == []
    # It does not work any longer.
    two.shard.working.clear()
    two.run(2 * TIMEOUT + 2, only=two.shard)
    assert two.shard.told == ["broken", "gone"]


def test_another_incarnation_that_works_says_nothing_about_the_lost_one():
    two = Two()
    two.shard.working.add(("gateway-0", 2))
    two.run(2 * TIMEOUT + 1, only=two.shard)
    assert two.shard.told == ["broken", "gone"]


@pytest.mark.parametrize("seconds", [2.0, TIMEOUT + 1, 3 * TIMEOUT, 1000.0])
def test_two_processes_that_both_stood_still_stay_linked(seconds):
    two = Two()
    two.now += seconds
    two.run(1.0)
    assert two.gateway.told == two.shard.told == []
    assert two.gateway.link.open
    assert two.shard.link.open
    assert not two.gateway.links.held


def test_the_time_in_which_a_process_stood_still_does_not_count_for_a_lost_peer():
    two = Two()
    two.shard.links.connection_lost("gateway-0", two.now)
    two.now += 3 * TIMEOUT
    two.run(TIMEOUT - 1.5, only=two.shard)
    assert two.shard.told == ["broken"]
    two.run(2.0, only=two.shard)
    assert two.shard.told == ["broken", "gone"]


def test_a_process_that_was_missed_but_not_declared_gone_comes_back_as_it_was():
    two = Two()
    two.run(TIMEOUT + 1, only=two.shard)
    assert two.shard.told == ["broken"]
    two.run(1.0)
    assert two.gateway.told == ["broken", "opened"]
    assert two.shard.told[-1] == "opened"
    assert "gone" not in two.shard.told
    assert two.gateway.link.open
    assert two.gateway.links.incarnation == two.shard.link.peer_incarnation == 1
    assert not two.gateway.links.held


def test_a_process_that_was_declared_gone_comes_back_in_a_new_incarnation():
    two = Two()
    two.run(2 * TIMEOUT + 1, only=two.shard)
    assert two.shard.told == ["broken", "gone"]
    two.run(1.0)
    assert "disowned" in two.gateway.told
    # The gone incarnation was never let in again.
    assert two.shard.told == ["broken", "gone", "opened"]
    assert two.shard.link.peer_incarnation == 2
    assert two.gateway.link.open


def test_a_process_that_did_not_stand_still_learns_that_it_was_declared_gone():
    """As when all its batches were lost, though it turned all the time."""
    two = Two()
    two.losing = True
    two.run(2 * TIMEOUT + 1)
    two.losing = False
    two.run(1.0)
    assert "gone" in two.shard.told
    assert "disowned" in two.gateway.told
    assert two.shard.link.peer_incarnation == two.gateway.links.incarnation == 2


def test_nothing_is_sent_after_a_standstill_until_the_peer_has_answered():
    two = Two()
    two.now += TIMEOUT + 1
    two.turn(two.gateway)
    assert two.gateway.links.held
    assert two.gateway.link.congested
    two.gateway.link.outbox.append(Hello(9, 9, reply=False, version=0, generation=0, shards=0))
    two.turn(two.gateway)
    sent = [decode(data) for data in two.inbox["shard-0"]]
    assert [type(frame) for batch in sent for frame in batch.frames] == [Hello]
    two.turn(two.shard)
    two.turn(two.gateway)
    assert not two.gateway.links.held
    assert not two.gateway.link.congested
    assert two.gateway.link.outbox == []
    assert two.gateway.told == []


@pytest.mark.parametrize("missed", [False, True])
def test_a_shard_that_restarted_during_the_standstill_may_have_gone_on_without_the_gateway(missed):
    two = Two()
    two.start_shard(2)
    two.shard.link.missed = missed
    two.run(TIMEOUT + 1, only=two.shard)
    two.run(1.0)
    if not missed:
        assert two.gateway.told == ["broken", "opened"]
        return
    assert two.gateway.told.count("disowned") == 1
    assert two.shard.link.peer_incarnation == two.gateway.links.incarnation == 2


def test_a_shard_that_restarts_at_another_time_ends_nothing():
    two = Two()
    two.start_shard(2)
    two.run(1.0)
    assert two.gateway.told == ["broken", "opened"]
    assert two.gateway.links.incarnation == 1


def test_a_peer_that_does_not_answer_after_the_standstill_may_have_declared_it_gone():
    two = Two()
    two.now += TIMEOUT + 1
    two.run(TIMEOUT - 0.2, only=two.gateway)
    assert "disowned" not in two.gateway.told
    two.run(1.0, only=two.gateway)
    assert "disowned" in two.gateway.told
    assert not two.gateway.links.held


def test_a_peer_that_works_is_waited_for_after_the_standstill():
    two = Two()
    two.gateway.working.add(("shard-0", 1))
    two.now += TIMEOUT + 1
    two.run(4 * TIMEOUT, only=two.gateway)
    assert two.gateway.told == []
    assert two.gateway.links.held
    two.run(1.0)
    assert not two.gateway.links.held


def test_a_standstill_is_worth_a_line_in_the_log():
    two = Two()
    two.gateway.notices.clear()
    two.now += 8.0
    two.turn(two.gateway)
    assert two.gateway.notices == [("stood_still", {"seconds": 8.0})]


def test_a_process_without_open_links_turns_regularly_so_that_it_notices_a_standstill():
    two = Two()
    two.shard.links.connection_lost("gateway-0", two.now)
    two.run(2 * TIMEOUT, only=two.shard)
    assert two.shard.links.next_tick() <= two.now + SETTINGS.heartbeat
