"""A visitor who never reads: costs the server little, hurts nobody, is sent away; a drain does not wait for it for ever."""

import asyncio
import json
import signal
import time

import websockets

from harness import Server, deaf, wait_for


def metric(server, name):
    return float(next(line.split()[1] for line in server.call("GET", "/metrics")[2].decode().splitlines() if line.startswith(name + " ")))


def resident(server):
    return int(next(line.split()[1] for line in open(f"/proc/{server.process.pid}/status") if line.startswith("VmRSS"))) * 1024


async def story(server):
    queue = server.queue()["id"]
    silent = [deaf(server, queue) for _ in range(20)]
    reader = await websockets.connect(server.live, max_queue=None)
    await reader.send(json.dumps({"type": "join", "queue": queue}))
    assert json.loads(await reader.recv())["type"] == "joined"
    wait_for(lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 21, what="everybody in line")
    before, said = resident(server), 0
    while metric(server, "stanchion_slow_consumers_closed_total") < 20:
        for _ in range(50):
            server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "x" * 1900})
        said += 50
        assert said < 20_000, "nobody was sent away"
    assert resident(server) - before < 40_000_000, "who does not read costs much memory"
    heard = 0
    while heard < said:
        heard += json.loads(await asyncio.wait_for(reader.recv(), 5))["type"] == "announcement"
    wait_for(lambda: metric(server, "stanchion_visitors_connected") == 1, 20, "the silent ones to be gone")
    # They keep their places; that they are gone is committed a moment later.
    wait_for(lambda: server.good("GET", f"/v1/queues/{queue}/stats")["absent"] == 20, what="their places kept")
    for connection in silent:
        connection.close()
    await reader.close()


with Server() as server:
    asyncio.run(story(server))
    assert server.stop() == 0

# A drain is bounded, also for those who never answer; a second SIGTERM ends at once.
for second in (False, True):
    with Server("--drain-seconds", "3") as server:
        queue = server.queue()["id"]
        silent = [deaf(server, queue) for _ in range(5)]
        wait_for(lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 5, what="everybody in line")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        if second:
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(20)
        took = time.monotonic() - began
        assert (status, took < 1.5) == (143, True) if second else status == 0 and took < 6, (second, status, took)
