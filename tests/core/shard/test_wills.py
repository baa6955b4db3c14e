"""Wills: kept per session, gone with it (MQTT-3.1.2-8)."""

from shard_stage import Stage, publish

from fox_shard.shard.wills import Wills


def peers():
    stage = Stage(gateways=2)
    return stage.shard.peers["gateway-0"], stage.shard.peers["gateway-1"]


def test_a_session_has_one_will_the_last_one():
    peer, _ = peers()
    wills = Wills()
    wills.keep(peer, publish(session=1, args=b"[1]"))
    wills.keep(peer, publish(session=1, args=b"[2]"))
    assert wills.drop(1).args == b"[2]"
    assert wills.drop(1) is None


def test_a_session_without_a_will_has_none():
    assert Wills().drop(7) is None


def test_a_gateway_takes_the_wills_of_its_sessions_along():
    one, other = peers()
    wills = Wills()
    for session in (1, 2, 3):
        wills.keep(other if session == 2 else one, publish(session=session))
    assert [will.session for will in wills.drop_all(one)] == [1, 3]
    assert wills.drop_all(one) == []
    assert wills.drop(2).session == 2
