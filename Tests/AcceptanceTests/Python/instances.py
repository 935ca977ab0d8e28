"""Three instances on one Postgres: started at once, killed, frozen and drained, while people wait. Nobody loses a place,
nobody is in line twice, and who is out of sight is known."""

import asyncio
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import websockets

from databases import Postgres, psql
from harness import Server, check_log, rng, wait_for

LEASE = 3
# Seconds for what must come, on a machine that does much else.
WAIT = 60


class Visitor:
    """A client that comes back wherever it is sent, as the browser's does, until it is let in."""

    def __init__(self, queue, servers):
        self.queue, self.servers = queue, servers
        self.at, self.token, self.session, self.position = None, None, None, None
        self.ended, self.socket, self.joined, self.stays = None, None, asyncio.Event(), True
        self.task = None

    def start(self, server):
        self.at = server
        self.task = asyncio.create_task(self.live())
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception() and wrong.append(task.exception()))
        return self

    async def live(self):
        while not self.ended and self.stays:
            try:
                async with websockets.connect(self.at.live, ping_interval=None, open_timeout=5) as self.socket:
                    await self.socket.send(json.dumps({"type": "resume", "token": self.token} if self.token else
                                                      {"type": "join", "queue": self.queue}))
                    async for text in self.socket:
                        self.take(json.loads(text))
                        if self.ended:
                            break
            except (OSError, websockets.WebSocketException, TimeoutError):
                pass
            if not self.ended and self.stays:
                await asyncio.sleep(0.05 + rng.random() / 5)
                self.at = rng.choice([server for server in self.servers if server.process.poll() is None])

    def take(self, frame):
        kind = frame["type"]
        if kind == "joined":
            assert self.session in (None, frame["session"]), "another session"
            self.token, self.session = frame["token"], frame["session"]
            self.joined.set()
        if kind == "joined":
            # An instance that is a moment behind may say an older number: a client shows the smaller (docs/consistency.md).
            self.position = min(self.position or frame["position"], frame["position"])
        if kind == "position":
            assert frame["position"] <= self.position, (self.session, self.position, frame)
            self.position = frame["position"]
        if kind in ("admitted", "ended"):
            self.ended = kind if kind == "admitted" else frame["reason"]


wrong = []


async def until(condition, what):
    deadline = asyncio.get_running_loop().time() + WAIT
    while not (await asyncio.to_thread(condition)):
        assert not wrong, wrong
        assert asyncio.get_running_loop().time() < deadline, f"waited {WAIT} s in vain: {what}"
        await asyncio.sleep(0.05)


def absent(server, queue):
    """Who waits and is out of sight, by the log."""
    everyone, gone = set(), set()
    for event in server.events(queue):
        if event["type"] == "joined":
            everyone.add((event.get("lane", ""), event["ticket"]))
        if event["type"] == "everyone_disconnected":
            gone = set(everyone)
        change = {"connected": gone.difference_update, "disconnected": gone.update}.get(event["type"])
        if change:
            change({(place.get("lane", ""), place["ticket"] + n) for place in event["tickets"] for n in range(place["count"])})
    return gone


def agree(servers, queue):
    """All instances know the same, and it is what the log says."""
    wait_for(lambda: len({json.dumps(server.good("GET", f"/v1/queues/{queue}"), sort_keys=True) for server in servers}) == 1,
             what="all instances agree")
    logs = [server.events(queue) for server in servers]
    assert all(log == logs[0] for log in logs)
    check_log(logs[0])
    return logs[0]


async def story(servers):
    a, b, c = servers
    queue = a.queue(graceSeconds=3600)["id"]
    await until(lambda: all(server.call("GET", f"/v1/queues/{queue}")[0] == 200 for server in servers), "all know the queue")

    # A key that one makes opens the others, and does so no longer once it is revoked.
    key = b.good("POST", "/v1/keys", {"role": "operator"})
    await until(lambda: c.call("GET", f"/v1/queues/{queue}", key=key["key"])[0] == 200, "the key is known everywhere")
    a.good("DELETE", f"/v1/keys/{key['id']}")
    await until(lambda: c.call("GET", f"/v1/queues/{queue}", key=key["key"])[0] == 401, "the key is revoked everywhere")

    # A client that has not heard the answer repeats the request at whichever instance: all race for the key, and one makes it.
    def make(server):
        return server.good("POST", "/v1/keys", {"role": "integrator"}, headers={"Idempotency-Key": "one key"})

    made = await asyncio.gather(*[asyncio.to_thread(make, server) for server in servers for _ in range(3)])
    assert all(one == made[0] for one in made), made
    assert [one["id"] for one in a.good("GET", "/v1/keys")["items"]].count(made[0]["id"]) == 1
    await until(lambda: c.call("GET", f"/v1/queues/{queue}", key=made[0]["key"])[0] == 200, "the key is known everywhere")

    visitors = [await joined(Visitor(queue, servers), servers[number % 3]) for number in range(30)]
    assert [visitor.position for visitor in visitors] == list(range(1, 31)), "one line, whoever asks where"

    # One dies. Who comes back elsewhere has the same place, who does not is known to be away once the lease has lapsed.
    lost = [visitor for visitor in visitors if visitor.at is b][:4]
    for visitor in lost:
        visitor.stays = False
    b.kill()
    await until(lambda: len(absent(a, queue)) == len(lost), "those who have not come back are marked absent")
    assert all(visitor.at is not b for visitor in visitors if visitor.stays)
    assert [visitor.position for visitor in visitors] == list(range(1, 31))
    await asyncio.to_thread(b.start)
    for visitor in lost:
        visitor.stays = True
        visitor.start(b)
    await until(lambda: not absent(b, queue), "those who have come back are seen")

    # One stands still for longer than its lease. Its visitors are taken for gone, and are not.
    there = [visitor for visitor in visitors if visitor.at is a]
    assert there
    a.process.send_signal(signal.SIGSTOP)
    await until(lambda: len(absent(c, queue)) == len(there), "the visitors of the frozen one are marked absent")
    a.process.send_signal(signal.SIGCONT)
    await until(lambda: not absent(c, queue), "they are seen again")
    assert all(visitor.at is a for visitor in there), "nobody had to come back"

    # The same person with the same token elsewhere: the older connection gives way, whichever instance it is at.
    twice = rng.choice([visitor for visitor in visitors if visitor.at is a])
    async with websockets.connect(c.live) as other:
        await other.send(json.dumps({"type": "resume", "token": twice.token}))
        assert json.loads(await other.recv())["position"] == twice.position
        twice.stays = False
        await asyncio.wait_for(twice.socket.wait_closed(), WAIT)
        assert twice.socket.close_code == 4003, twice.socket.close_code
    twice.stays = True
    twice.start(b)
    await until(lambda: not absent(b, queue), "nobody is missed")

    await deletion(a, b, c)

    # All wait still, and now they are let in: whoever does it, in order, and not faster than was said.
    a.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 30, "maxConcurrentUsers": 1000})
    for victim in (a, b, c):
        before = sum(1 for visitor in visitors if visitor.ended)
        # Where a start takes long, all of them may be in by now.
        await until(lambda: sum(1 for visitor in visitors if visitor.ended) >= min(before + 1, len(visitors)), "people are let in")
        victim.kill()
        await asyncio.to_thread(victim.start)
    a.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 300})
    await until(lambda: all(visitor.ended == "admitted" for visitor in visitors), "everyone is let in")

    # One is drained: nobody is lost, and it ends well.
    late = [await joined(Visitor(queue, servers), c) for _ in range(6)]
    ends = asyncio.create_task(asyncio.to_thread(c.stop))
    assert await ends == 0
    a.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 6000})
    await until(lambda: all(visitor.ended == "admitted" for visitor in late), "those who were sent away are let in")
    await asyncio.to_thread(c.start)

    log = await asyncio.to_thread(agree, servers, queue)
    order = [event["ticket"] for event in log if event["type"] == "admitted"]
    assert sorted(order) == list(range(1, 37)) and len(order) == 36
    for visitor in visitors + late:
        await visitor.task


async def deletion(a, b, c):
    """A queue is deleted at one instance: people hear the same at every instance, and nobody can write to it any more."""
    queue = a.queue(maxConcurrentUsers=2, releaseRatePerMinute=60_000)["id"]
    people = []
    for server in (a, b, a, b):
        people.append(await joined(Visitor(queue, [server]), server))
    await until(lambda: people[0].ended and people[1].ended, "two are let in")
    # They are connected while it is deleted.
    sockets = []
    for visitor, server in zip(people[:2], (a, b)):
        sockets.append(await websockets.connect(server.live))
        await sockets[-1].send(json.dumps({"type": "resume", "token": visitor.token}))
        await frame(sockets[-1], "admitted")
    await until(lambda: c.call("GET", f"/v1/queues/{queue}")[0] == 200, "the third has the queue, too")
    await asyncio.to_thread(a.good, "DELETE", f"/v1/queues/{queue}")

    def is_gone():
        # Its last event may come to another instance a moment before word of the deletion.
        status, _, body = c.call("POST", f"/v1/queues/{queue}/join", {})
        assert (status, body["code"]) in [(409, "queue_closed"), (404, "no_such_queue")], (status, body)
        return status == 404

    await until(is_gone, "the third has heard of the deletion")
    assert c.call("PATCH", f"/v1/queues/{queue}", {"name": "x"})[0] == 404
    reasons = [(await frame(socket, "ended"))["reason"] for socket in sockets]
    assert reasons == ["expired", "expired"], reasons
    await until(lambda: all(visitor.ended for visitor in people), "those who wait are told")
    assert [visitor.ended for visitor in people[2:]] == ["closed", "closed"]
    # The same to those who ask later, wherever they do.
    for visitor, reason in zip(people, ["expired", "expired", "closed", "closed"]):
        async with websockets.connect(c.live) as socket:
            await socket.send(json.dumps({"type": "resume", "token": visitor.token}))
            assert (await frame(socket, "ended"))["reason"] == reason
    await until(lambda: all(server.call("GET", f"/v1/queues/{queue}")[0] == 404 for server in (a, b, c)), "it is gone everywhere")


async def frame(socket, kind):
    async with asyncio.timeout(WAIT):
        while (frame := json.loads(await socket.recv()))["type"] != kind:
            pass
    return frame


async def joined(visitor, server):
    visitor.start(server)
    await until(visitor.joined.is_set, "a place in line")
    return visitor


with Postgres() as postgres, ExitStack() as stack:
    uri = postgres.uri("app")
    psql(postgres.uri(), "CREATE DATABASE app")
    flags = ["--lease-seconds", str(LEASE), "--drain-seconds", "3"]
    with ThreadPoolExecutor(3) as pool:
        servers = list(pool.map(lambda _: Server(*flags, database=uri), range(3)))
    for server in servers:
        stack.enter_context(server)
    for table, count in (("tenants", 1), ("secrets", 2), ("keys", 1), ("queues", 1), ("instances", 3)):
        assert psql(uri, f"SELECT count(*) FROM {table}").strip() == str(count), table
    asyncio.run(story(servers))
    for server in servers:
        assert server.stop() == 0
