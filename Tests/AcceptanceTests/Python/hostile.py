"""Request smuggling and slow clients: each case of hostile.json gets what stands there, and its connection ends.

`send` is text in latin-1, or a list of such texts and of [text, how often]. `expect` are the statuses of which the one
answer must have one (with `all`: the statuses of all answers, in order); none: no answer. Nothing behind a refused
request is ever taken for another one. `kind` are the kinds of slow clients that it is counted as.
"""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

from harness import Server, exchange, wait_for

CASES = json.load(open(os.path.join(os.path.dirname(__file__), "hostile.json"), encoding="utf-8"))
TIMES = ["--request-seconds", "2", "--keep-alive-seconds", "2", "--first-frame-seconds", "2", "--ping-seconds", "1", "--pong-seconds", "1",
         "--close-seconds", "1", "--stall-seconds", "1"]


def sent(case):
    parts = case["send"] if isinstance(case["send"], list) else [case["send"]]
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts).encode("latin-1")


def check(server, case):
    data = sent(case)
    pieces = [bytes([byte]) for byte in data] if "pause" in case else [data]
    answer, closed = exchange(server, *pieces, wait=15, pause=case.get("pause", 0))
    got = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
    if case.get("all"):
        right = got == case["expect"]
    else:
        right = len(got) == min(1, len(case["expect"])) and all(status in case["expect"] for status in got)
    assert right and closed, (case["name"], got, closed, answer[:300])
    assert b"smuggled" not in answer, case["name"]


def slow(server, kind):
    return server.metric(f'stanchion_slow_clients_total{{kind="{kind}"}}')


assert len(CASES) >= 40
with Server(*TIMES) as server:
    kinds = {kind for case in CASES for kind in case.get("kind", [])}
    before = {kind: slow(server, kind) for kind in kinds}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda case: check(server, case), CASES))
    for kind, count in before.items():
        expected = count + sum(kind in case.get("kind", []) for case in CASES)
        assert slow(server, kind) == expected, (kind, slow(server, kind), expected)
    # Nobody is left over.
    wait_for(lambda: server.metric("stanchion_connections_open") == 1, what="all connections gone")
