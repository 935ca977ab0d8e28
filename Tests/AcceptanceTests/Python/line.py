"""The line as a visitor lives it, by a client that nobody here wrote (Python websockets)."""

import asyncio
import json
import time

import jwt
import websockets

from harness import KEY, Server, check_log, pieces, wait_for


class Visitor:
    def __init__(self, server, socket):
        self.server, self.socket, self.frames = server, socket, []
        self.task = asyncio.create_task(self.listen())
        self.closed = None

    @classmethod
    async def enter(cls, server, **first):
        self = cls(server, await websockets.connect(server.live, subprotocols=["stanchion.v1"]))
        await self.socket.send(json.dumps(first))
        return self

    async def listen(self):
        try:
            async for message in self.socket:
                self.frames.append((time.time(), json.loads(message)))
        except websockets.ConnectionClosed:
            pass
        finally:
            self.closed = self.socket.close_code

    def of(self, kind):
        return [frame for _, frame in self.frames if frame["type"] == kind]

    async def until(self, kind, seconds=60):
        async with asyncio.timeout(seconds):
            while not self.of(kind):
                await asyncio.sleep(0.01)
        return self.of(kind)[-1]

    async def end(self, seconds=60):
        await asyncio.wait_for(asyncio.shield(self.task), seconds)
        return self.closed


async def stands_and_is_let_in(server):
    queue = server.queue(releaseRatePerMinute=120, maxConcurrentUsers=100, redirectURL="https://shop.example/in?a=b")["id"]
    visitors = []
    for number in range(8):
        visitors.append(await Visitor.enter(server, type="join", queue=queue, displayName="V", metadata={"n": number}))
        await visitors[-1].until("joined")
    first = visitors[0].of("joined")[0]
    assert first["queue"]["id"] == queue and first["queue"]["status"] == "open" and first["token"].startswith("st1.")
    for visitor in visitors:
        await visitor.until("admitted")
    # In order, evenly, and positions never rose.
    times = [next(at for at, frame in visitor.frames if frame["type"] == "admitted") for visitor in visitors]
    assert times == sorted(times), times
    assert 3.0 < times[-1] - times[0] < 4.5, times[-1] - times[0]
    for visitor in visitors:
        positions = [frame["position"] for frame in visitor.of("joined") + visitor.of("position")]
        assert positions == sorted(positions, reverse=True), positions
    # Verified offline, with the published key alone.
    admission = visitors[3].of("admitted")[0]
    keys = jwt.PyJWKSet.from_dict(server.good("GET", "/.well-known/jwks.json"))
    header = jwt.get_unverified_header(admission["admission"])
    claims = jwt.decode(admission["admission"], keys[header["kid"]], algorithms=["ES256"], audience=server.good("GET", f"/v1/queues/{queue}")["slug"], issuer="stanchion")
    assert claims["queue"] == queue and claims["sub"] == claims["jti"] == visitors[3].of("joined")[0]["session"]
    assert admission["redirect"] == "https://shop.example/in?a=b&admission=" + admission["admission"]
    # Completed by the integrator, told to the visitor, finally.
    server.good("POST", f"/v1/sessions/{claims['sub']}/complete")
    assert server.good("POST", f"/v1/sessions/{claims['sub']}/complete")["status"] == "completed"
    assert (await visitors[3].until("ended"))["reason"] == "completed"
    assert await visitors[3].end() == 4500
    assert server.good("GET", f"/v1/queues/{queue}")["currentUsers"] == 7
    check_log(server.events(queue))
    for visitor in visitors:
        await visitor.socket.close()


async def keeps_the_place(server):
    queue = server.queue(graceSeconds=60)["id"]
    a = await Visitor.enter(server, type="join", queue=queue)
    token = (await a.until("joined"))["token"]
    b = await Visitor.enter(server, type="join", queue=queue)
    assert (await b.until("joined"))["position"] == 2
    # The phone is gone without a word.
    a.socket.transport.abort()
    await asyncio.to_thread(wait_for, lambda: server.good("GET", f"/v1/queues/{queue}/stats")["absent"] == 1, what="an absence")
    # Passed over while absent, next on coming back.
    server.good("PATCH", f"/v1/queues/{queue}", {"releaseRatePerMinute": 600, "maxConcurrentUsers": 1})
    await b.until("admitted")
    a = await Visitor.enter(server, type="resume", token=token)
    assert (await a.until("joined"))["position"] == 1
    # The visitor is answered first, the event written then.
    await asyncio.to_thread(wait_for, lambda: server.good("GET", f"/v1/queues/{queue}/stats")["absent"] == 0, what="the end of the absence")
    # A newer connection of the same session takes over.
    newer = await Visitor.enter(server, type="resume", token=token)
    await newer.until("joined")
    assert await a.end() == 4003
    assert server.good("GET", f"/v1/queues/{queue}/stats")["absent"] == 0
    # Somebody gives the place inside back: now it is the turn.
    await b.socket.send(json.dumps({"type": "leave"}))
    assert (await b.until("ended"))["reason"] == "left"
    await newer.until("admitted")
    await newer.socket.close()
    check_log(server.events(queue))


async def grace_ends(server):
    queue = server.queue(graceSeconds=5)["id"]
    a = await Visitor.enter(server, type="join", queue=queue)
    token = (await a.until("joined"))["token"]
    await a.socket.close()
    await asyncio.to_thread(wait_for, lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 0, 10, "the end of grace")
    back = await Visitor.enter(server, type="resume", token=token)
    assert (await back.until("ended"))["reason"] == "expired" and await back.end() == 4500
    # A visitor without a socket is in sight by asking: no one who polls loses the place, one who stops does.
    place = server.good("POST", f"/v1/queues/{queue}/join", {}, key=None)
    assert server.good("GET", f"/v1/queues/{queue}/position", key=place["token"])["position"] == 1
    assert server.good("GET", f"/v1/queues/{queue}/stats")["absent"] == 0


async def hears_the_operator(server):
    queue = server.queue(releaseRatePerMinute=60, maxConcurrentUsers=1)["id"]
    seen = await Visitor.enter(server, type="join", queue=queue)
    await seen.until("joined")
    hidden = await Visitor.enter(server, type="join", queue=queue)
    await hidden.until("joined")
    exact = await Visitor.enter(server, type="join", queue=queue, updates="exact")
    await exact.until("joined")
    await seen.until("admitted")
    await hidden.socket.send(json.dumps({"type": "visibility", "hidden": True}))
    await asyncio.sleep(0.2)
    server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "Grüße \"an\" alle\n", "severity": "warning"})
    for visitor in (seen, hidden, exact):
        word = await visitor.until("announcement")
        assert word["text"] == "Grüße \"an\" alle\n" and word["severity"] == "warning" and word["expiresAt"] is None
    late = await Visitor.enter(server, type="join", queue=queue)
    assert (await late.until("announcement"))["text"] == word["text"], "who comes later is told too"
    count = len(hidden.of("position"))
    server.good("POST", f"/v1/queues/{queue}/pause")
    assert (await exact.until("queue"))["status"] == "paused"
    assert (await exact.until("position"))["wait"] is None, "paused: no number"
    server.good("POST", f"/v1/queues/{queue}/resume")
    await asyncio.sleep(0.4)
    assert len(hidden.of("position")) == count, "a hidden tab gets no positions"
    # But its turn.
    await seen.socket.send(json.dumps({"type": "leave"}))
    await hidden.until("admitted")
    server.good("POST", f"/v1/queues/{queue}/close")
    assert (await exact.until("ended"))["reason"] == "closed" and await exact.end() == 4500
    check_log(server.events(queue))


async def is_greeted_in_one_piece(server):
    """A crowd that comes back is told all that was announced: not each word in a packet of its own."""
    queue = server.queue(releaseRatePerMinute=0)["id"]
    for number in range(20):
        server.good("POST", f"/v1/queues/{queue}/announcements", {"text": f"{number}"})
    visitor = await Visitor.enter(server, type="join", queue=queue)
    async with asyncio.timeout(60):
        while len(visitor.of("announcement")) < 20:
            await asyncio.sleep(0.01)
    # The answer to the handshake is among them.
    assert pieces(visitor.socket.transport.get_extra_info("socket")) <= 4


async def priority_says_why(server):
    queue = server.queue(priorityLanes=[{"name": "fast", "sharePercent": 100}])["id"]
    visitor = await Visitor.enter(server, type="join", queue=queue)
    assert (await visitor.until("joined"))["position"] == 1
    ahead = server.good("POST", f"/v1/queues/{queue}/join", {"user": "vip", "lane": "fast"})
    assert ahead["position"] == 1
    frame = await visitor.until("position")
    assert frame["position"] == 2 and frame["reason"] == "priority_lane", frame

    # The same for whom nobody could be told, and not for whom nobody can have overtaken.
    for token, position, reason in ((visitor.of("joined")[0]["token"], 2, "priority_lane"), (ahead["token"], 1, None)):
        back = await Visitor.enter(server, type="resume", token=token)
        frame = await back.until("joined")
        assert frame["position"] == position and frame.get("reason") == reason, frame


async def is_left_alone():
    """Nobody is looked for in a line where nothing can have moved, whatever is said to it."""
    with Server("--loops", "1") as server:
        queue = server.queue(releaseRatePerMinute=0)["id"]
        visitors = [await Visitor.enter(server, type="join", queue=queue, updates=mode) for mode in ("exact", "predicted")]
        for visitor in visitors:
            await visitor.until("joined")

        def sweeps():
            return server.metric("stanchion_sweep_seconds_count")

        def sweeps_later():
            before = sweeps()
            time.sleep(1.2)  # Longer than who asked for exact positions is kept waiting.
            return sweeps() - before

        await asyncio.to_thread(wait_for, lambda: sweeps() > 0 and sweeps_later() == 0, what="a line at rest")
        server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "all is well"})
        for visitor in visitors:
            await visitor.until("announcement")
        assert await asyncio.to_thread(sweeps_later) == 0, "an announcement moves nobody"
        server.good("POST", f"/v1/queues/{queue}/pause")
        for visitor in visitors:
            await visitor.until("position")


async def drains(server):
    queue = server.queue()["id"]
    visitors, tokens = [], []
    for _ in range(20):
        visitors.append(await Visitor.enter(server, type="join", queue=queue))
        tokens.append((await visitors[-1].until("joined"))["token"])
    assert await asyncio.to_thread(server.stop) == 0
    moments = [(await visitor.until("reconnect"))["afterSeconds"] for visitor in visitors]
    assert len(set(moments)) > 15, "everyone has a moment of their own"
    assert all([await visitor.end() == 1012 for visitor in visitors])
    server.start()
    back = [await Visitor.enter(server, type="resume", token=token) for token in tokens]
    assert [(await visitor.until("joined"))["position"] for visitor in back] == list(range(1, 21))


async def everything():
    with Server() as server:
        for story in (stands_and_is_let_in, keeps_the_place, grace_ends, hears_the_operator, is_greeted_in_one_piece, priority_says_why,
                      drains):
            print(story.__name__)
            await story(server)
    await is_left_alone()


asyncio.run(everything())
