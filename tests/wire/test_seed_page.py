"""The options of fox-wamp's own page, with its client, autobahn-js."""

import node


def test_retained_keys_as_their_page_has_them(cluster):
    prefix = "seed"
    assert node.run("seed.cjs", cluster.websocket, prefix) == {
        "early": "fox.error.condition_failed",
        "started": [{"status": "started"}],
        "kept": ["seed.the.key", ["args"], {"kwArgs": False}, True],
        "there": "fox.error.condition_failed",
        "notThere": None,
        "passing": [],
        "turnsAfterOne": 1,
        "turnsAfterTwo": 2,
        "jobs": ["first", "second"],
        "named": True,
        "weak": ["shown"],
        "own": ["secret", "shown"],
        "gone": "seed.the.key.weak.a",
    }
