"""A program that takes a lock, says so, and holds it until it is told to release it.

Usage: python lock_client.py <rawsocket port> <key>. The program prints `waiting` when it has asked
for the lock and everything that it had sent before is answered, and `held <token>` when it has the
lock. On the input line `release` it releases the lock and asks for it again. SIGKILL ends it.
"""

import sys

from raw_wamp import PUBLISH, PUBLISHED, RawWamp

LOCK = {"acknowledge": True, "retain": True, "when": None, "weak": True, "watch": True}


def main(port, key):
    client = RawWamp(port)
    client.sock.settimeout(None)
    while True:
        client.request += 1
        asked = client.request
        client.send(PUBLISH, asked, LOCK, key, [client.session])
        client.request += 1
        client.send(PUBLISH, client.request, {"acknowledge": True}, key + ".asked")
        answers = {}
        while client.request not in answers:
            kind, request, token = client.receive()
            assert kind == PUBLISHED
            answers[request] = token
        print("waiting", flush=True)
        if asked not in answers:
            kind, request, answers[asked] = client.receive()
            assert (kind, request) == (PUBLISHED, asked)
        print("held", answers[asked], flush=True)
        assert sys.stdin.readline() == "release\n"
        erase = {"acknowledge": True, "retain": True, "when_id": answers[asked]}
        client.do(PUBLISH, erase, key, [], answer=PUBLISHED)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
