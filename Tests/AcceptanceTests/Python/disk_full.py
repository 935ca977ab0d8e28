"""A full disk: joins are refused with 503, everyone stays connected and is told, and it works again when there is room."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile

import websockets

from harness import Server, check_log, wait_for

folder = tempfile.mkdtemp(prefix="stanchion-full-")
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True).returncode != 0:
    print("skipped: no file system may be mounted here")
    sys.exit(0)


async def story(server):
    queue = server.queue(graceSeconds=3600)["id"]
    visitor = await websockets.connect(server.live)
    await visitor.send(json.dumps({"type": "join", "queue": queue}))
    token = json.loads(await visitor.recv())["token"]
    ballast = os.open(f"{folder}/ballast", os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(ballast, b"\0" * 4096)
    except OSError:
        os.close(ballast)
    refused = None
    for number in range(3000):
        status, headers, body = server.call("POST", f"/v1/queues/{queue}/join", {"user": f"u{number}", "metadata": {"x": "y" * 900}})
        if status == 503:
            refused = (headers, body)
            break
    assert refused and refused[1]["code"] == "storage_full" and int(refused[0]["Retry-After"]) > 0, refused
    acknowledged = number
    frame = json.loads(await asyncio.wait_for(visitor.recv(), 30))
    assert frame["type"] == "state" and frame["state"] == "stale" and "safe" in frame["message"], frame
    assert server.call("GET", "/ready")[2]["status"] == "degraded"
    assert server.good("GET", f"/v1/queues/{queue}/position", key=token)["position"] == 1, "what is known is still told"
    os.remove(f"{folder}/ballast")
    while True:
        frame = json.loads(await asyncio.wait_for(visitor.recv(), 30))
        if frame["type"] == "state":
            assert frame["state"] == "live"
            break
    await asyncio.to_thread(wait_for, lambda: server.call("POST", f"/v1/queues/{queue}/join", {"user": "after"})[0] == 201, what="a join after the full disk")
    assert server.call("GET", "/ready")[2]["status"] == "ok"
    state = check_log(server.events(queue))
    assert len(state) == acknowledged + 2, (len(state), acknowledged)
    await visitor.close()


try:
    with Server(folder=folder) as server:
        asyncio.run(story(server))
        assert server.stop() == 0
finally:
    subprocess.run(["umount", "-l", folder])
    shutil.rmtree(folder, ignore_errors=True)
