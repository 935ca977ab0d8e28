"""Config/k6/stanchion.js, run by k6 itself: a few visitors for a few seconds, over REST and /v1/live."""

import json
import os
import subprocess
import sys
import tempfile

from harness import PROJECT, Server, clean_environment

K6 = f"{os.path.dirname(sys.executable)}/k6"

with Server() as server, tempfile.TemporaryDirectory(prefix="stanchion-") as folder:
    server.queue(slug="line", releaseRatePerMinute=600)

    def run(queue):
        return subprocess.run(
            [K6, "run", "--quiet", "--no-usage-report", "--address", "", "--summary-export", f"{folder}/summary.json", "-e", f"URL={server.url}",
             "-e", f"QUEUE={queue}", "-e", "VISITORS=5", "-e", "SECONDS=5", "-e", "STAY=2", f"{PROJECT}/Config/k6/stanchion.js"],
            env=clean_environment(), capture_output=True, text=True, timeout=60)

    done = run("line")
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.load(open(f"{folder}/summary.json"))["metrics"]
    checks = json.load(open(f"{folder}/summary.json"))["root_group"]["checks"]
    counted = {name: one["passes"] for name, one in checks.items()} if isinstance(checks, dict) else {one["name"]: one["passes"] for one in checks}
    for name in ["joined over REST", "has a place", "left over REST", "WebSocket opened", "joined over WebSocket"]:
        assert counted[name] >= 5, (name, counted)
    assert metrics["checks"]["fails"] == 0 and server.metric("stanchion_joins_total") >= 10, metrics["checks"]
    # It fails where the service does.
    assert run("nothing").returncode != 0
    print(f"{metrics['checks']['passes']} checks")
