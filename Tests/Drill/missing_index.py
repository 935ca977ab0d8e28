"""The drill of docs/runbook.md: an index is lost under load, and somebody finds it out by what an operator has.

A Postgres and a server of its own, 400,000 people with names in line, twenty integrators who take in five more a second each. Prints what
is seen at each step of the investigation; ends with a status other than 0 when the cause was not named or the cure was none.
"""

import json
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "AcceptanceTests" / "Python"))
from databases import Postgres, psql  # noqa: E402
from harness import KEY, PROGRAM, Server  # noqa: E402

PEOPLE = 400_000
# As long as the shortest window of the KPIs, and the ten seconds after which a period ends.
WINDOW = 75
INDEX = "idx_user_sessions_user"


def step(title):
    print(f"\n{title}\n", flush=True)


def fill(postgres, server, queue):
    """People in line as the server would have written them; made where it does not look, because it takes minutes otherwise."""
    server.good("POST", f"/v1/queues/{queue}/join", {})
    server.stop()
    for sql in (f"""INSERT INTO user_sessions (queue_id, ticket, id, tenant_id, user_id, status, created_at, presence_seq)
                    SELECT q.id, n, gen_random_uuid(), q.tenant_id, 'u' || n, 'waiting', q.last_event_at, n
                    FROM queues q, generate_series(2, {PEOPLE}) n WHERE q.id = '{queue}'""",
                f"""INSERT INTO log (queue_id, seq, tenant_id, at, type, ticket)
                    SELECT q.id, q.head + n - 1, q.tenant_id, q.last_event_at, 'joined', n
                    FROM queues q, generate_series(2, {PEOPLE}) n WHERE q.id = '{queue}'""",
                f"""UPDATE queues SET head = head + {PEOPLE} - 1, counters = jsonb_set(counters, '{{next}}', '[{PEOPLE + 1}]')
                    WHERE id = '{queue}'""",
                "ANALYZE"):
        psql(postgres.uri(), sql)
    server.start()


class Integrators:
    """Twenty who let people join by name, as a ticket shop does."""

    def __init__(self, server, queue):
        self.server, self.queue, self.over, self.number = server, queue, threading.Event(), 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.go_on) for _ in range(20)]
        for thread in self.threads:
            thread.start()

    def go_on(self):
        while not self.over.wait(0.2):
            with self.lock:
                self.number += 1
                name = f"new{self.number}"
            self.server.call("POST", f"/v1/queues/{self.queue}/join", {"user": name}, timeout=60)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def kpis(server):
    """Those that are not what they should be, in the last minute, and the two that joins show in."""
    found = {}
    for kpi in server.good("GET", "/v1/system/kpis")["kpis"]:
        last = kpi["windows"][0]
        found[kpi["name"]] = last["state"]
        if last["state"] not in ("ok", "no_data") or kpi["name"] in ("api.response_time_p95", "api.throughput"):
            print(f"{kpi['name']:28} {last['value']:>10} {kpi['unit']:<12} target {kpi['target']:<8} {last['state']}", flush=True)
    return found


def doctor(server, postgres):
    run = subprocess.run([PROGRAM, "doctor", "--url", server.url, "--admin-key", KEY, "--database", postgres.uri()],
                         capture_output=True, text=True, timeout=60)
    print(run.stdout.strip() or run.stderr.strip(), flush=True)
    return run.stdout


def main():
    with Postgres() as postgres, Server("--slow-milliseconds", "500", database=postgres.uri()) as server:
        queue = server.queue()["id"]
        fill(postgres, server, queue)
        integrators = Integrators(server, queue)
        try:
            investigate(postgres, server)
        finally:
            integrators.end()


def investigate(postgres, server):
    time.sleep(WINDOW)
    step("0. As it should be")
    kpis(server)
    # As the schema has it: a database beside it, or its last dump, says so.
    cure = psql(postgres.uri(), f"SELECT pg_get_indexdef('{INDEX}'::regclass)").strip().replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    psql(postgres.uri(), f"DROP INDEX {INDEX}")
    time.sleep(WINDOW)

    step("1. Identify the symptoms: the KPIs of the last minute (GET /v1/system/kpis)")
    assert kpis(server)["api.response_time_p95"] != "ok", "nothing is slow"

    step("2. Collect metrics: what the log says of slow operations")
    slow = [line for line in server.output if "slow operation" in line]
    for line in slow[-3:]:
        print(line.strip()[:240])
    assert slow, "no slow operation was logged"

    step("3. and 4. Analyse, and find the bottleneck: stanchion doctor")
    assert INDEX in doctor(server, postgres), "the cause was not named"

    step("5. Develop a solution: the index, made without a lock on those who join")
    print(cure)

    step("6. Implement it, and mark the moment (POST /v1/system/marks)")
    began = time.monotonic()
    psql(postgres.uri(), cure)
    print(f"made in {time.monotonic() - began:.1f} s, while people joined")
    print(json.dumps(server.good("POST", "/v1/system/marks", {"text": f"{INDEX} made anew"})))
    time.sleep(WINDOW)

    step("7. Verify the improvement: the KPIs, and the doctor once more")
    assert kpis(server)["api.response_time_p95"] == "ok", "it is as slow as before"
    assert INDEX not in doctor(server, postgres), "the doctor is not content"

    step("8. Monitor the results (GET /v1/system/history?minutes=6&points=6)")
    for point in server.good("GET", "/v1/system/history?minutes=6&points=6")["points"]:
        print(f"{point['at']}  {point['requestsPerMinute']:>7.0f} requests a minute  p50 {point['responseP50'] or 0:.3f} s"
              f"  p95 {point['responseP95'] or 0:.3f} s")


main()
