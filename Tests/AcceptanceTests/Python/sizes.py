"""What is set about sizes and paces is what holds."""

import asyncio
import datetime
import json

import websockets

from harness import Server, deaf, exchange, wait_for

FLAGS = ("--head-bytes", "2048", "--body-bytes", "1024", "--message-bytes", "600", "--update-milliseconds", "2500")


def status(answer):
    return int(answer.split()[1])


def requests_are_bounded(server):
    head = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: "
    assert status(exchange(server, head + b"x" * (2048 - len(head) - 4) + b"\r\n\r\n")[0]) == 200
    assert status(exchange(server, head + b"x" * (2048 - len(head) - 3) + b"\r\n\r\n")[0]) == 431
    assert status(exchange(server, b"GET /" + b"x" * 2100)[0]) in (414, 431)
    content = lambda size: json.dumps({"name": "x" * 5}).encode().ljust(size)
    assert server.call("POST", "/v1/queues", content(1024))[0] == 201
    code, _, problem = server.call("POST", "/v1/queues", content(1025))
    assert (code, problem["code"]) == (413, "body_too_large"), problem
    queue = server.queue()["id"]
    # Without a key no more than a visitor may say over a WebSocket; whether a key is one is found out before more is taken.
    for key, codes in ((None, [201, 413]), ("made-up-" + "0" * 40, [401, 401])):
        answers = [server.call("POST", f"/v1/queues/{queue}/join", b"{}".ljust(size), key=key) for size in (600, 601)]
        assert [answer[0] for answer in answers] == codes, answers


async def messages_are_bounded(server):
    queue = server.queue()["id"]
    join = lambda size: json.dumps({"type": "join", "queue": queue}).ljust(size)
    async with websockets.connect(server.live) as visitor:
        await visitor.send(join(600))
        assert json.loads(await visitor.recv())["type"] == "joined"
        await visitor.send(join(601))
        await asyncio.wait_for(visitor.wait_closed(), 30)
        assert visitor.close_code == 1009, visitor.close_code


async def exact_has_its_pace(server):
    """By the server's own clock: however often the line moves, no sooner."""
    queue = server.queue()["id"]
    ahead = [await websockets.connect(server.live) for _ in range(40)]
    for visitor in ahead:
        await visitor.send(json.dumps({"type": "join", "queue": queue}))
        await visitor.recv()
    async with websockets.connect(server.live) as watcher:
        await watcher.send(json.dumps({"type": "join", "queue": queue, "updates": "exact"}))
        moments = []
        while len(moments) < 3:
            if ahead:
                await ahead.pop().send(json.dumps({"type": "leave"}))
            try:
                said = json.loads(await asyncio.wait_for(watcher.recv(), 0.2))
            except TimeoutError:
                continue
            if said["type"] in ("joined", "position"):
                moments.append(datetime.datetime.fromisoformat(said["at"]))
    assert all(later - earlier >= datetime.timedelta(seconds=2.4) for earlier, later in zip(moments, moments[1:])), moments


def announcements_until_closed(server):
    """How many of 1,900 bytes it takes until who does not read is sent away."""
    queue = server.queue()["id"]
    silent = deaf(server, queue)
    wait_for(lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 1, what="the silent one in line")
    said = 0
    while server.metric("stanchion_slow_consumers_closed_total") == 0:
        server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "x" * 1900})
        said += 1
        assert said < 5_000
    silent.close()
    return said


async def everything():
    with Server(*FLAGS) as server:
        requests_are_bounded(server)
        await messages_are_bounded(server)
        await exact_has_its_pace(server)
    counts = []
    for sizes in (("1024", "4096"), ("200000", "4096"), ("200000", "200000")):
        with Server("--outbox-bytes", sizes[0], "--send-buffer-bytes", sizes[1]) as server:
            counts.append(announcements_until_closed(server))
    print("announcements until closed:", counts)
    assert counts[0] + 80 < counts[1] and counts[1] + 40 < counts[2], counts


asyncio.run(everything())
