"""`stanchion loadtest` as an operator uses it: a small crowd, its report, and what bad input gets before any load is sent."""

import html.parser
import http.server
import json
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

from harness import KEY, PROGRAM, PROJECT, Server, clean_environment

FOLDER = tempfile.TemporaryDirectory(prefix="stanchion-")

SMALL = """
users: 30
ramp-seconds: 1
duration-seconds: 4
stay-seconds: 5
polling-percent: 40
poll-seconds: 0.5
sleeping-percent: 50
releases-per-minute: 60
reads-per-second: 10
creates-per-second: 20
announcement-seconds: 1
limit-seconds: 5
limit-error-percent: 0.1
"""


def command(*arguments, prefix=(), **more):
    return subprocess.Popen([*prefix, PROGRAM, "loadtest", *arguments], cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**clean_environment(), **more})


def run(*arguments, **more):
    process = command(*arguments, **more)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def written(name, text):
    path = pathlib.Path(FOLDER.name, name)
    path.write_text(text)
    return str(path)


def refused(code, words, *arguments, **more):
    """One sentence, and no load."""
    status, output, errors = run(*arguments, **more)
    assert status == code and words in errors and errors.count("\n") == 1 and not output, (arguments, status, output, errors)


def nothing_is_left(server):
    left = [queue["name"] for queue in server.good("GET", "/v1/queues")["items"]]
    assert "load test" not in left and "made and deleted" not in left, left


def whole(server, scenario):
    report = FOLDER.name + "/small"
    status, output, errors = run("--scenario", scenario, "--url", f"http://127.0.0.1:{server.port}", "--admin-key", KEY, "--report", report)
    assert status == 0, (output, errors)
    data = json.load(open(report + ".json"))
    operations = {operation["name"]: operation for operation in data["report"]["operations"]}
    for name in ["join over WebSocket", "resume over WebSocket", "join over REST", "poll of a position", "leave over REST", "read of a queue",
                 "create of a queue", "delete of a queue", "announcement"]:
        assert operations[name]["count"] > 0 and not operations[name]["errors"], (name, operations)
        assert 0 < operations[name]["p50"] <= operations[name]["p95"] <= operations[name]["p99"] <= operations[name]["highest"]
    assert len(data["report"]["seconds"]) == 4 and data["isMet"] and all(verdict["measured"] <= verdict["limit"] for verdict in data["verdicts"])
    assert data["report"]["eventsFollowed"] > 30 and data["report"]["eventsMissing"] == 0 and data["report"]["admitted"] > 0
    page = open(report + ".html").read()
    html.parser.HTMLParser().feed(page)
    assert page.count("<svg") == 4 and "join over WebSocket" in page and "met" in output
    nothing_is_left(server)


def limits_that_are_missed(server):
    strict = written("strict.yaml", SMALL.replace("limit-seconds: 5", "limit-seconds: 0.001").replace("duration-seconds: 4", "duration-seconds: 2"))
    status, output, _ = run("--scenario", strict, "--url", f"http://127.0.0.1:{server.port}", "--admin-key", KEY)
    assert status == 1 and "MISSED p95 of the slowest operation" in output, output


def interrupted(server, scenario):
    report = FOLDER.name + "/cut.json"
    process = command("--scenario", scenario, "--scale", "1:10", "--url", f"http://127.0.0.1:{server.port}", "--report", report, STANCHION_ADMIN_KEY=KEY)
    while "people for" not in process.stderr.readline():
        pass
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    data = json.load(open(report))["report"]
    assert process.returncode == 1 and data["isInterrupted"] and 1 <= len(data["seconds"]) < 40, data


def a_server_that_dies(scenario):
    with Server() as server:
        process = command("--scenario", scenario, "--url", f"http://127.0.0.1:{server.port}", "--admin-key", KEY)
        while "people for" not in process.stderr.readline():
            pass
        time.sleep(1.5)
        server.kill()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "MISSED errors" in output and "× " in output, output


def a_server_that_stands_still(scenario):
    """It is asked all the same, and all who wait for it count."""
    report = FOLDER.name + "/still.json"
    with Server() as server:
        process = command("--scenario", scenario, "--url", f"http://127.0.0.1:{server.port}", "--admin-key", KEY, "--report", report)
        while "people for" not in process.stderr.readline():
            pass
        time.sleep(1)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        server.process.send_signal(signal.SIGCONT)
        # Once more over the end: what was asked for by then is made after it, and deleted all the same.
        time.sleep(0.5)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        server.process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
        nothing_is_left(server)
    read = next(row for row in json.load(open(report))["report"]["operations"] if row["name"] == "read of a queue")
    # Four hundred in four seconds, for few may miss the two seconds by chance; those of them waited for one in the mean.
    assert read["count"] > 20 and read["p95"] > 1.0 and read["mean"] > 0.2, read


def bad_input(server, scenario):
    url = f"http://127.0.0.1:{server.port}"
    refused(64, "there is no scenario nothing: give one of normal, peak, stress", "--scenario", "nothing", "--admin-key", KEY)
    for scale in ["x", "0", "-1", "1:0", "1:2:3", "nan", "1000000"]:
        refused(64, "--scale", "--scenario", scenario, f"--scale={scale}", "--admin-key", KEY)
    for wrong in ["ftp://127.0.0.1", "https://127.0.0.1", "127.0.0.1:80", "http://", "http://127.0.0.1/path"]:
        refused(64, "--url is", "--scenario", scenario, "--url", wrong, "--admin-key", KEY)
    refused(64, "--remote", "--scenario", scenario, "--url", "http://192.0.2.1", "--admin-key", KEY)
    refused(64, "an admin key is needed", "--scenario", scenario, "--url", url)
    refused(64, "cannot be written", "--scenario", scenario, "--url", url, "--admin-key", KEY, "--report", "/nowhere/report")
    refused(69, "nobody answers", "--scenario", scenario, "--url", "http://127.0.0.1:1", "--admin-key", KEY)
    refused(69, "does not take the admin key", "--scenario", scenario, "--url", url, "--admin-key", "wrong")
    for text, words in [(SMALL + "userz: 1\n", "userz"), (SMALL.replace("users: 30\n", ""), "users is missing"), (SMALL.replace("30", "x"), "users is missing"),
                        (SMALL.replace("users: 30", "users: 0"), "users is 0"), (SMALL.replace("ramp-seconds: 1", "ramp-seconds: 5"), "longer than")]:
        refused(64, words, "--scenario", written("bad.yaml", text), "--url", url, "--admin-key", KEY)
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    other.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=other.serve_forever, daemon=True).start()
    refused(69, "is no Stanchion", "--scenario", scenario, "--url", f"http://127.0.0.1:{other.server_port}", "--admin-key", KEY)
    other.shutdown()
    refused(69, "descriptors", "--scenario", "normal", "--url", url, "--admin-key", KEY, prefix=["prlimit", "--nofile=500:500"])


def files(server):
    """Those that come with the program can be read: a bit of each runs, with so many people that somebody comes."""
    for name in ["normal", "peak", "stress"]:
        status, output, errors = run("--scenario", name, "--scale", "0.02:0.002", "--url", f"http://127.0.0.1:{server.port}", "--admin-key", KEY)
        # In a few seconds of a busy machine not everybody may have come yet.
        missed = [line for line in output.splitlines() if line.startswith("MISSED")]
        assert status == 0 or [line for line in missed if not line.startswith("MISSED people")] == [] != missed, (output, errors)


small = written("small.yaml", SMALL)
with Server() as server:
    bad_input(server, small)
    whole(server, small)
    limits_that_are_missed(server)
    interrupted(server, small)
    files(server)
a_server_that_dies(small)
a_server_that_stands_still(written("busy.yaml", SMALL.replace("reads-per-second: 10", "reads-per-second: 100")))
