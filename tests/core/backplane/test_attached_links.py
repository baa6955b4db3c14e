"""Links of attached gateways: who is let in, who is gone, and what is forgotten of them."""

from collections import deque

import pytest
from link_ends import number_of, publish
from msgspec import structs

from fox_shard.backplane.attached import is_attached, name_of
from fox_shard.backplane.frames import Publish, decode
from fox_shard.backplane.links import LOOK, Links
from fox_shard.backplane.terms import LinkSettings
from fox_shard.deadline import Deadline

SETTINGS = LinkSettings(shards=1, attached_gateways=2)
TIMEOUT, HEARTBEAT = SETTINGS.attached_timeout, SETTINGS.heartbeat


class Node:
    """A shard, or an attached gateway, that notes what it is told and never replays state."""

    def __init__(self, name, now, *, incarnation=1, connects=False, settings=SETTINGS):
        self.name = name
        self.told = []
        self.notices = []
        # Of the reliable frames that it has handled.
        self.numbers = []
        self.working = False
        # Names of those whose processes have ended.
        self.ended = set()
        self.deadline = Deadline()
        self.connects = connects
        self.links = Links(
            name,
            self,
            settings=settings.for_attached() if connects else settings,
            incarnation=incarnation,
            new_epoch=lambda: incarnation << 40,
            deadline=self.deadline,
            notices=self.notices,
            now=now,
            is_working=lambda *_: self.working,
            has_ended=lambda name: name in self.ended,
            on_disowned=self.disowned if connects else None,
        )
        if connects:
            self.links.add("shard-0", now, connects=True)

    def link_opened(self, link, before, now):
        self.told.append(("opened", link.peer))
        link.resume([])

    def link_broken(self, link, now):
        self.told.append(("broken", link.peer))

    def peer_gone(self, link, now):
        self.told.append(("gone", link.peer))
        if not self.connects:
            link.disown()

    def disowned(self, now):
        self.told.append("disowned")
        self.links.renew(self.links.incarnation + 1, now)

    def receive(self, batch, size, now):
        link = self.links.by_name.get(batch.source)
        if link is None:
            if not self.links.knocks(batch, 0):
                return
            link = self.links.add(batch.source, now)
        self.numbers += [
            number_of(one)
            for one in self.links.receive(link, batch, size, now)
            if isinstance(one, Publish)
        ]
        link.durable = link.watermark

    @property
    def linked(self):
        return all(self.links.states().values())


class Cluster:
    """A shard and attached gateways. Who does not run neither ticks nor reads."""

    def __init__(self):
        self.now = 100.0
        self.nodes = {"shard-0": Node("shard-0", 100.0)}
        self.inboxes = {"shard-0": deque()}
        self.run(0.1)

    @property
    def shard(self):
        return self.nodes["shard-0"]

    def attach(self, number, incarnation=1):
        name = name_of(number)
        self.inboxes[name] = deque()
        node = self.nodes[name] = Node(name, self.now, incarnation=incarnation, connects=True)
        return node

    def run(self, seconds, *, without=None):
        until = self.now + seconds
        while self.now < until:
            self.now += 0.05
            for node in self.nodes.values():
                if node is not without:
                    self.turn(node)

    def turn(self, node):
        if node.links.by_name:
            node.links.tick(self.now)
        inbox = self.inboxes[node.name]
        while inbox:
            data = inbox.popleft()
            node.receive(decode(data), len(data), self.now)
        for peer, data in node.links.flush(self.now):
            self.inboxes[peer].append(data)


@pytest.fixture
def cluster():
    return Cluster()


def test_names_tell_attached_gateways_from_configured_ones():
    assert is_attached(name_of(0))
    assert is_attached(name_of((1 << 48) - 1))
    assert name_of(1) != name_of(2)
    assert not any(map(is_attached, ("gateway-0", "gateway-255", "shard-0", "coordinator")))


def test_an_attached_gateway_is_let_in_by_its_hello(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    assert gateway.told == [("opened", "shard-0")]
    assert cluster.shard.told == [("opened", gateway.name)]


def test_more_than_the_limit_are_refused_in_words(cluster):
    first, _, third = cluster.attach(1), cluster.attach(2), cluster.attach(3)
    cluster.run(0.5)
    assert not third.linked
    refusal = third.links.by_name["shard-0"].refusal
    assert "2 attached gateways" in refusal
    assert "backplane.attached_gateways" in refusal
    # When one has been forgotten, there is room again.
    cluster.shard.links.forget(first.name)
    del cluster.nodes[first.name]
    cluster.run(0.5)
    assert third.linked


def test_a_silent_attached_gateway_is_gone_after_a_time_of_its_own(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.shard.told.clear()
    cluster.run(2 * TIMEOUT + 1, without=gateway)
    assert cluster.shard.told == [("broken", gateway.name), ("gone", gateway.name)]
    assert 2 * SETTINGS.peer_timeout > 2 * TIMEOUT


def test_one_whose_process_has_ended_is_gone_as_soon_as_it_is_missed(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.shard.told.clear()
    cluster.shard.ended.add(gateway.name)
    cluster.run(2 * HEARTBEAT + 0.1, without=gateway)
    assert cluster.shard.told == [("broken", gateway.name), ("gone", gateway.name)]
    cluster.run(3 * TIMEOUT, without=gateway)
    assert len(cluster.shard.told) == 2
    assert 2 * HEARTBEAT + 0.1 < TIMEOUT


def test_one_that_is_waited_for_is_gone_as_soon_as_its_process_has_ended(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.run(TIMEOUT + 0.5, without=gateway)
    assert cluster.shard.told[-1] == ("broken", gateway.name)
    cluster.shard.ended.add(gateway.name)
    cluster.run(HEARTBEAT, without=gateway)
    assert cluster.shard.told[-1] == ("gone", gateway.name)


def test_one_whose_connection_breaks_is_gone_at_once_if_its_process_has_ended(cluster):
    gateway, other = cluster.attach(1), cluster.attach(2)
    cluster.run(0.5)
    cluster.shard.ended.add(gateway.name)
    cluster.shard.told.clear()
    del cluster.nodes[gateway.name]
    for one in (gateway, other):
        cluster.shard.links.connection_lost(one.name, cluster.now)
    assert cluster.shard.deadline.at <= cluster.now + LOOK
    cluster.run(LOOK + 0.1)
    assert cluster.shard.told == [
        ("broken", gateway.name),
        ("broken", other.name),
        ("gone", gateway.name),
    ]
    cluster.run(2 * HEARTBEAT)
    assert cluster.shard.told[3:] == [("opened", other.name)]


def test_whoever_speaks_has_not_ended_whatever_is_told(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.shard.ended.add(gateway.name)
    cluster.run(10)
    assert cluster.shard.told == [("opened", gateway.name)]


def test_nothing_is_believed_of_one_that_was_told_to_have_ended_when_it_came(cluster):
    """Its lock is none that this process can see."""
    cluster.shard.ended.add(name_of(1))
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.run(TIMEOUT - 0.5, without=gateway)
    assert cluster.shard.told == [("opened", gateway.name)]


def test_what_one_has_sent_before_its_end_is_read_by_a_shard_that_stood_still(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    gateway.links.by_name["shard-0"].send_reliable(publish(1))
    cluster.run(0.1, without=cluster.shard)
    del cluster.nodes[gateway.name]
    cluster.shard.ended.add(gateway.name)
    cluster.shard.told.clear()
    cluster.run(20, without=cluster.shard)
    cluster.run(0.1)
    assert (cluster.shard.numbers, cluster.shard.told) == ([1], [])
    cluster.run(2 * HEARTBEAT)
    assert cluster.shard.told == [("broken", gateway.name), ("gone", gateway.name)]


def test_that_it_works_is_no_excuse_for_an_attached_gateway(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.shard.working = True
    cluster.run(2 * TIMEOUT + 1, without=gateway)
    assert ("gone", gateway.name) in cluster.shard.told


def test_one_that_is_gone_takes_another_incarnation(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.run(2 * TIMEOUT + 1, without=gateway)
    cluster.run(1)
    assert "disowned" in gateway.told
    assert gateway.linked
    assert gateway.links.incarnation == 2


def test_one_that_was_gone_and_forgotten_takes_another_incarnation(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.run(2 * TIMEOUT + 1, without=gateway)
    cluster.shard.links.forget(gateway.name)
    cluster.run(20, without=gateway)
    cluster.run(1)
    assert "disowned" in gateway.told
    assert gateway.linked
    assert gateway.links.incarnation == 2


@pytest.mark.parametrize("forgotten", [False, True])
def test_another_incarnation_gets_reliable_frames_from_the_first_on(cluster, forgotten):
    """They are the first in a new numbering, if the shard has forgotten the gateway meanwhile."""
    gateway = cluster.attach(1)
    cluster.run(0.5)
    for number in (1, 2, 3):
        cluster.shard.links.by_name[gateway.name].send_reliable(publish(number))
    cluster.run(0.5)
    cluster.run(2 * TIMEOUT + 1, without=gateway)
    if forgotten:
        cluster.shard.links.forget(gateway.name)
    cluster.run(1)
    assert gateway.links.incarnation == 2
    for number in (4, 5):
        cluster.shard.links.by_name[gateway.name].send_reliable(publish(number))
        cluster.run(0.5)
    assert gateway.numbers == [1, 2, 3, 4, 5]


def test_one_that_the_store_knows_to_be_gone_takes_another_incarnation(cluster):
    gateway = cluster.attach(1, incarnation=7)
    hello = gateway.links.by_name["shard-0"]
    hello.tick(cluster.now)
    (data,) = hello.flush(cluster.now)
    assert not cluster.shard.links.knocks(decode(data), 7)
    assert cluster.shard.links.knocks(decode(data), 6)


def test_a_restarted_shard_links_with_the_attached_gateways_again(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.nodes["shard-0"] = Node("shard-0", cluster.now, incarnation=2)
    gateway.told.clear()
    cluster.run(3)
    assert gateway.told == [("broken", "shard-0"), ("opened", "shard-0")]
    assert gateway.links.incarnation == 1


def test_one_that_a_restarted_shard_has_not_waited_for_takes_another_incarnation(cluster):
    """What was published meanwhile has not reached its sessions, although it was acknowledged."""
    gateway = cluster.attach(1)
    cluster.run(0.5)
    shard = cluster.nodes["shard-0"] = Node("shard-0", cluster.now, incarnation=2)
    shard.links.add(gateway.name, cluster.now).missed = True
    cluster.run(1)
    assert "disowned" in gateway.told
    assert gateway.linked
    assert gateway.links.incarnation == 2


def test_one_that_is_given_up_is_gone_at_once(cluster):
    gateway = cluster.attach(1)
    cluster.run(0.5)
    cluster.shard.told.clear()
    link = cluster.shard.links.by_name[gateway.name]
    cluster.shard.links.give_up(link, cluster.now)
    assert cluster.shard.told == [("broken", gateway.name), ("gone", gateway.name)]
    cluster.run(1)
    assert "disowned" in gateway.told
    assert gateway.linked


def test_one_of_another_layout_is_told_so(cluster):
    """That happens to one that has been here when the server was restarted with more shards."""
    gateway = cluster.attach(1)
    cluster.run(0.5)
    more = structs.replace(SETTINGS, shards=2, generation=1)
    cluster.nodes["shard-0"] = Node("shard-0", cluster.now, incarnation=2, settings=more)
    cluster.run(1)
    assert "layout 1 with 2 shards" in gateway.links.refusal
    assert "refused" in [event for event, _ in gateway.notices]


def test_a_refusal_is_over_when_the_gateway_is_let_in(cluster):
    cluster.attach(1)
    cluster.attach(2)
    third = cluster.attach(3)
    cluster.run(0.5)
    assert third.links.refusal
    cluster.shard.links.forget(name_of(1))
    del cluster.nodes[name_of(1)]
    cluster.run(0.5)
    assert not third.links.refusal


def test_a_broken_connection_to_a_forgotten_gateway_is_no_news(cluster):
    cluster.shard.links.connection_lost(name_of(9), cluster.now)
    assert cluster.shard.told == []
