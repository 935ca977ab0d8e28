"""`stanchion capacity`: a plan from what load tests measured, as a table, as JSON and as a chart; and what bad input gets."""

import json
import pathlib
import subprocess
import tempfile
import xml.etree.ElementTree

from harness import KEY, PROGRAM, PROJECT, Server, clean_environment

FOLDER = tempfile.TemporaryDirectory(prefix="stanchion-")


def run(command, *arguments):
    done = subprocess.run([PROGRAM, command, *arguments], cwd=PROJECT, text=True, capture_output=True, timeout=120, env=clean_environment())
    return done.returncode, done.stdout, done.stderr


def path(name):
    return f"{FOLDER.name}/{name}"


# Two real tests, as short as they may be: two looks at the server, five seconds apart.
with Server() as server:
    for users, name in [(20, "small.json"), (60, "large.json")]:
        status, output, errors = run("loadtest", "--scenario", "normal", "--scale", f"{users / 1000}:0.0067", "--url", server.url, "--admin-key", KEY,
                                     "--report", path(name))
        assert status == 0, (output, errors)
measured = ["--measured", path("small.json"), "--measured", path("large.json")]

status, output, errors = run("capacity", "--users", "10000", "--growth", "20%", "--json", "--chart", path("chart.svg"), "--cores", "4", "--memory-gb", "8", *measured)
assert status == 0, errors
plan = json.loads(output)
assert [round(row["users"]) for row in plan["rows"]] == [10000, 29860, 89161], plan
assert plan["machine"] == {"cores": 4, "memoryBytes": 8e9} and plan["monthsUntilThen"] >= 0 and plan["firstToRunOut"]
assert all(row["processors"] > 0 and row["memoryBytes"] > 1e6 and row["instances"] >= 2 for row in plan["rows"]), plan
assert [row["instances"] for row in plan["rows"]] == sorted(row["instances"] for row in plan["rows"])
assert xml.etree.ElementTree.parse(path("chart.svg")).getroot().tag.endswith("svg")

status, output, errors = run("capacity", "--users", "5000")
assert status == 0 and output.splitlines()[0].startswith("month") and "One instance is to spare" in output, (output, errors)
status, output, errors = run("capacity", "--users", "10000", "--growth", "20%", "--request-growth", "25%", "--data-growth", "15%", "--json")
first, _, last = json.loads(output)["rows"]
assert first["instances"] >= 2 and first["networkBytesPerSecond"] > 0 and first["redisConnections"] == 2 * first["instances"], first
assert [round(last[name] / first[name], 2) for name in ("users", "requestsPerMinute", "storageBytesPerMonth")] == [8.92, 14.55, 5.35], last

pathlib.Path(path("bad.json")).write_text("{}")
short = json.load(open(path("small.json")))
del short["report"]["server"]
pathlib.Path(path("short.json")).write_text(json.dumps(short))
for words, *arguments in [
    ("--users is 0", "--users", "0"), ("--users is nan", "--users", "nan"), ("--growth is many", "--users", "1", "--growth", "many"),
    ("--growth is 2000", "--users", "1", "--growth", "2000%"), ("--months is 0", "--users", "1", "--months", "0"),
    ("--cores is 0", "--users", "1", "--cores", "0"), ("no report", "--users", "1", "--measured", path("nothing.json")),
    ("no report", "--users", "1", "--measured", path("bad.json")), ("what the server used", "--users", "1", "--measured", path("short.json")),
    ("cannot be written", "--users", "1", "--chart", "/nowhere/chart.svg"),
]:
    status, output, errors = run("capacity", *arguments)
    assert status == 64 and words in errors and not output, (arguments, status, output, errors)
