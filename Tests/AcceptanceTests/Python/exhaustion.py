"""What runs out, and what jumps: memory of the control group, and the clock. Descriptors and the disk have scripts of their own."""

import asyncio
import json
import tempfile
import time

import websockets

from harness import Hog, Server, check_log, memory_group, under_faketime, wait_for, within


async def memory(server, group):
    queue = server.queue()["id"]
    visitor = await websockets.connect(server.live)
    await visitor.send(json.dumps({"type": "join", "queue": queue}))
    assert json.loads(await visitor.recv())["type"] == "joined"
    # Somebody else in the group takes what is left, up to 95 of 100.
    hog = Hog(group)
    try:
        # Quickly at first, then slower than the server looks: a tenth of the limit lasts three seconds.
        size = 120_000_000
        for _ in range(300):
            status, headers, body = await asyncio.to_thread(server.call, "GET", "/health")
            if status != 200:
                break
            hog.take(size)
            size = 1_000_000
            await asyncio.sleep(0.1)
        assert status == 503 and body["code"] == "short_of_memory" and int(headers["Retry-After"]) > 0, (status, body)
        # Who is in line stays there and is served.
        await visitor.send('{"type":"ping"}')
        assert json.loads(await asyncio.wait_for(visitor.recv(), 30))["type"] == "state"
    finally:
        hog.end()
    await asyncio.to_thread(wait_for, lambda: server.call("GET", "/health")[0] == 200, what="new connections after the shortage")
    assert server.metric('stanchion_refused_total{reason="memory"}') >= 1
    assert any("short of memory" in line for line in server.output) and any("memory enough again" in line for line in server.output)
    await visitor.close()


with memory_group(320 << 20) as group:
    if group:
        with Server(prefix=within(group)) as server:
            asyncio.run(memory(server, group))
    else:
        print("memory: skipped, no control group may be made here")


class Clock:
    """Sets the time of day of a process, and of nobody else."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".time")
        self.set(0)

    def set(self, seconds):
        self.file.seek(0)
        self.file.truncate()
        self.file.write(f"{seconds:+d}s\n")
        self.file.flush()

    @property
    def prefix(self):
        return under_faketime(FAKETIME_TIMESTAMP_FILE=self.file.name, FAKETIME_NO_CACHE=1)


def admitted(server, queue):
    return server.good("GET", f"/v1/queues/{queue}")["currentUsers"]


async def clock():
    time_of_day = Clock()
    with Server(prefix=time_of_day.prefix) as server:
        queue = server.queue(maxConcurrentUsers=1000, releaseRatePerMinute=120, graceSeconds=30, admissionTTLSeconds=600)["id"]
        visitors = []
        for _ in range(60):
            visitors.append(await websockets.connect(server.live, max_queue=None))
            await visitors[-1].send(json.dumps({"type": "join", "queue": queue}))
        for jump in (7_200, 0, -7_200, 0):
            before = admitted(server, queue)
            time_of_day.set(jump)
            # Two a second are let in whatever the clock says, and nobody is let out for it.
            await asyncio.to_thread(wait_for, lambda: admitted(server, queue) >= before + 4, 15, what=f"admissions at {jump:+d} s")
            stats = server.good("GET", f"/v1/queues/{queue}/stats")
            assert stats["absent"] == 0 and stats["waiting"] + stats["currentUsers"] == 60, stats
        log = server.events(queue)
        check_log(log)
        assert not [event for event in log if event["type"] in ("expired", "disconnected", "everyone_disconnected")]
        times = [event["at"] for event in log]
        assert times == sorted(times)
        # Ended and started anew two hours earlier: the log is in the future, and the queue goes on all the same.
        before = admitted(server, queue)
        server.kill()
        time_of_day.set(-7_200)
        server.start()
        for visitor in visitors:
            visitor.transport.abort()
        again = []
        for number in range(5):
            again.append(await websockets.connect(server.live, max_queue=None))
            await again[-1].send(json.dumps({"type": "join", "queue": queue}))
            assert json.loads(await asyncio.wait_for(again[-1].recv(), 30))["type"] == "joined"
        await asyncio.to_thread(wait_for, lambda: admitted(server, queue) >= before + 4, 15, what="admissions after the start")
        check_log(server.events(queue))
        for visitor in again:
            visitor.transport.abort()


asyncio.run(clock())
