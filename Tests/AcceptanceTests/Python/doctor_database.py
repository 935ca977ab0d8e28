"""`stanchion doctor` before a database and a Redis that are really sick: each illness is found, and nothing beside it."""

import subprocess

from databases import Postgres, Redis, psql, wait_for
from examining import doctor
from harness import PROGRAM, clean_environment
from wire import Wire


def deadlock(uri):
    """Two who each wait for what the other one has."""
    psql(uri, "CREATE TABLE seats (number int PRIMARY KEY, taken int); INSERT INTO seats VALUES (1, 0), (2, 0)")
    both = [subprocess.Popen(["psql", "-q", uri], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    for number, one in enumerate(both, 1):
        one.stdin.write(f"BEGIN; UPDATE seats SET taken = {number} WHERE number = {number};\n")
        one.stdin.flush()
    holders = "SELECT count(*) FROM pg_locks WHERE relation = 'seats'::regclass AND mode = 'RowExclusiveLock'"
    wait_for(lambda: psql(uri, holders).strip() == "2", what="a seat for each")
    for number, one in enumerate(both, 1):
        one.stdin.write(f"UPDATE seats SET taken = {number} WHERE number = {3 - number};\n")
        one.stdin.close()
    for one in both:
        one.wait(30)


# What is sick is left alone: nobody clears away, nobody counts, and there is hardly any memory.
with Postgres("autovacuum=off", "shared_buffers=1MB", "deadlock_timeout=100ms") as postgres:
    uri = postgres.uri()
    subprocess.run([PROGRAM, "migrate", "--database", uri], check=True, capture_output=True, env=clean_environment())

    def found(where=uri):
        return set(doctor("--database", where))

    assert found() == set()

    # Many rows at once, and nobody has looked at them.
    psql(uri, "CREATE TABLE guests AS SELECT generate_series(1, 110000) AS number")
    wait_for(lambda: found() == {"statistics_missing"}, what="rows that nobody has counted")
    psql(uri, "ANALYZE guests")
    wait_for(lambda: found() == set(), what="rows that are counted")

    # All of them go, and stay where they were.
    psql(uri, "DELETE FROM guests")
    wait_for(lambda: found() == {"dead_rows"}, what="dead rows")
    psql(uri, "VACUUM guests")
    wait_for(lambda: found() == set(), what="dead rows that are cleared away")

    deadlock(uri)
    wait_for(lambda: found() == {"deadlocks"}, what="a deadlock")
    psql(uri, "SELECT pg_stat_reset()")
    wait_for(lambda: found() == set(), what="a deadlock that is forgotten")

    # A table that is read again and again, and that the memory has no room for: a row a page.
    psql(uri, "CREATE TABLE photos (bytes char(7000)); ALTER TABLE photos ALTER bytes SET STORAGE PLAIN")
    psql(uri, "INSERT INTO photos SELECT '' FROM generate_series(1, 4000)")
    psql(uri, "DO $$ BEGIN FOR number IN 1..300 LOOP PERFORM count(*) FROM photos; END LOOP; END $$")
    wait_for(lambda: found() == {"buffers_small"}, what="reads from the disk")
    psql(uri, "SELECT pg_stat_reset()")
    wait_for(lambda: found() == set(), what="reads that are forgotten")

    # 30 milliseconds, as to another region.
    with Wire(postgres.port, seconds=0.015) as wire:
        assert found(f"postgresql://stanchion@127.0.0.1:{wire.port}/postgres") == {"database_far"}

with Redis() as redis:
    redis.cli("SETRANGE", "somebody's", 4_000_000, "x")
    used = int(next(line for line in redis.cli("INFO", "memory").splitlines() if line.startswith("used_memory:")).split(":")[1])
    redis.cli("CONFIG", "SET", "maxmemory", used * 21 // 20)
    assert set(doctor("--redis", redis.uri)) == {"redis_full"}
    redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert doctor("--redis", redis.uri) == {}
