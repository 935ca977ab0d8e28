"""A wrong setting, a port in use, a database that cannot be served from: one sentence, the right status, nothing changed."""

import os
import signal
import sqlite3
import subprocess
import tempfile
import time

from harness import KEY, PROGRAM, Server, clean_environment


def run(*arguments, status, says, env=None):
    result = subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=30, env={**clean_environment(), **(env or {})})
    output = result.stdout + result.stderr
    assert result.returncode == status, f"{arguments}: {result.returncode}, not {status}: {output}"
    assert says in output, f"{arguments}: {says!r} is not in {output!r}"
    assert len(result.stderr.strip().splitlines()) <= 1 or "Usage" in output, output


folder = tempfile.mkdtemp(prefix="stanchion-")
database = f"sqlite:{folder}/db"

run("--version", status=0, says="0.1.0")
run("serve", "--help", status=0, says="STANCHION_LISTEN")
run("serve", "--listen", "nowhere", status=78, says="listen is nowhere")
run("serve", "--loops", "0", status=78, says="loops is 0")
run("serve", "--loops", "many", status=78, says="loops is many")
run("serve", "--database", "mysql://x", status=78, says="database must be sqlite:PATH")
run("serve", "--admin-key", "short", status=78, says="32 to 128")
run("serve", "--log-level", "loud", status=78, says="log-level is loud")
for origin in ("shop.example", "https://shop.example/", "https://*.shop.example", "file://", "https://a.example,https://shop.example/x"):
    run("serve", "--allow-origin", origin, status=78, says=f"allow-origin names {origin.split(',')[-1]}, which ")
for path in ("/v1", "/q/x", "/..", "/a/./b", "queue", "/a b"):
    run("serve", "--base-path", path, status=78, says=f"base-path is {path}")
for hosts in (".", "[:::]", "a,..", "[::1"):
    run("serve", "--hosts", hosts, status=78, says="hosts names")
run("serve", status=78, says="STANCHION_LISTNE", env={"STANCHION_LISTNE": "x"})
# What Kubernetes sets for Services that are called stanchion and stanchion-redis is none of an operator's mistakes.
orchestrators = {
    "STANCHION_SERVICE_HOST": "10.0.0.11", "STANCHION_SERVICE_PORT": "8080", "STANCHION_SERVICE_PORT_HTTP": "8080",
    "STANCHION_PORT": "tcp://10.0.0.11:8080", "STANCHION_PORT_8080_TCP": "tcp://10.0.0.11:8080", "STANCHION_PORT_8080_TCP_PROTO": "tcp",
    "STANCHION_PORT_8080_TCP_PORT": "8080", "STANCHION_PORT_8080_TCP_ADDR": "10.0.0.11", "STANCHION_REDIS_SERVICE_HOST": "10.0.0.12",
    "STANCHION_REDIS_PORT": "tcp://10.0.0.12:6379", "STANCHION_REDIS_PORT_6379_TCP_ADDR": "10.0.0.12", "STANCHION_PORT_53_UDP": "udp://10.0.0.1:53",
}
with Server(prefix=["env", *(f"{name}={value}" for name, value in orchestrators.items())]) as server:
    server.good("GET", "/ready")
for name, value in (("STANCHION_PORT", "8080"), ("STANCHION_HOST", "0.0.0.0"), ("STANCHION_PORT_NUMBER", "1"), ("STANCHION_LISTEN_PORT", "80")):
    run("serve", status=78, says=name, env={**orchestrators, name: value})
run("serve", status=78, says="drain-seconds is 0", env={"STANCHION_DRAIN_SECONDS": "0"})
with open(f"{folder}/wrong.yaml", "w") as file:
    file.write("listen: 127.0.0.1:0\nlisten-on: 5\n")
run("serve", "--config", f"{folder}/wrong.yaml", status=78, says="line 2")
run("serve", "--config", f"{folder}/none.yaml", status=78, says="cannot be read")
run("serve", "--database", f"sqlite:{folder}/no/such/folder/db", status=69, says="cannot be used")

with open(f"{folder}/corrupt", "wb") as file:
    file.write(b"this is no database " * 500)
before = open(f"{folder}/corrupt", "rb").read()
run("serve", "--listen", "127.0.0.1:0", "--database", f"sqlite:{folder}/corrupt", status=69, says="damaged")
assert open(f"{folder}/corrupt", "rb").read() == before

# A file of settings, below variables, below flags.
with open(f"{folder}/right.yaml", "w") as file:
    file.write(f"listen: 127.0.0.1:1\nloops: 1\nissuer: from-the-file\nlog-format: json\n")
with Server("--config", f"{folder}/right.yaml") as server:
    assert server.output[0].startswith("{"), server.output
    join = server.good("POST", "/v1/queues/demo/join", {}, key=None)
    run("serve", "--listen", f"127.0.0.1:{server.port}", "--database", database, status=69, says="cannot be listened on")
    run("serve", "--listen", "127.0.0.1:0", "--database", f"sqlite:{server.folder}/db", status=69, says="in use by another process")
    # A key made beside the running server works within a second.
    made = subprocess.run(
        [PROGRAM, "token", "create", "--role", "operator", "--label", "x", "--database", f"sqlite:{server.folder}/db"],
        capture_output=True, text=True, env=clean_environment(), check=True).stdout.strip()
    time.sleep(1.1)
    assert server.call("GET", "/v1/queues", key=made)[0] == 200
    assert server.call("GET", "/v1/keys", key=made)[0] == 403
    # Rotated secrets: what the old ones signed stays valid.
    subprocess.run([PROGRAM, "token", "rotate", "--database", f"sqlite:{server.folder}/db"], env=clean_environment(), check=True)
    server.process.send_signal(signal.SIGHUP)
    while len(server.good("GET", "/.well-known/jwks.json")["keys"]) < 2:
        time.sleep(0.05)
    assert server.call("GET", "/v1/queues/demo/position", key=join["token"])[0] == 200
    assert server.stop() == 0
    text = "".join(server.output)
    assert KEY not in text and join["token"] not in text, "a secret in the log"

    # A newer program has been here.
    with sqlite3.connect(f"{server.folder}/db") as db:
        db.execute("INSERT INTO grdb_migrations VALUES ('999 from the future')")
    db.close()
    run("serve", "--listen", "127.0.0.1:0", "--database", f"sqlite:{server.folder}/db", status=69, says="newer stanchion")
    run("migrate", "--check", "--database", f"sqlite:{server.folder}/db", status=69, says="newer stanchion")

run("migrate", "--database", database, status=0, says="up to date")
run("migrate", "--check", "--database", database, status=0, says="up to date")

# The first start shows a key, once; a second SIGTERM ends at once.
process = subprocess.Popen(
    [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--database", f"sqlite:{folder}/first"], stdout=subprocess.PIPE, text=True,
    stderr=subprocess.DEVNULL, env=clean_environment())
lines = [process.stdout.readline(), process.stdout.readline()]
assert "Admin key, shown only now: sk_" in lines[1], lines
process.send_signal(signal.SIGTERM)
assert process.wait(20) == 0
assert os.stat(f"{folder}/first").st_mode & 0o077 == 0, "the database is readable by others"
