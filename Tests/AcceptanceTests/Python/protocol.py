"""Every message of a client in docs/protocol.md is understood by a running server."""

import asyncio
import json
import re

import websockets

from harness import PROJECT, Server

text = open(f"{PROJECT}/docs/protocol.md").read()
examples = [json.loads(block) for block in re.findall(r"```json client\n(.*?)```", text, re.S)]
assert {example["type"] for example in examples} == {"join", "resume", "visibility", "ping", "leave"}


async def until(socket, *types):
    async with asyncio.timeout(60):
        while True:
            frame = json.loads(await socket.recv())
            assert frame["type"] != "error", frame
            if frame["type"] in types:
                return frame


async def story(server):
    token = None
    for example in examples:
        if example["type"] == "resume":
            example["token"] = token
        enters = example["type"] in ("join", "resume")
        async with websockets.connect(server.live, subprotocols=["stanchion.v1"]) as socket:
            await socket.send(json.dumps(example if enters else {"type": "join", "queue": "demo"}))
            token = (await until(socket, "joined"))["token"]
            if not enters:
                await socket.send(json.dumps(example))
            await socket.send(json.dumps({"type": "ping"}))
            await until(socket, "state", "ended")


with Server() as server:
    server.good("PATCH", f"/v1/queues/{server.good('GET', '/v1/queues')['items'][0]['id']}", {"releaseRatePerMinute": 0})
    asyncio.run(story(server))
