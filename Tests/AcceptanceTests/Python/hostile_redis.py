"""A Redis that is somebody else's: what it says, leaves unsaid or says again costs a bounded time and memory, and is not taken for health."""

import os
import socket
import threading
import time

from harness import Server, wait_for

os.environ["STORE"] = "postgres"


class Redis:
    """Hands on what is published, and answers. What it does otherwise is in its flags."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.subscribers, self.speakers, self.heard = [], [], []
        self.is_mute = self.swallows = False
        self.refusal = None
        # One thing after the other to each connection.
        self.saying = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rb")
        try:
            while head := stream.readline():
                parts = []
                for _ in range(int(head[1:])):
                    parts.append(stream.read(int(stream.readline()[1:]) + 2)[:-2])
                self.take(connection, parts)
        except OSError:
            pass

    def take(self, connection, parts):
        self.heard.append(parts)
        with self.saying:
            self.answer(connection, parts, parts[0].upper())

    def answer(self, connection, parts, verb):
        if verb == b"SUBSCRIBE":
            if self.refusal:
                return connection.sendall(self.refusal)
            self.subscribers.append(connection)
            return connection.sendall(self.array(b"subscribe", parts[1]) + b":1\r\n")
        if verb == b"PUBLISH":
            self.speakers = [*self.speakers[-9:], connection]
            if not self.swallows:
                self.push(parts[1], parts[2])
        if not self.is_mute:
            connection.sendall({b"AUTH": b"+OK\r\n", b"SET": b"+OK\r\n", b"GET": b"$-1\r\n"}.get(verb, b":1\r\n"))

    @staticmethod
    def array(*parts):
        # A subscription's third element is its number.
        count = 3
        return b"*%d\r\n" % count + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)

    def say(self, connection, data):
        with self.saying:
            connection.sendall(data)

    def replay(self, channel, payload):
        with self.saying:
            self.push(channel, payload)

    def push(self, channel, payload):
        for subscriber in list(self.subscribers):
            try:
                subscriber.sendall(self.array(b"message", channel, payload))
            except OSError:
                self.subscribers.remove(subscriber)


def bus(server):
    return server.call("GET", "/ready", key=None)[2]["bus"]["status"]


def begin(redis, *flags, password=""):
    server = Server("--redis", f"redis://{password}127.0.0.1:{redis.port}", *flags)
    return server


def processor(server):
    fields = open(f"/proc/{server.process.pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def says_marks():
    """Comparing what it says takes time as its length."""
    redis = Redis()
    with begin(redis) as server:
        wait_for(lambda: bus(server) == "ok", what="the bus")
        queue = server.queue()["id"]
        word = ("\u0301" * 25_000 + "\u0316" * 25_000).encode()
        before = processor(server)
        redis.say(redis.subscribers[-1], redis.array(word, b"a", b"b") + b"-" + word[:60_000] + b"\r\n")
        assert server.call("POST", f"/v1/queues/{queue}/join", {})[0] == 201
        wait_for(lambda: any("carries nothing" in line for line in server.output), what="that the link was given up")
        wait_for(lambda: bus(server) == "ok", what="a new link")
        assert processor(server) - before < 2.5, processor(server) - before
        assert all(len(line) < 2_000 for line in server.output), "what it said is in the log, whole"


def makes_much_of_little():
    """A reply of many elements is as limited as one of a long one."""
    redis = Redis()
    with begin(redis) as server:
        wait_for(lambda: bus(server) == "ok", what="the bus")
        connection, sent = redis.speakers[-1], 0
        with redis.saying:
            try:
                connection.sendall(b"*1024\r\n")
                while sent < 20_000_000:
                    sent += connection.send(b"*1024\r\n" + b":1\r\n" * 1_024)
            except OSError:
                pass
        assert sent < 20_000_000, "twenty megabytes of one reply were taken"
        wait_for(lambda: any("a reply is too long" in line for line in server.output), what="the reason")
        wait_for(lambda: bus(server) == "ok", what="a new link")
        assert server.stop() == 0


def answers_nothing():
    redis = Redis()
    with begin(redis) as server:
        wait_for(lambda: bus(server) == "ok", what="the bus")
        redis.is_mute = True
        wait_for(lambda: any("it does not answer" in line for line in server.output), what="that the link was given up")
        redis.is_mute = False
        wait_for(lambda: bus(server) == "ok", what="a new link")


def says_the_same_again():
    """An old heartbeat says nothing of now."""
    redis = Redis()
    with begin(redis) as server:
        wait_for(lambda: bus(server) == "ok", what="the bus")
        channel, payload = next(parts for parts in redis.heard if parts[0] == b"PUBLISH")[1:]
        redis.swallows = True
        deadline = time.monotonic() + 20
        while bus(server) == "ok":
            assert time.monotonic() < deadline, "a bus that carries nothing is taken for one that does"
            redis.replay(channel, payload)
            time.sleep(0.3)
        redis.swallows = False
        wait_for(lambda: bus(server) == "ok", what="the bus again")


def sends_us_to_another():
    """Who is no cluster's node has nobody to send the password to."""
    redis, other = Redis(), Redis()
    with begin(redis, password=":topsecret@") as server:
        wait_for(lambda: bus(server) == "ok", what="the bus")
        redis.refusal = b"-MOVED 1 127.0.0.1:%d\r\n" % other.port
        for connection in redis.subscribers:
            connection.shutdown(socket.SHUT_RDWR)
        tries = sum(parts[0] == b"SUBSCRIBE" for parts in redis.heard)
        wait_for(lambda: sum(parts[0] == b"SUBSCRIBE" for parts in redis.heard) >= tries + 2, what="two more tries")
        assert not other.heard, other.heard
        assert not any("topsecret" in line for line in server.output)


for story in (says_marks, makes_much_of_little, answers_nothing, says_the_same_again, sends_us_to_another):
    print(story.__name__, flush=True)
    story()
