"""Those who use the queue: visitors who come, go away, come back and are let in; integrators who follow; an operator."""

import asyncio
import json
import random
import time

import websockets

from checker import Display, Stream, demand
from harness import KEY

#: Close codes after which a client does not come back by itself.
FINAL = range(4500, 5000)


class Visitor:
    def __init__(self, crowd):
        self.crowd = crowd
        self.token = self.session = self.end = None
        self.socket, self.display = None, Display()
        self.stale, self.was_stale = False, False

    async def live(self):
        while not self.end and not self.crowd.is_over:
            server = self.server = self.crowd.rng.choice(self.crowd.world.servers)
            pause = self.crowd.rng.uniform(0.1, 1)
            try:
                async with websockets.connect(server.live, ping_interval=None, open_timeout=6, close_timeout=1, compression=None,
                                              max_queue=None) as self.socket:
                    pause = await self.stay() or pause
            except (OSError, websockets.WebSocketException, TimeoutError, asyncio.TimeoutError):
                pass
            finally:
                self.socket = None
                self.display.hold(time.monotonic())
            if not self.end and not self.crowd.is_over:
                await asyncio.sleep(pause)
        self.crowd.visitors.discard(self)

    async def stay(self):
        """One connection. Returns how long to wait before the next one, where somebody said so."""
        await self.socket.send(json.dumps({"type": "resume", "token": self.token} if self.token else
                                          {"type": "join", "queue": self.crowd.queue}))
        async for text in self.socket:
            frame = json.loads(text)
            kind = frame["type"]
            if kind in ("joined", "position"):
                self.crowd.check(self.display.take, frame, time.monotonic())
            if kind == "joined":
                # Where it is not so, `state` follows.
                self.stale = False
                if self.session is None:
                    self.crowd.acknowledged.add(frame["session"])
                elif self.session != frame["session"]:
                    self.crowd.wrong.append(f"{self.session} became {frame['session']}")
                self.token, self.session = frame["token"], frame["session"]
            elif kind == "admitted":
                self.end = self.crowd.told[self.session] = "admitted"
                self.crowd.let_in.append(self.session)
                return None
            elif kind == "ended":
                self.end = self.crowd.told[self.session] = frame["reason"]
                return None
            elif kind == "state":
                self.stale = frame["state"] == "stale"
                self.was_stale |= self.stale
            elif kind == "error":
                return frame.get("retryAfterSeconds", 1) * self.crowd.rng.uniform(0.2, 1)
            elif kind == "reconnect":
                return frame["afterSeconds"]
        if self.socket.close_code in FINAL and not self.end:
            self.crowd.wrong.append(f"{self.session} is sent away for good ({self.socket.close_code}) without a word")
            self.end = "sent away"
        return None

    def __str__(self):
        return f"{self.session}, at {self.server.port}"


class Integrator:
    """Follows the log over server-sent events, from wherever it had got to."""

    def __init__(self, crowd):
        self.crowd, self.stream = crowd, Stream()

    async def live(self):
        while not self.crowd.is_over:
            server = self.crowd.rng.choice(self.crowd.world.servers)
            try:
                await self.follow(server)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.2)

    async def follow(self, server):
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", server.port, limit=1 << 22), 5)
        try:
            epoch = f"&epoch={self.stream.epoch}" if self.stream.epoch else ""
            writer.write(f"GET /v1/events?queue={self.crowd.queue}&after={len(self.stream.events)}{epoch} HTTP/1.1\r\nHost: a\r\n"
                         f"Authorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n".encode())
            status = await asyncio.wait_for(reader.readline(), 10)
            if b" 409 " in status:
                # Told that the log is another one: only where it is.
                self.crowd.check(demand, self.stream.epoch in self.crowd.lost_epochs, "told of another log, and it is the same")
                self.stream = Stream()
            if b" 200 " not in status:
                return
            # Whoever reads a log anew has tens of thousands of lines before them: waited for by the block.
            rest = b""
            while data := await asyncio.wait_for(reader.read(1 << 18), 20):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(b'data: {"seq"'):
                        self.crowd.check(self.stream.take, json.loads(line[6:]))
        finally:
            writer.close()


class Crowd:
    def __init__(self, world, queue, seed, size):
        self.world, self.queue, self.epoch, self.size, self.rng = world, queue["id"], queue["epoch"], size, random.Random(seed)
        self.visitors, self.acknowledged, self.told, self.let_in, self.wrong = set(), set(), {}, [], []
        self.integrators = [Integrator(self) for _ in range(2)]
        self.is_over, self.is_quiet = False, False
        self.lost_epochs = set()
        self.tasks = []

    def check(self, rule, *what):
        try:
            rule(*what)
        except AssertionError as problem:
            self.wrong.append(str(problem))

    def start(self):
        for one in (*(integrator.live() for integrator in self.integrators), self.arrive(), self.go(), self.operate(), self.complete()):
            task = asyncio.create_task(one)
            task.add_done_callback(lambda task: task.cancelled() or task.exception() and self.wrong.append(repr(task.exception())))
            self.tasks.append(task)

    async def arrive(self):
        """As many as there is room for, some hundreds a second."""
        while not self.is_over:
            if not self.is_quiet:
                for _ in range(min(40, self.size - len(self.visitors))):
                    visitor = Visitor(self)
                    self.visitors.add(visitor)
                    self.tasks.append(asyncio.create_task(visitor.live()))
            await asyncio.sleep(0.1)

    async def go(self):
        """Some leave, and some only go out of sight for a while."""
        while not self.is_over:
            await asyncio.sleep(0.1)
            here = [visitor for visitor in self.visitors if visitor.socket and visitor.session and not visitor.end]
            if self.is_quiet or not here:
                continue
            for visitor in self.rng.sample(here, min(4, len(here))):
                try:
                    if self.rng.random() < 0.2:
                        await visitor.socket.send('{"type":"leave"}')
                    else:
                        visitor.socket.transport.abort()
                except (AttributeError, OSError, websockets.WebSocketException):
                    pass

    async def operate(self):
        path = f"/v1/queues/{self.queue}"
        while not self.is_over:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5))
            if not self.is_quiet:
                await self.call(*self.rng.choice([
                    ("PATCH", path, {"releaseRatePerMinute": self.rng.choice([600, 1200, 2400])}),
                    ("PATCH", path, {"maxConcurrentUsers": self.rng.choice([50, 100, 200])}),
                    ("POST", path + "/pause", None), ("POST", path + "/resume", None), ("POST", path + "/resume", None),
                    ("POST", path + "/announcements", {"text": "Soon.", "severity": "info"}),
                ]))

    async def complete(self):
        while not self.is_over:
            await asyncio.sleep(0.05)
            while self.let_in and not self.is_quiet:
                session = self.let_in.pop(0)
                if (await self.call("POST", f"/v1/sessions/{session}/complete"))[0] not in (200, 404, 409):
                    self.let_in.append(session)
                    break

    async def call(self, method, path, body=None):
        """Asks any instance; (0, nothing) where it does not answer."""
        server = self.rng.choice(self.world.servers)
        try:
            status, _, data = await asyncio.to_thread(server.call, method, path, body)
            return status, data
        except OSError:
            return 0, None

    def begin_anew(self, acknowledged):
        """The store has been restored from an older copy, of which these were told."""
        self.acknowledged = acknowledged
        self.lost_epochs |= {integrator.stream.epoch for integrator in self.integrators}

    def all_follow(self, epoch):
        """Every instance tells this history from here on. Until it had noticed, it told of the one that is lost."""
        if epoch != self.epoch:
            self.epoch, self.told = epoch, {}

    async def stop(self):
        self.is_over = True
        left = {task for task in self.tasks if not task.done()}
        # More than once: a client that is connecting just then may take the first word of it for a time limit.
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=2)
