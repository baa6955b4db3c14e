"""What is logged of webhooks: enough, and not too much."""

import logging

from fox_shard.worker.webhooks.sparing_log import QUIET, SparingLog


def test_a_line_is_logged_now_and_then_and_counts_the_others(caplog):
    log = SparingLog("webhook_failed", logging.WARNING)
    with caplog.at_level(logging.WARNING, "fox"):
        for _ in range(5):
            log.note({"reason": "503"}, 1000.0)
        log.note({"reason": "500"}, 1000.0 + QUIET)
    assert [one.fox for one in caplog.records] == [
        {"reason": "503"},
        {"reason": "500", "suppressed": 4},
    ]
