"""The options that fox-wamp documents, used with its client, autobahn-js."""

import node


def test_the_options_of_fox_wamps_page_work_as_documented(cluster):
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
