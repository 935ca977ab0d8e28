"""Readers of events miss nothing: replaying and following without a seam, over both ways, through cuts and restarts."""

import asyncio
import http.client
import json
import socket
import threading

import websockets

from harness import KEY, Server, check_log, pieces, rng, wait_for


class Stream(threading.Thread):
    """Follows as server-sent events, is cut at random, and goes on from the last id."""

    def __init__(self, server, queue):
        super().__init__(daemon=True)
        self.server, self.queue, self.events, self.last, self.cuts, self.done = server, queue, [], "0", 0, False
        self.start()

    def run(self):
        while not self.done:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
                connection.request("GET", f"/v1/events?queue={self.queue}", headers={"Authorization": f"Bearer {KEY}", "Last-Event-ID": self.last})
                response = connection.getresponse()
                assert response.getheader("Content-Type") == "text/event-stream"
                budget = rng.randint(1, 300)
                while budget and (line := response.readline().decode()):
                    if line.startswith("id: "):
                        self.last = line[4:].strip()
                    if line.startswith("data: "):
                        event = json.loads(line[6:])
                        assert "seq" in event, event
                        self.events.append(event)
                        budget -= 1
                self.cuts += 1
                response.close()
                connection.close()
            except (OSError, http.client.HTTPException):
                pass


def follow(server, queue, after, **options):
    return websockets.connect(f"ws://127.0.0.1:{server.port}/v1/events?queue={queue}&after={after}", max_queue=None,
                              additional_headers={"Authorization": f"Bearer {KEY}"}, **options)


async def socket_reader(server, queue, upto):
    events, after = [], 0
    while not events or events[-1]["seq"] < upto:
        try:
            async with follow(server, queue, after) as socket:
                for _ in range(rng.randint(1, 400)):
                    events.append(json.loads(await asyncio.wait_for(socket.recv(), 2)))
                    after = events[-1]["seq"]
                    if after >= upto:
                        break
        except (TimeoutError, OSError, websockets.ConnectionClosed):
            pass
    return events


async def by_socket_at_once(server, queue, count):
    """Reads the whole log over one connection; returns the number of packets that it came in."""
    async with follow(server, queue, 0, compression=None) as socket:
        for _ in range(count):
            await asyncio.wait_for(socket.recv(), 30)
        return pieces(socket.transport.get_extra_info("socket"))


def by_stream_at_once(server, queue, count):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/v1/events?queue={queue}&after=0", headers={"Authorization": f"Bearer {KEY}"})
    with connection.getresponse() as response:
        while count:
            count -= response.readline().startswith(b"data: ")
        return pieces(response.fp.raw._sock)


async def to_the_end(connecting):
    """What a reader is sent until it is told that there is no such queue."""
    events = []
    async with connecting as reader:
        while "seq" in (event := json.loads(await asyncio.wait_for(reader.recv(), 30))):
            events.append(event)
        assert event["code"] == "no_such_queue", event
        await asyncio.wait_for(reader.wait_closed(), 30)
        assert reader.close_code == 4502, reader.close_code
    return events


async def deleted_while_behind(server, queue):
    """Does not read while the queue is deleted, and its system takes in little."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    small.connect(("127.0.0.1", server.port))
    reader = await websockets.connect(f"ws://127.0.0.1:{server.port}/v1/events?queue={queue}&after=0", max_queue=1, compression=None, sock=small,
                                      additional_headers={"Authorization": f"Bearer {KEY}"})
    assert server.call("DELETE", f"/v1/queues/{queue}")[0] < 300
    return await to_the_end(reader)


def stream_to_the_end(server, queue, after):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/v1/events?queue={queue}&after={after}", headers={"Authorization": f"Bearer {KEY}"})
    with connection.getresponse() as response:
        data = [json.loads(line[6:]) for line in response if line.startswith(b"data: ")]
    assert data[-1]["code"] == "no_such_queue", data[-1]
    return data[:-1]


with Server() as server:
    queue = server.queue(releaseRatePerMinute=60_000, maxConcurrentUsers=500, graceSeconds=5)["id"]  # Who waits over the kill may not come back.
    stream = Stream(server, queue)

    def churn(count):
        for number in range(count):
            place = server.good("POST", f"/v1/queues/{queue}/join", {"user": f"u{number}-{rng.random()}"})
            if rng.random() < 0.3:
                server.call("POST", f"/v1/queues/{queue}/leave", {"session": place["session"]})
            if rng.random() < 0.02:
                server.good("POST", f"/v1/queues/{queue}/announcements", {"text": f"word {number}"})

    threads = [threading.Thread(target=churn, args=(120,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.kill()
    server.start()
    churn(50)
    wait_for(lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 0, what="an empty line")
    head = server.good("GET", f"/v1/queues/{queue}")["seq"]
    wait_for(lambda: stream.events and stream.events[-1]["seq"] == head, what="the stream's end")
    stream.done = True
    assert stream.cuts > 3
    check_log(stream.events)
    assert len({event["epoch"] for event in stream.events}) == 1
    by_socket = asyncio.run(socket_reader(server, queue, head))
    assert by_socket == stream.events == server.events(queue)
    # What was missed comes by the page, not by the event.
    assert asyncio.run(by_socket_at_once(server, queue, head)) < head / 10
    assert by_stream_at_once(server, queue, head) < head / 10
    announced = [event for event in stream.events if event["type"] == "announced"]
    assert all(event["announcement"]["text"].startswith("word ") for event in announced)
    page, total = None, 0
    while True:
        part = server.good("GET", f"/v1/sessions?queue={queue}&limit=100" + (f"&cursor={page}" if page else ""))
        total += len(part["items"])
        page = part["cursor"]
        if not page:
            break
    assert total == 4 * 120 + 50

    # A queue is deleted while its readers are behind: they get the rest of its log, at once and later.
    gone = server.queue()
    for number in range(300):
        server.good("POST", f"/v1/queues/{gone['id']}/join", {"user": f"w{number}"})
    for number in range(1_200):
        server.good("POST", f"/v1/queues/{gone['id']}/announcements", {"text": f"{number} " + "x" * 1_990})
    deleted = asyncio.run(deleted_while_behind(server, gone["id"]))
    assert deleted[-1]["type"] == "closed", deleted[-1]
    check_log(deleted)
    assert asyncio.run(to_the_end(follow(server, gone["id"], 0))) == deleted
    assert stream_to_the_end(server, gone["id"], 0) == deleted
    for name in gone["slug"], f"{gone['id']}&after={deleted[-1]['seq']}":
        assert server.call("GET", f"/v1/events?queue={name}")[0] == 404, name
