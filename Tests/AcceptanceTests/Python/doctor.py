"""`stanchion doctor`: nothing is wrong where all is well, and what is really broken is found."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time

from databases import Postgres, Redis, free_port, psql
from examining import SlowDisk, again_and_again, doctor
from harness import KEY, PROGRAM, Hog, Server, clean_environment, memory_group, wait_for, within


def refused(status, words, *flags):
    result = subprocess.run([PROGRAM, "doctor", *flags], capture_output=True, text=True, timeout=60, env=clean_environment())
    assert result.returncode == status and words in result.stderr and result.stderr.count("\n") == 1, result


# What cannot be looked at is said in a sentence.
refused(64, "--url", "--url", "ftp://127.0.0.1")
refused(64, "--seconds", "--seconds", "0")
refused(69, "does not answer", "--url", f"http://127.0.0.1:{free_port()}")
refused(69, "", "--database", f"postgresql://127.0.0.1:{free_port()}/none")
refused(69, "cannot be asked", "--redis", f"redis://127.0.0.1:{free_port()}")

with Postgres("shared_preload_libraries=pg_stat_statements", "max_connections=40") as postgres, Redis() as redis:
    uri, where = postgres.uri(), ("--database", postgres.uri(), "--redis", redis.uri)
    psql(uri, "CREATE EXTENSION pg_stat_statements")
    with Server("--redis", redis.uri, "--database-connections", "1", "--database-seconds", "200", database=uri) as server:
        all_of_it = ("--url", server.url, "--admin-key", KEY, *where)
        queue = server.queue()["id"]
        for number in range(20):
            server.good("POST", f"/v1/queues/{queue}/join", {"user": str(number)})
        assert doctor(*all_of_it) == {}
        text = subprocess.run([PROGRAM, "doctor", "--seconds", "1", *all_of_it], capture_output=True, text=True, env=clean_environment())
        assert text.returncode == 0 and "Nothing is wrong there." in text.stdout, text

        # An index is gone.
        definition = psql(uri, "SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_user_sessions_id'").strip()
        psql(uri, "DROP INDEX idx_user_sessions_id")
        found = doctor(*where)
        assert set(found) == {"index_missing"} and "idx_user_sessions_id" in found["index_missing"]["evidence"][0], found
        psql(uri, definition)
        assert doctor(*where) == {}

        # A table is locked: those who wait are seen in the database, and in the server, which has one connection.
        with subprocess.Popen(["psql", "-q", uri], stdin=subprocess.PIPE, text=True) as holder:
            holder.stdin.write("BEGIN; LOCK TABLE log;\n")
            holder.stdin.flush()
            wait_for(lambda: psql(uri, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted").strip() != "0", what="the lock")
            joining = threading.Thread(target=lambda: server.call("POST", f"/v1/queues/{queue}/join", {"user": "late"}, timeout=60))
            joining.start()
            wait_for(lambda: psql(uri, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '6 s'").strip() != "0", what="a wait")
            found = doctor(*all_of_it)
            assert {"lock_wait", "idle_transaction", "pool_exhausted"} <= set(found), found
            assert found["lock_wait"]["severity"] == "critical" and "LOCK TABLE log" in found["lock_wait"]["evidence"][0], found
            holder.stdin.write("ROLLBACK;\n")
            holder.stdin.close()
        joining.join(60)
        # What it took is seen for half a minute.
        wait_for(lambda: doctor(*all_of_it) == {}, 60, "all is well again")

        # How things are used is there to be looked at, whether it is good or bad.
        figures = json.loads(subprocess.run([PROGRAM, "doctor", "--json", "--database", uri], capture_output=True, text=True, env=clean_environment()).stdout)["database"]
        used = {index["name"]: index for index in figures["indexes"]}
        assert used["log_pkey"]["table"] == "log" and used["log_pkey"]["scans"] > 0 and used["log_pkey"]["rowsRead"] >= used["log_pkey"]["rowsFetched"], used
        assert sum(figures["connections"].values()) >= 1 and figures["slowStatements"] == []
        text = subprocess.run([PROGRAM, "doctor", "--figures", "--database", uri], capture_output=True, text=True, env=clean_environment()).stdout
        assert re.search(r"^  idx_user_sessions_id of user_sessions: \d+ scans", text, re.M), text

        # A slow statement, by somebody else.
        psql(uri, "SELECT pg_sleep(1.2)")
        assert set(doctor(*where)) == {"slow_statements"}
        psql(uri, "SELECT pg_stat_statements_reset()")

        # Commits that are not safe.
        psql(uri, "ALTER SYSTEM SET synchronous_commit = off")
        psql(uri, "SELECT pg_reload_conf()")
        wait_for(lambda: "commits_unsafe" in doctor(*where), what="the setting")
        psql(uri, "ALTER SYSTEM RESET synchronous_commit")
        psql(uri, "SELECT pg_reload_conf()")

        # Redis is kept busy.
        busy = "for number = 1, 20000000 do end return 1"
        redis.cli("EVAL", busy, "0")
        found = doctor(*where)
        assert set(found) == {"redis_slow_commands"} and "EVAL" in found["redis_slow_commands"]["evidence"][1], found
        redis.cli("SLOWLOG", "RESET")

        # It stands still again and again, for less than anybody would call it away.
        def pause():
            redis.signal(signal.SIGSTOP)
            time.sleep(0.05)
            redis.signal(signal.SIGCONT)
            time.sleep(0.0005)

        with again_and_again(pause):
            wait_for(lambda: "redis_slow" in doctor("--redis", redis.uri), what="slow answers")
        # It may have been stopped in the midst of a command, which is in its slow log then.
        redis.cli("SLOWLOG", "RESET")
        wait_for(lambda: doctor("--redis", redis.uri) == {}, 60, "Redis is fast again")

        # The process is stopped again and again, sometimes in the midst of what its loops do for those who ask all the time.
        def stop():
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(0.35)
            server.process.send_signal(signal.SIGCONT)
            time.sleep(0.05)

        def ask():
            server.good("GET", "/v1/queues")

        with again_and_again(stop, ask, ask, ask):
            wait_for(lambda: "loop_starved" in doctor("--url", server.url), 60, "a loop that stands still")

        # Connections to Postgres run short.
        others = [subprocess.Popen(["psql", "-q", uri], stdin=subprocess.PIPE) for _ in range(33)]
        wait_for(lambda: int(psql(uri, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")) > 33, what="many clients")
        found = doctor("--database", uri)
        assert set(found) == {"connections_short"}, found
        for one in others:
            one.stdin.close()
            one.wait(20)

        # Redis goes.
        redis.kill()
        wait_for(lambda: "bus_down" in doctor("--url", server.url), what="the bus is down")
        # And Postgres.
        postgres.stop("immediate")
        wait_for(lambda: "store_down" in doctor("--url", server.url), what="the store is down")

# Descriptors are few.
with Server() as server:
    open_now = int(server.metric("process_open_fds"))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (open_now * 5 // 4, open_now * 2))
    assert doctor("--url", server.url)["descriptors_short"]["severity"] == "warning"
    # One that it holds for each who says nothing.
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(open_now // 8)]
    assert doctor("--url", server.url)["descriptors_short"]["severity"] == "critical"
    for client in clients:
        client.close()

# Memory is short: somebody else in the server's control group takes it, little by little, for at its end the kernel ends one.
# A sanitizer's own memory would do that before.
with memory_group(320 << 20) as group:
    if group and "SANITIZED" not in os.environ:
        with Server(prefix=within(group)) as server:
            hog = Hog(group)
            try:
                hog.take(100_000_000)
                for share, severity in [(0.77, "warning"), (0.87, "critical")]:
                    while server.metric("stanchion_memory_used_bytes") < share * server.metric("stanchion_memory_limit_bytes"):
                        hog.take(1_000_000)
                    assert doctor("--url", server.url)["memory_short"]["severity"] == severity
            finally:
                hog.end()
            wait_for(lambda: "memory_short" not in doctor("--url", server.url), what="memory enough again")
    else:
        print("memory: skipped, no control group may be made here, or a sanitizer fills it")

# Clients that say nothing.
with Server("--request-seconds", "1") as server:
    def says_nothing():
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.recv(1)

    with again_and_again(says_nothing):
        wait_for(lambda: "slow_peers" in doctor("--url", server.url, seconds=4), what="slow clients")

# Readers whom no cache helps.
with Server("--cache-entries", "0") as server:
    queue = server.queue()["id"]
    for number in range(5):
        server.good("POST", f"/v1/queues/{queue}/join", {"user": str(number)})
    for _ in range(110):
        server.events(queue)
    assert set(doctor("--url", server.url)) == {"cache_useless"}

# A disk that is slow to be sure of what was written: under SQLite's file, and under Postgres.
with tempfile.TemporaryDirectory() as folder:
    disk = SlowDisk(folder)
    os.environ.update(disk.environment)
    with Postgres() as postgres, Server(database=postgres.uri()):
        assert doctor("--database", postgres.uri()) == {}
        disk.takes(0.09)
        assert doctor("--database", postgres.uri())["slow_sync"]["severity"] == "warning"
        assert doctor("--database", f"sqlite:{folder}/db")["slow_sync"]["severity"] == "warning"
        disk.takes(0)
        assert doctor("--database", f"sqlite:{folder}/db") == {}
