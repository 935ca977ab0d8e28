"""`stanchion bench api`: both stores are measured, what was made is gone, and bad input is told. How long things take is for
`make bench`: here a missed limit is one that is said to be missed."""

import json
import os
import subprocess
import uuid

from databases import psql
from harness import PROGRAM, PROJECT, clean_environment

NAMES = ["create_queue", "get_queue", "join_queue", "queue_insert", "queue_select"]


def run(*arguments):
    done = subprocess.run([PROGRAM, "bench", "api", *arguments], cwd=PROJECT, text=True, capture_output=True, timeout=120, env=clean_environment())
    return done.returncode, done.stdout, done.stderr


status, output, errors = run("--rounds", "20")
assert status == ("MISSED" in output) and all(name in output for name in NAMES) and "SQLite" in output, (output, errors)
assert output.count(" met\n") + output.count(" MISSED\n") == len(NAMES), output

server = os.environ["TEST_POSTGRES"]
name = "test_" + uuid.uuid4().hex
psql(server, f"CREATE DATABASE {name}")
try:
    address = server[:server.rindex("/") + 1] + name
    status, output, errors = run("--rounds", "20", "--json", "--database", address)
    rows = json.loads(output)
    assert [row["name"] for row in rows] == NAMES and all(row["database"] == "Postgres" for row in rows), (output, errors)
    assert status == (not all(row["isMet"] for row in rows)), (status, output)
    for row in rows:
        assert row["count"] == (2 if row["name"] == "create_queue" else 20)
        assert 0 < row["milliseconds"]["p50"] <= row["milliseconds"]["p95"] <= row["milliseconds"]["p99"], row
    left = psql(address, "SELECT count(*) FROM queues WHERE name = 'benchmark' AND is_active").strip()
    assert left == "0", left
finally:
    psql(server, f"DROP DATABASE {name} WITH (FORCE)")

for code, words, *arguments in [
    (64, "--rounds is 1", "--rounds", "1"), (78, "database", "--database", "nothing:x"), (69, "cannot", "--database", "postgresql://nobody@127.0.0.1:1/x"),
]:
    status, output, errors = run(*arguments)
    assert status == code and words in errors and errors.count("\n") == 1, (arguments, status, output, errors)
