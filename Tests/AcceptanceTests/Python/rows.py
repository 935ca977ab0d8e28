"""Rows that were edited by hand, or come from a restore or another version: one queue's cost nobody else anything, not even the start."""

import json
import os

from databases import psql
from harness import Server, wait_for

os.environ["STORE"] = "postgres"
GREATEST = 2**63 - 1


def configuration(**members):
    return f"UPDATE queues SET configuration = configuration || '{json.dumps(members)}' WHERE id = '%s'"


def counters(**members):
    return f"UPDATE queues SET counters = counters || '{json.dumps(members)}' WHERE id = '%s'"


def lanes(*shares):
    return [{"name": f"lane{number}", "sharePercent": share} for number, share in enumerate(shares)]


#: What is wrong from the start.
AT_REST = [
    counters(next=[0]), counters(next=[2**56]), counters(next=[2**64 - 1]), counters(**{"pass": [GREATEST]}), counters(**{"pass": [-GREATEST]}),
    counters(anchor=GREATEST), counters(anchor=-GREATEST), counters(losses=[{"since": {"microseconds": -GREATEST}, "until": {"microseconds": GREATEST}}]),
    counters(watchedSince={"microseconds": GREATEST}), *(configuration(**{name: value}) for name in (
        "releaseRatePerMinute", "graceSeconds", "admissionTTLSeconds", "settleSeconds", "maxWaiting") for value in (GREATEST, -GREATEST)),
    configuration(opensAt={"microseconds": -GREATEST}), configuration(closesAt={"microseconds": GREATEST}),
    *(configuration(priorityLanes=shares) for shares in (lanes(0), lanes(-GREATEST), lanes(*[100] * 300))),
    f"UPDATE queues SET head = {GREATEST} WHERE id = '%s'", "UPDATE user_sessions SET absent_since = 'infinity' WHERE queue_id = '%s'",
    "UPDATE user_sessions SET ticket = 1::bigint << 50 WHERE queue_id = '%s'",
    "UPDATE user_sessions SET status = 'admitted', expires_at = 'infinity' WHERE queue_id = '%s'",
]


def entry(kind, ticket="NULL", data="NULL"):
    return (f"INSERT INTO log (queue_id, seq, tenant_id, at, type, ticket, data) SELECT id, head + 1, tenant_id, now(), '{kind}', {ticket}, {data}"
            " FROM queues WHERE id = '%s'; UPDATE queues SET head = head + 1, last_event_at = now() WHERE id = '%s'")


#: What comes while the queue is served.
FOLLOWED = [
    entry("joined", 77), entry("left", 99), entry("left", -1), entry("completed", 5), entry("admitted", 42), entry("expired", 1 << 60),
    *(entry("disconnected", data=f"'[[{first}, {count}]]'") for first, count in ((1, 2**40), (1, 2**60), (2**63 - 1, 2**63 - 1), (0, 1))),
    entry("configured", data="(configuration || '{\"releaseRatePerMinute\":%d}')::text" % GREATEST),
    entry("lost", data="'{\"ranges\":[[18446744073709551615,18446744073709551615]],\"since\":{\"microseconds\":5},\"until\":{\"microseconds\":5}}'"),
]


def edit(server, statement, queue):
    psql(server.database, statement.replace("%s", queue))


def is_served(server, queue):
    assert server.process.poll() is None, f"the server has ended: {server.output[-5:]}"
    server.good("POST", f"/v1/queues/{queue}/join", {}, key=None)
    assert server.good("GET", "/health")["status"] == "ok"


def at_rest():
    with Server("--rest-seconds", "1", "--loops", "1") as server:
        right = server.queue(slug="right")["id"]
        wrong = [server.queue(slug=f"wrong{number}", releaseRatePerMinute=6000)["id"] for number in range(len(AT_REST))]
        for queue in wrong:
            server.good("POST", f"/v1/queues/{queue}/join", {"user": "ann"})
        server.stop()
        for statement, queue in zip(AT_REST, wrong):
            edit(server, statement, queue)
        psql(server.database, "INSERT INTO keys SELECT gen_random_uuid(), tenant_id, 'king', '\\x00', 'x' FROM queues LIMIT 1")
        server.start()
        is_served(server, right)
        for statement, queue in zip(AT_REST, wrong):
            for method, path, body in (("POST", "join", {}), ("GET", "stats", None), ("PATCH", "", {"releaseRatePerMinute": 60_000}), ("POST", "join", {})):
                status = server.call(method, f"/v1/queues/{queue}/{path}".rstrip("/"), body)[0]
                assert server.process.poll() is None, f"{statement} ended the server with {path}: {server.output[-5:]}"
                assert status < 500 or status == 503, (statement, path, status)
            is_served(server, right)
        assert server.call("GET", "/v1/queues?limit=200")[0] == 200
        assert any("could not be read" in line for line in server.output)
        assert server.stop() == 0


def while_it_is_followed():
    with Server("--loops", "1") as server:
        right = server.queue(slug="right")["id"]
        queues = [server.queue(slug=f"wrong{number}")["id"] for number in range(len(FOLLOWED))]
        for queue in queues:
            server.good("POST", f"/v1/queues/{queue}/join", {}, key=None)
        for statement, queue in zip(FOLLOWED, queues):
            edit(server, statement, queue)
        for queue in queues:
            # A heartbeat finds it.
            wait_for(lambda: any("could not be read" in line and queue in line for line in server.output), what="word of the queue that cannot be read")
            is_served(server, right)
            assert server.call("POST", f"/v1/queues/{queue}/join", {})[0] in (201, 503)
        is_served(server, right)
        assert server.stop() == 0


at_rest()
while_it_is_followed()
