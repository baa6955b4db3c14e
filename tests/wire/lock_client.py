"""A process that wants a lock: takes it, says so, and holds it until it is told to let go.

python lock_client.py <rawsocket port> <key>. It prints `waiting` once the lock is asked for and
everything sent before that is answered; `held <token>` when it has it. Each line that it reads says
what to do: `release` lets go and asks anew. SIGKILL is how it ends.
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
