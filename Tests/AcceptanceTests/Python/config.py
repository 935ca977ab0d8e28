"""The files of Config/, each read by the program that it is for."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.parse
import urllib.request

from databases import Postgres, Redis, free_port, psql
from harness import KEY, Server, wait_for

CONFIG = f"{os.environ['PROJECT']}/Config"


def accepts(*command):
    result = subprocess.run(command, cwd=CONFIG, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]


def redis_lines(name):
    """But for where it listens."""
    with open(f"{CONFIG}/{name}") as file:
        return [line for line in file.read().splitlines() if not line.startswith(("port ", "bind "))]


accepts("promtool", "check", "config", "prometheus.yml")
accepts("haproxy", "-c", "-q", "-f", "haproxy.cfg")
# Each alert fires where it must, and none where all is well.
accepts("promtool", "test", "rules", "alerts_test.yml")

# The runbook has a section for each alert, and what it tells people to set can be set.
with open(f"{CONFIG}/alerts.yml") as file:
    alerts = set(re.findall(r"alert: (\w+)", file.read()))
with open(f"{CONFIG}/../docs/runbook.md") as file:
    runbook = file.read()
sections = {name for line in re.findall(r"^## (Stanchion.*)$", runbook, re.M) for name in line.split(", ")}
assert sections == alerts, sections ^ alerts
flags = subprocess.run([os.environ["STANCHION"], "serve", "--help"], capture_output=True, text=True).stdout
for flag in re.findall(r"`(--[a-z-]+)`", runbook):
    assert flag in flags, flag

# What containers are given exists: files, and settings.
with open(f"{CONFIG}/../compose.yaml") as compose, open(f"{CONFIG}/../Dockerfile") as dockerfile:
    composed = compose.read()
    variables = set(re.findall(r"\bSTANCHION_\w+", composed + dockerfile.read()))
for path in re.findall(r"\./(Config/[^:]+):", composed):
    assert os.path.isfile(f"{CONFIG}/../{path}"), path
assert len(variables) > 5 and all(f"[{name}]" in "".join(flags.split()) for name in variables), variables

# stanchion.yaml has every setting with its default, and the server takes it.
with open(f"{CONFIG}/stanchion.yaml") as file:
    settings = re.findall(r"^(# )?([a-z-]+):(?: \"?([^\"\n]+)\"?)?$", file.read(), re.M)
assert {name for _, name, _ in settings} == set(re.findall(r"^  --([a-z-]+) <", flags, re.M)) - {"config"}
told = " ".join(flags.split())
for isComment, name, value in settings:
    default = re.search(rf"--{name} <{name}> (?:(?! --).)*? Default ([^ ]+?)[.,]* ", told)
    assert isComment or default and default[1] == value, (name, value, default)
with Server("--config", f"{CONFIG}/stanchion.yaml") as server:
    assert server.good("GET", "/ready")["status"] == "ok"

# Postgres and Redis start with their files, and instances find all that they need in them.
with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    shutil.copy(f"{CONFIG}/postgresql.conf", folder)
    with open(f"{folder}/postgresql.conf", "a") as file:
        file.write("shared_buffers = 32MB\n")  # This machine does other things, too.
    with Postgres(f"config_file={folder}/postgresql.conf") as postgres, Redis(*redis_lines("redis.conf")) as redis:
        assert psql(postgres.uri(), "SHOW synchronous_commit").strip() == "on"
        assert psql(postgres.uri(), "SHOW max_wal_size").strip() == "4GB"
        psql(postgres.uri(), "CREATE EXTENSION pg_stat_statements")
        # Who it lets in, with the rights that it names, is enough.
        for line in re.findall(r"^# (user stanchion .*)$", open(f"{CONFIG}/redis.conf").read(), re.M):
            assert redis.cli("ACL", "SETUSER", *line.split()[1:]) == "OK"
        uri = redis.uri.replace("://", "://stanchion:SECRET@")
        assert "allkeys-lru" in redis.cli("CONFIG", "GET", "maxmemory-policy")
        with Server("--redis", uri, database=postgres.uri()) as server:
            wait_for(lambda: server.metric("stanchion_bus_live") == 1, what="the bus carries messages")
            queue = server.queue()["id"]
            for number in range(600):
                server.good("POST", f"/v1/queues/{queue}/join", {"user": str(number)})
            assert len(server.events(queue)) > 600
            # A whole page of the log is kept there.
            wait_for(lambda: int(redis.cli("DBSIZE")) > 0, what="a page is kept in Redis")
        assert not redis.cli("ACL", "LOG"), redis.cli("ACL", "LOG")
        seen = psql(postgres.uri(), "SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'WITH asked AS%'")
        assert int(seen) == 1, seen
    with Redis(*redis_lines("redis.conf"), *redis_lines("redis-cluster.conf"), f"cluster-port {free_port()}") as node:
        assert "cluster_enabled:1" in node.cli("INFO", "cluster")

# A Prometheus that runs with them finds everything that an alert or a chart of Grafana's looks for.
with Server("--network-megabits", "1000") as server, tempfile.TemporaryDirectory() as folder:
    with open(f"{CONFIG}/prometheus.yml") as file:
        text = file.read()
    text = text.replace('"127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"', f'"127.0.0.1:{server.port}"').replace("15s", "1s").replace("10s", "1s")
    text = text.replace("# authorization: {credentials_file: /etc/prometheus/stanchion.key}", f"authorization: {{credentials: {KEY}}}")
    queue = server.queue()["id"]
    server.good("POST", f"/v1/queues/{queue}/join", {})
    with open(f"{folder}/prometheus.yml", "w") as file:
        file.write(text)
    shutil.copy(f"{CONFIG}/alerts.yml", folder)
    base = f"http://127.0.0.1:{free_port()}"
    prometheus = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={base[7:]}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def query(text):
            try:
                return get(f"{base}/api/v1/query?query={urllib.parse.quote(text)}")["result"]
            except OSError:
                return []

        def finds(expression):
            """Each series that is named is there, and Prometheus can reckon with it."""
            for name in re.findall(r"\b(?:stanchion|process)_\w+", expression):
                assert query(name), f"{expression} looks for {name}, and there is no such thing"
            assert not expression.count("$__") and get(f"{base}/api/v1/query?query={urllib.parse.quote(expression)}") is not None

        wait_for(lambda: query("up == 1"), what="the first look")
        rules = [rule for group in get(f"{base}/api/v1/rules")["groups"] for rule in group["rules"]]
        assert len([rule for rule in rules if rule["type"] == "alerting"]) > 15
        for rule in rules:
            finds(rule["query"])

        def health():
            rules = [rule for group in get(f"{base}/api/v1/rules")["groups"] for rule in group["rules"]]
            assert not [rule for rule in rules if rule["health"] == "err"], rules
            return all(rule["health"] == "ok" for rule in rules)

        wait_for(health, what="each rule has been looked at")
        assert not [alert for alert in get(f"{base}/api/v1/alerts")["alerts"] if alert["state"] == "firing"]

        with open(f"{CONFIG}/grafana/stanchion.json") as file:
            dashboard = json.load(file)
        charts = [panel for panel in dashboard["panels"] if panel["type"] == "timeseries"]
        expressions = {target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*"): panel["title"]
                       for panel in charts for target in panel["targets"]}
        assert len(charts) > 20 and len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
        for expression in expressions:
            finds(expression)
        # Where there is something to see it is seen: one person waits, and asks.
        shown = ["People in line", "Connected", "Joins a second", "Response time", "Requests a second", "Failed", "Processors in use",
                 "Memory in use", "Network", "Disk", "Descriptors in use", "What the store was asked for, p95", "Commits a second"]
        for expression, title in expressions.items():
            if title in shown:
                wait_for(lambda: query(expression), what=f"the chart “{title}” has something to show: {expression}")
        finds(dashboard["annotations"]["list"][0]["expr"])
        assert query(dashboard["templating"]["list"][1]["query"].split("(")[1].split(",")[0])
    finally:
        prometheus.send_signal(signal.SIGTERM)
        prometheus.wait(20)
