"""Many queues, many ended sessions, and many changes during an outage: what issue 27 asks for, on SQLite and on Postgres.

Everything goes through REST, WebSockets and SQL, so that any build can be measured. BENCH_QUEUES, BENCH_SESSIONS and
BENCH_CHANGES make it smaller.
"""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager

from databases import Postgres
from databases import psql as ask

# Benchmarks/run itself, with what it has: Server, row, spread …
bench = None
QUEUES = int(os.environ.get("BENCH_QUEUES", "100000"))
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "1000000"))
CHANGES = int(os.environ.get("BENCH_CHANGES", "200000"))
KINDS = ("SQLite", "Postgres")
RATES = ("--joins-per-queue", "1000000:1000000")


class Home:
    """A database of its own, of either kind, that outlives the servers on it."""

    def __init__(self, kind):
        self.kind = kind
        self.folder = tempfile.mkdtemp(prefix="stanchion-bench-", dir=os.environ.get("BENCH_FOLDER"))
        self.postgres = Postgres("max_connections=100") if kind == "Postgres" else None
        if self.postgres:
            ask(self.postgres.uri(), "CREATE DATABASE bench")
        self.uri = self.postgres.uri("bench") if self.postgres else f"sqlite:{self.folder}/db"

    def server(self, *flags):
        """Not before the lease of the last one has gone: it is taken away."""
        if self.postgres and ask(self.uri, "SELECT to_regclass('instances') IS NOT NULL").strip() == "t":
            ask(self.uri, "DELETE FROM instances")
        return bench.Server(*RATES, *flags, loops=2, core=None, folder=self.folder, database=self.uri)

    def run(self, *statements):
        if self.postgres:
            return ask(self.uri, ";".join(statements))
        with sqlite3.connect(f"{self.folder}/db") as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    def columns(self, table):
        """Those that can be written, in order."""
        if self.postgres:
            return ask(self.uri, f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' AND is_generated = 'NEVER' "
                                 "ORDER BY ordinal_position").split()
        with sqlite3.connect(f"{self.folder}/db") as database:
            return [row[1] for row in database.execute(f"PRAGMA table_info({table})")]

    def copies(self, table, condition, **changed):
        """A statement that copies rows of a table for each row of bench_ids (id, n), some columns changed."""
        columns = self.columns(table)
        values = [changed.get(column, f"t.{column}") for column in columns]
        return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table} t, bench_ids b WHERE {condition}"

    def numbers(self, count):
        """A table bench_ids with as many new ids, in the order of their numbers, of a moment an hour ago."""
        stamp = f"{int(time.time() * 1000) - 3_600_000:012x}"
        if self.postgres:
            new = f"('{stamp[:8]}-{stamp[8:]}-7' || substr(gen_random_uuid()::text, 16))::uuid"
            return f"CREATE TABLE bench_ids AS SELECT {new} AS id, n FROM generate_series(1, {count}) n"
        return (f"CREATE TABLE bench_ids AS WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) "
                f"SELECT CAST(x'{stamp}' || randomblob(10) AS BLOB) AS id, n FROM s")

    def literal(self, id):
        return f"'{id}'" if self.postgres else f"x'{uuid.UUID(id).hex}'"

    def end(self):
        if self.postgres:
            self.postgres.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def home(kind):
    place = Home(kind)
    try:
        yield place
    finally:
        place.end()


def seed_queues(place, count):
    """So many queues as the one that a server makes, at rest."""
    server = place.server()
    queue = server.queue(slug="bench-0")
    server.end(keep=True)
    own = place.literal(queue)
    place.run(place.numbers(count), place.copies("queues", f"t.id = {own}", id="b.id", slug="'bench-' || b.n"),
              place.copies("log", f"t.queue_id = {own}", queue_id="b.id"), "DROP TABLE bench_ids",
              "ANALYZE")


def queues():
    """Many queues, ten of them with visitors: what they cost at rest, at the start and at the first visit."""
    for kind in KINDS:
        with home(kind) as place:
            server = place.server()
            time.sleep(2)
            empty = server.resident()
            server.end(keep=True)
            seed_queues(place, QUEUES)
            ready, sizes, idle = [], [], []
            for number in range(bench.PAIRS):
                began = time.monotonic()
                server = place.server()
                assert server.call("GET", "/ready")["status"] == "ok"
                ready.append(time.monotonic() - began)
                time.sleep(5)
                sizes.append((server.resident() - empty) / QUEUES)
                visitors = [bench.frames_of(server, f"bench-{1 + 11 * one}") for one in range(10)]
                time.sleep(15)
                cpu = server.cpu()
                time.sleep(20)
                idle.append((server.cpu() - cpu) / 20)
                if number == bench.PAIRS - 1:
                    first_visits(kind, server)
                for connection, _ in visitors:
                    connection.close()
                server.end(keep=True)
            bench.row(f"{kind}, {QUEUES:,} queues: idle, ten of them with visitors, cores", f"{statistics.median(idle):.4f}", "", "", bench.spread(idle), "≤ 0.01")
            bench.row(f"{kind}, {QUEUES:,} queues: ready, s", f"{statistics.median(ready):.2f}", "", "", bench.spread(ready), "≤ 2")
            bench.row(f"{kind}, {QUEUES:,} queues: resident bytes a queue at rest", f"{statistics.median(sizes):.0f}", "", "", bench.spread(sizes), "≤ 300")


def first_visits(kind, server):
    """The first join into each of many queues that nobody has visited."""
    count = min(500, QUEUES // 4)
    times = []
    for number in range(count):
        began = time.monotonic()
        server.call("POST", f"/v1/queues/bench-{QUEUES - number}/join", {})
        times.append(1_000 * (time.monotonic() - began))
    times.sort()
    bench.row(f"{kind}, {QUEUES:,} queues: first join into one at rest, p99, ms", f"{times[count * 99 // 100]:.1f}", f"median {statistics.median(times):.1f}",
              "", bench.spread(times), "≤ 20")


def lists():
    """Joins a second while fifty clients list sessions over a million ended ones, beside joins without them."""
    for kind in KINDS:
        with home(kind) as place:
            server = place.server()
            old = server.queue(slug="old")
            server.call("POST", f"/v1/queues/{old}/join", {})
            server.end(keep=True)
            place.run(place.numbers(SESSIONS), place.copies("user_sessions", f"t.queue_id = {place.literal(old)} AND t.ticket = 1", id="b.id",
                                                            ticket="b.n + 1", status="'completed'"), "DROP TABLE bench_ids", "ANALYZE")
            server = place.server()
            queue = server.queue()
            visitor = bench.frames_of(server, queue)
            heard = Listener(visitor)

            def joins():
                return loaded(server, "joins", f"queue={queue}", "connections=64", "seconds=5")

            def beside():
                reader = start_load(server, "reads", f"queue={queue}", "path=/v1/sessions?status=waiting&limit=50", f"key={bench.KEY}", "connections=50", "seconds=6")
                time.sleep(0.5)
                answer = joins()
                answer["listed"] = json.loads(reader.communicate()[0])
                return answer

            pairs = bench.pairs_of(beside, joins)
            ratios = [with_lists["perSecond"] / alone["perSecond"] for with_lists, alone in pairs]
            refused = sum(with_lists["failed"] + with_lists["listed"]["failed"] for with_lists, _ in pairs)
            name = f"{kind}, {SESSIONS:,} ended sessions, 50 clients list:"
            bench.row(f"{name} joins a second ÷ without them", f"{statistics.median(one['perSecond'] for one, _ in pairs):.0f}",
                      f"without {statistics.median(one['perSecond'] for _, one in pairs):.0f}", f"{statistics.median(ratios):.2f}", bench.spread(ratios), "≥ 0.7")
            bench.row(f"{name} refused", f"{refused:.0f}", "", "", "", "0")
            bench.row(f"{name} times that a visitor was told `stale`", f"{heard.end()}", "", "", "", "0")
            server.end(keep=True)


class Listener:
    """Counts what a visitor is told that names `stale`."""

    def __init__(self, visitor):
        self.connection, self.reader = visitor
        self.connection.settimeout(None)
        self.stale = 0
        self.thread = threading.Thread(target=self.listen, args=(visitor,), daemon=True)
        self.thread.start()

    def listen(self, visitor):
        try:
            while True:
                self.stale += bench.next_frame(visitor).get("state") == "stale"
        except (OSError, ValueError, IndexError):
            pass

    def end(self):
        self.connection.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        return self.stale


def start_load(server, kind, *options):
    return subprocess.Popen([f"{bench.BUILD}/bench", kind, f"address={server.address}", *options], stdout=subprocess.PIPE, text=True)


def loaded(server, kind, *options):
    return json.loads(start_load(server, kind, *options).communicate()[0])


def outage():
    """Postgres stands still for 20 s, and people come and go all the time: until everything is as it should be again. Each comes
    back by its token, but for every second one in the end, so that there is something to write; a client in Python sends as many
    changes as it can and goes on until there were enough."""
    values, changes = [], []
    with home("Postgres") as place:
        for _ in range(max(1, bench.PAIRS // 2)):
            server = place.server("--lease-seconds", "60")
            queue = server.queue(graceSeconds=600)
            _, tokens, connections = bench.all_at_once(server, lambda number: {"type": "join", "queue": queue})
            place.postgres.signal(signal.SIGSTOP)
            began, count = time.monotonic(), 0
            while time.monotonic() - began < 20 or count < CHANGES:
                for connection in connections:
                    connection.close()
                _, _, connections = bench.all_at_once(server, lambda number: {"type": "resume", "token": tokens[number]})
                count += 2 * len(connections)
                if time.monotonic() - began > 120:
                    break
            gone = connections[1::2]
            for connection in gone:
                connection.close()
            changes.append(count + len(gone))
            place.postgres.signal(signal.SIGCONT)
            began = time.monotonic()
            while not joins_again(server, queue) or server.call("GET", f"/v1/queues/{queue}/stats")["absent"] < len(gone):
                assert time.monotonic() - began < 120, "it has not recovered in two minutes"
                time.sleep(0.02)
            values.append(time.monotonic() - began)
            largest = largest_batch(server)
            for connection in connections[::2]:
                connection.close()
            server.end(keep=True)
    bench.row(f"recovery after {CHANGES:,} changes of presence during an outage, s", f"{statistics.median(values):.2f}", f"{statistics.median(changes):,.0f} changes", "",
              bench.spread(values), "≤ 3")
    bench.row("events in the largest batch meanwhile, at most", f"{largest}", "", "", "", "≤ 20,000")


def joins_again(server, queue):
    try:
        server.call("POST", f"/v1/queues/{queue}/join", {})
        return True
    except (AssertionError, OSError):
        return False


def largest_batch(server):
    """The bound of the histogram's last bucket in which there was one."""
    text = server.call("GET", "/metrics")
    buckets = re.findall(r'^stanchion_store_batch_events_bucket\{le="([^"]+)"\} (\d+)$', text, re.M)
    total = buckets[-1][1]
    bound = next(bound for bound, count in buckets if count == total)
    return bound if bound != "+Inf" else "999999"
