"""Out of descriptors: those who are connected are served, new ones wait, and are taken when there is room."""

import asyncio
import json
import socket
import time

import websockets

from harness import Server, wait_for


async def story(server):
    queue = server.queue()["id"]
    visitor = await websockets.connect(server.live)
    await visitor.send(json.dumps({"type": "join", "queue": queue}))
    assert json.loads(await visitor.recv())["type"] == "joined"
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(120)]
    await asyncio.to_thread(wait_for, lambda: any("want of descriptors" in line for line in server.output), what="the log's word")
    await visitor.send(json.dumps({"type": "ping"}))
    assert json.loads(await asyncio.wait_for(visitor.recv(), 30))["type"] == "state", "who is connected is served"
    cpu = server_cpu(server)
    await asyncio.sleep(1)
    assert server_cpu(server) - cpu < 0.5, "a busy loop"
    for connection in crowd:
        connection.close()
    await asyncio.to_thread(wait_for, lambda: server.call("GET", "/health")[0] == 200, what="new connections")
    await asyncio.to_thread(wait_for, lambda: any("taken again" in line for line in server.output), what="the end of it in the log")
    await visitor.close()
    for words in ("want of descriptors", "taken again"):
        lines = [line for line in server.output if words in line]
        assert len(lines) <= 2, f"logged {len(lines)} times by 2 loops"


def server_cpu(server):
    fields = open(f"/proc/{server.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


with Server("--loops", "2", prefix=["prlimit", "--nofile=90:90"]) as server:
    asyncio.run(story(server))
    assert server.stop() == 0
