"""Key figures, the last hour, and days: of what really happened, over a restart and a store that is away."""

import os
import re
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from databases import Postgres, psql
from harness import Server, wait_for


def windows(server, name):
    kpis = server.good("GET", "/v1/system/kpis")["kpis"]
    return {one["minutes"]: one for one in next(kpi for kpi in kpis if kpi["name"] == name)["windows"]}


def refused(server):
    integrator = server.good("POST", "/v1/keys", {"role": "integrator"})["key"]
    for method, path in [("GET", "kpis"), ("GET", "history"), ("GET", "trends"), ("POST", "marks")]:
        assert server.call(method, f"/v1/system/{path}", key=None)[0] == 401
        assert server.call(method, f"/v1/system/{path}", {} if method == "POST" else None, key=integrator)[0] == 403
    for path in ["history?minutes=0", "history?minutes=61", "history?points=x", "trends?days=0", "trends?days=61"]:
        status, _, problem = server.call("GET", f"/v1/system/{path}")
        assert (status, problem["code"]) == (400, "invalid_parameter"), path
    for body in [{}, {"text": ""}, {"text": "a" * 201}, {"text": "a", "at": "now"}]:
        assert 400 <= server.call("POST", "/v1/system/marks", body)[0] < 500, body


# What is left behind here is this script's servers'.
FOLDER = tempfile.TemporaryDirectory(prefix="stanchion-")
os.environ["TMPDIR"] = FOLDER.name


def is_profiled(server):
    """By the real `perf`, where this machine lets it look; without it, what is missing is said."""
    operator = server.good("POST", "/v1/keys", {"role": "operator"})["key"]
    assert server.call("GET", "/v1/system/profile", key=operator)[0] == 403
    for seconds in ["0", "61", "x"]:
        assert server.call("GET", f"/v1/system/profile?seconds={seconds}")[0] == 400
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: server.call("GET", "/v1/system/profile?seconds=3", timeout=60), range(2))
    (status, _, profile), (refusal, _, problem) = sorted([first, second], key=lambda answer: answer[0] == 409)
    assert refusal == 409 and problem["code"] == "profile_under_way", problem
    if status == 501:
        assert "perf may not look" in profile["detail"], profile
        print("perf may not look here")
        return
    lines = profile.decode().splitlines()
    stacks = [line.rsplit(" ", 1) for line in lines]
    assert stacks and all(int(count) > 0 for _, count in stacks)
    # It was busy with those who join.
    assert any(stack.startswith("loop-") and ";EventLoop.EventLoop.run() -> ();" in stack for stack, _ in stacks), lines[:20]
    assert not any("$s" in stack for stack, _ in stacks), lines[:20]
    assert not [name for name in os.listdir(FOLDER.name) if name.startswith("stanchion-profile-")]


def knows_nothing_yet(server):
    """No data is not ok."""
    for kpi in server.good("GET", "/v1/system/kpis")["kpis"]:
        assert {(one["value"], one["state"]) for one in kpi["windows"]} == {(None, "no_data")}, kpi
    assert server.good("GET", "/v1/system/history")["points"] == []


def is_served(server):
    """Without a pause, so that each window has something in it."""
    queue = server.queue(slug="line")["id"]
    over = threading.Event()

    def ask():
        while not over.is_set():
            server.call("POST", f"/v1/queues/{queue}/join", {})
            over.wait(0.05)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return lambda: (over.set(), thread.join())


def of_the_machine(server):
    for name in ["api.response_time_p95", "database.query_time_p95", "system.cpu_utilization", "system.memory_utilization"]:
        for window in windows(server, name).values():
            assert window["value"] > 0 and window["state"] != "no_data", (name, window)
    assert windows(server, "api.error_rate")[1] | {"seconds": 0} == {"minutes": 1, "seconds": 0, "value": 0, "state": "ok"}
    # Nobody was let in: nothing is known of how long that takes.
    assert windows(server, "queue.processing_time_avg")[60]["state"] == "no_data"


def counts_what_lives():
    """Closed queues do not thin out the length of the open one; what a queue refuses is no error of the service; and the
    network's share is known where a setting says what it carries."""
    with Server("--network-megabits", "1000") as server:
        full = server.queue(maxWaiting=60)["id"]
        for _ in range(60):
            server.good("POST", f"/v1/queues/{full}/join", {})
        refusals = {server.call("POST", f"/v1/queues/{full}/join", {})[2]["code"] for _ in range(20)}
        assert refusals == {"queue_full"}, refusals
        for _ in range(9):
            server.good("POST", f"/v1/queues/{server.queue()['id']}/close", {})
        length = wait_for(lambda: windows(server, "queue.queue_length_avg")[1]["value"], what="the first period's end")
        # Over one or two that are open, for a new server has a queue of its own, which nobody visits.
        assert 30 <= length <= 60, length
        rates = windows(server, "api.error_rate")[1], windows(server, "queue.error_rate")[1]
        assert all((rate["value"], rate["state"]) == (0, "ok") for rate in rates), rates
        assert 0 < windows(server, "system.network_utilization")[1]["value"] < 0.1


def exhausted_pool_shows():
    """All connections stand behind a lock for a little more than a second."""
    with Postgres() as postgres, Server("--database-connections", "2", database=postgres.uri()) as server:
        queue = server.queue()["id"]
        lock = subprocess.Popen(["psql", "-qX", postgres.uri(), "-c", "BEGIN; LOCK TABLE log, user_sessions, queues; SELECT pg_sleep(1.5); COMMIT"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(lambda: psql(postgres.uri(), "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'").strip(), what="the lock")
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda number: server.call("POST", f"/v1/queues/{queue}/join", {}) if number % 2
                          else server.call("GET", "/v1/sessions?limit=1"), range(6)))
        lock.wait()
        pool = wait_for(lambda: (found := windows(server, "database.connection_pool_utilization")[1])["value"] and found, what="the first period's end")
        assert (pool["value"], pool["state"]) == (1, "critical"), pool


def processing_counts_an_outage():
    """Postgres is away for a while, and people are due all the time: those who are let in then were let in late, and those who
    poll are told at their next poll."""
    away = 12
    with Postgres() as postgres, Server("--lease-seconds", "5", database=postgres.uri()) as server:
        queue = server.queue(releaseRatePerMinute=60, graceSeconds=600)["id"]
        tokens = [server.good("POST", f"/v1/queues/{queue}/join", {}, key=None)["token"] for _ in range(40)]

        def poll():
            for token in tokens:
                server.call("GET", f"/v1/queues/{queue}/position", key=token)

        def admitted():
            return server.metric("stanchion_release_lag_seconds_count")

        wait_for(lambda: (poll(), admitted() >= 2)[1], what="somebody to be let in")
        postgres.stop("fast")
        until = time.monotonic() + away
        while time.monotonic() < until:
            poll()
            time.sleep(1)
        postgres.start()
        wait_for(lambda: (poll(), admitted() >= 15)[1], 60, "people to be let in again")
        mean = server.metric("stanchion_release_lag_seconds_sum") / admitted()
        assert mean > away / 2, mean
        # The polls told them.
        assert server.metric("stanchion_admission_delay_seconds_count") >= 10
        processing = wait_for(lambda: (found := windows(server, "queue.processing_time_avg")[5])["value"] and found["value"] > away / 3 and found,
                              30, "the period's end")
        assert processing["value"] < away + 8, processing


if os.environ.get("STORE") != "postgres":
    with Server(prefix=["env", "PATH=/nowhere"]) as server:
        status, _, problem = server.call("GET", "/v1/system/profile?seconds=1")
        assert (status, problem["code"]) == (501, "profile_unavailable") and "is it installed" in problem["detail"], problem
    with Server() as server:
        knows_nothing_yet(server)
        refused(server)
        end = is_served(server)
        wait_for(lambda: windows(server, "api.response_time_p95")[1]["value"], what="the first period's end")
        of_the_machine(server)
        is_profiled(server)
        assert 0 < windows(server, "system.disk_utilization")[1]["value"] < 1
        assert 0 < windows(server, "database.connection_pool_utilization")[1]["value"] <= 1
        assert windows(server, "database.size")[1]["value"] > 1_000 and windows(server, "system.network_rate")[1]["value"] > 0
        # No interface here says how fast it is, or the share is told.
        assert windows(server, "system.network_utilization")[1]["state"] in ("no_data", "ok")
        mark = server.good("POST", "/v1/system/marks", {"text": "a new release"})
        end()
        points = server.good("GET", "/v1/system/history?minutes=5&points=3")["points"]
        assert 1 <= len(points) <= 3 and points[0]["joinsPerMinute"] > 0 and points[0]["responseP95"] > 0
        used = 0.0
        for point in server.good("GET", "/v1/system/history")["points"]:
            used += point["processor"] * point["seconds"] * os.cpu_count()
        all_of_it = server.metric("process_cpu_seconds_total")
        assert 0.1 * all_of_it < used < all_of_it + 0.05, (used, all_of_it)
        joined = server.metric("stanchion_joins_total")

        # What it did is there when it comes back, and goes on.
        assert server.stop() == 0
        server.start()
        found = server.good("GET", "/v1/system/trends?days=1")
        assert found["marks"] == [mark]
        told = sum(point["joinsPerMinute"] * point["seconds"] / 60 for point in found["points"])
        assert abs(told - joined) < 0.5, (told, joined)
        budget = wait_for(lambda: server.good("GET", "/v1/system/kpis")["errorBudget"], what="the budget")
        assert budget["requests"] >= joined and budget["failed"] == 0 and (budget["left"], budget["state"]) == (1, "ok")
    counts_what_lives()
else:
    exhausted_pool_shows()
    processing_counts_an_outage()
    # Errors of the store are errors of the queue, and of the month's budget, once it is back.
    with Postgres() as postgres, Server("--lease-seconds", "5", database=postgres.uri()) as server:
        end = is_served(server)
        wait_for(lambda: windows(server, "api.response_time_p95")[1]["value"], what="the first period's end")
        of_the_machine(server)
        assert 0 <= windows(server, "database.connection_pool_utilization")[1]["value"] <= 1
        # On this machine its files can be seen, so their disk is known.
        assert 0 < windows(server, "system.disk_utilization")[1]["value"] < 1 and windows(server, "database.size")[1]["value"] > 1e6

        # What is slow is told with its parts; what waits behind it, too. A lock held for 2 s would be an outage.
        # The first is told without, for until then nothing was traced.
        def slow():
            return [line for line in server.output if "a slow operation" in line and "operation=POST" in line]

        for turn in range(2):
            subprocess.run(["psql", "-qX", postgres.uri(), "-c", "BEGIN; LOCK TABLE log; SELECT pg_sleep(1.5); COMMIT"], check=True, capture_output=True)
            said = wait_for(lambda: slow()[turn:], what="a slow join in the log")
        assert "parts" not in slow()[0] and re.search(r"milliseconds=\d{4} operation=POST /v1/queues/\{id\}/join parts=.*queue\.commit \d+–\d{4}", said[0]), said[0]
        assert not re.search(r"store\.append", said[0]), said[0]
        wait_for(lambda: any("operation=store.append" in line for line in server.output), what="a slow commit in the log")
        assert server.metric("stanchion_slow_operations_total") >= 2

        postgres.stop("fast")
        wait_for(lambda: windows(server, "queue.error_rate")[1]["state"] == "critical", what="joins that fail")
        assert windows(server, "api.error_rate")[1]["state"] == "critical"
        assert server.call("POST", "/v1/system/marks", {"text": "away"})[0] == 503
        assert server.call("GET", "/v1/system/trends")[0] == 503
        postgres.start()
        end()
        budget = wait_for(lambda: (found := server.good("GET", "/v1/system/kpis")["errorBudget"])["failed"] and found, 90, "failed requests in the budget")
        assert budget["left"] < 0 and budget["state"] == "critical"
        hour = datetime.now(timezone.utc).timestamp() // 3600
        # An hour may have ended meanwhile, and the failures fall into one of the two.
        found = psql(postgres.uri(), "SELECT min(hour), bool_and(requests > 0), bool_or(failed > 0) FROM system_hours").strip()
        assert found.endswith("|t|t") and hour - float(found.split("|")[0]) <= 1, found
