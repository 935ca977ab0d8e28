"""What a byte may cost: connections in every state say what a grammar makes up, and a server may use for it no more than a stated function
of the bytes and of what else it is known to charge for. Whatever exceeds it is shortened and shown (COST_SECONDS, 30; TEST_SEED).

The measure is the processor time of the whole server, in units of a plain request to the same server, so that neither a slower machine
nor a build without optimization changes the verdict. Held connections cost nothing, and no more memory than they may.
"""

import json
import os
import random
import resource
import socket
import ssl
import sys
import tempfile
import time
import zlib

from harness import KEY, SEED, Server, certificate, masked, wait_for

SECONDS = float(os.environ.get("COST_SECONDS", "30"))
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE

# In units: what may be used for a connection as such, each piece that is sent, each byte, and each of what has a limit of its own.
CONNECTION, PIECE, BYTE = 20, 1.5, 1 / 200
CHARGED = {b" HTTP/1.": 1.5, b"/join ": 8, b"/v1/live ": 4, b"/v1/events": 8, b"/metrics ": 40}
# Bytes that a connection may hold in the process, and units a second that all that are held may use.
HELD, HELD_SECURE, IDLE = 24_000, 64_000, 10
COPIES = 100


# MARK: What is said

def deflated(payload, strategy=zlib.Z_DEFAULT_STRATEGY):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, strategy)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def marks(rng, most=9_000):
    """Text of so many bytes at most that takes long to compare: marks upon marks in the worst order, and what becomes longer or other text before it is compared."""
    count = rng.choice([1, 29, 100, 1_000, 2_300])
    text = rng.choice(["\u0301" * count + "\u0316" * count, "e\u0316\u0301" * count, "\ufdfa" * count, "\u1100\u1161\u11a8" * count,
                       "\U0001d15e" * count, "\u0344" * count])
    half = most // 2 // 4
    return (text if len(text.encode()) <= most else text[:half] + text[-half:]).encode()


def json_texts(rng):
    text = marks(rng, 3_960)
    return rng.choice([
        b'{"%s":1}' % text, b'{"type":"%s"}' % text, b'{%s:1}' % json.dumps(marks(rng, 1_000).decode()).encode(),
        b'{"type":"join","queue":"%s"}' % text, b'{"a":{"%s":1,"%s":2}}' % (marks(rng, 1_900), marks(rng, 1_900)),
        b'{"type":"ping"}', b'{"type":"nonsense"}', b'{"type":"leave"}', b'{"type":"visibility","hidden":true}',
        b"[" * rng.randint(1, 2_000), b'{"type":"ping",' + b",".join(b'"%d":0' % n for n in range(rng.randint(1, 400))) + b"}",
        b'"' + b"\\u0041" * rng.randint(1, 600) + b'"', b"1" * rng.randint(1, 4_000), b"1e" + b"9" * rng.randint(1, 300),
        b'{"type":"' + b"\xc3\xa4" * rng.randint(1, 1_500) + b'"}', b"\xff" * 9,
        b'{"a":' + b"[" * 1_500 + b"]" * 1_500 + b',"type":"ping"}', b'{"a":[' + b"[]," * 1_200 + b'0],"type":"ping"}',
        b'{"type":"resume","token":"' + b"A" * rng.randint(1, 600) + b'"}', b" " * rng.randint(1, 4_000), b"",
    ])


def blocks(rng):
    """A compressed message: of blocks of each kind, empty ones and bombs among them."""
    return rng.choice([
        b"\x00\x00\x00\xff\xff" * rng.randint(1, 800), b"\x03\x00" * rng.randint(1, 2_000), b"\x02" * rng.randint(1, 4_000),
        deflated(b"a" * rng.randint(1, 200_000)), deflated(bytes(rng.randrange(256) for _ in range(rng.randint(1, 3_000)))),
        deflated(json_texts(rng)), deflated(json_texts(rng), strategy=zlib.Z_FIXED),
        b"\x04\xc0\x81\x08\x00\x00\x00\x00\x20\x7f\xeb\x0b" * 40, bytes(rng.randrange(256) for _ in range(rng.randint(1, 200))), b"",
    ])


def frames(rng, deflates):
    """One to a few frames."""
    size = rng.choice([0, 1, 100, 125])
    kinds = [
        lambda: masked(9, b"x" * size), lambda: masked(10, b"x" * size), lambda: masked(1, json_texts(rng)), lambda: masked(2, b"x" * size),
        lambda: masked(1, b"", first=0) + masked(0, b"", first=0) * rng.randint(0, 200) + masked(0, json_texts(rng)),
        lambda: masked(1, b"{", first=0) + masked(9, b"") * rng.randint(0, 20) + masked(0, b"}"), lambda: b"\xff\xff\xff",
        lambda: masked(8, b"\x03\xe8" + b"x" * rng.randint(0, 123)), lambda: b"\x81\xff" + b"\0\0\0\0\0\0\xff\xff" + b"abcd",
        lambda: bytes(rng.randrange(256) for _ in range(rng.randint(1, 60))),
    ]
    if deflates:
        kinds += [lambda: masked(1, blocks(rng), first=0xC0)] * 6
        kinds += [lambda: masked(1, blocks(rng), first=0x40) + masked(0, blocks(rng))]
    return rng.choice(kinds)()


def fields(rng):
    name = rng.choice([b"X-%d" % rng.randint(0, 99), b"Cookie", b"Origin", b"Authorization", b"Accept-Encoding", b"X-Forwarded-For",
                       b"Host", b"Idempotency-Key", b"If-Match", b"If-None-Match", b"Forwarded", b"Content-Type", b"Last-Event-ID", b"Connection",
                       b"TE", b"Traceparent"])
    value = rng.choice([b"a" * rng.randint(0, 300), b"Bearer " + b"k" * rng.randint(0, 200), b"a," * rng.randint(0, 900),
                        b"a," * 4_800, b'"a",' * 2_400, b"127.0.0.1, " * 90, b"\xc3\xa4" * 20, b"https://" + b"a." * 100 + b"example",
                        marks(rng), b"https://" + marks(rng), b'"' + marks(rng) + b'"'])
    return name + b": " + value + b"\r\n"


PATHS = ["/", "/health", "/ready", "/nowhere", "/%zz", "/" + "a/" * 300, "/%61" * 200, "/v1/queues", "/v1/queues/%s",
         "/v1/queues/%s/position", "/v1/queues/%s/join", "/v1/queues/%s?slug=" + "%c3%a4" * 150, "/v1/queues?" + "a=b&" * 500,
         "/v1/sessions", "/v1/live", "/v1/events", "/v1/keys", "/%41" * 2_600, "/health?" + "&".join(f"{n:x}" for n in range(2_400)),
         "/v1/queues/" + "%cc%81" * 600 + "%cc%96" * 600 + "/position", "/v1/sessions?" + "%cc%81" * 600 + "%cc%96" * 600 + "=1",
         "/q/" + "%e1%84%80%e1%85%a1" * 300]


def requests(rng, queue):
    """A request, or the beginning of one."""
    path = rng.choice(PATHS).replace("%s", queue, 1).encode()
    method = rng.choice([b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PATCH", b"DELETE", b"OPTIONS", b"BREW"])
    head = method + b" " + path + b" HTTP/1.1\r\nHost: a\r\n" + b"".join(fields(rng) for _ in range(rng.choice([0, 0, 1, 5, 60])))
    body = rng.choice([b"", b"{}", json_texts(rng)])
    chunk = rng.choice([1, 7, 4_000])
    coded = b"".join(b"%x%s\r\n%s\r\n" % (len(part), rng.choice([b"", b";a=b"]), part) for part in
                     (body[at:at + chunk] for at in range(0, len(body), chunk)) if part)
    return head + rng.choice([
        b"\r\n", b"\r\n", b"Content-Length: %d\r\n\r\n" % len(body) + body, b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n",
        b"Content-Length: 4000\r\n\r\n" + body[:3_000], b"Transfer-Encoding: chunked\r\n\r\n" + coded,
        b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n", b"",
    ])


UPGRADE = (b"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: stanchion.v1\r\n")
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


class Life:
    """What one connection does: it comes into a state, and then says pieces, each so many times, cut into parts of so many bytes."""

    def __init__(self, rng, queue, secure=False):
        self.secure = secure
        self.state = rng.choice(["fresh", "fresh", "head", "body", "upgraded", "waiting", "waiting", "admitted", "reader", "closing"])
        self.deflates = rng.random() < 0.6
        live = self.state in ("upgraded", "waiting", "admitted")
        self.pieces = []
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            data = frames(rng, self.deflates) if live and rng.random() < 0.9 else b"".join(
                requests(rng, queue) for _ in range(rng.choice([1, 1, 2, 20])))
            if self.state in ("head", "body"):
                data = rng.choice([fields(rng), b"\r\n", b"a", b"1\r\n \r\n", b"\r\n\r\n", data])
            if rng.random() < 0.1:
                data = bytes(rng.randrange(256) for _ in range(rng.randint(1, 300)))
            self.pieces.append((data, rng.choice([1, 1, 5, 50, 200]), rng.choice([0, 0, 0, 1, 3, 100])))

    def copy(self, pieces):
        other = Life.__new__(Life)
        other.__dict__ = dict(self.__dict__, pieces=pieces)
        return other

    def __repr__(self):
        pieces = ", ".join(f"{count} × {data[:60]!r}{f'… ({len(data)} bytes)' if len(data) > 60 else ''} by {cut or 'all'}"
                           for data, count, cut in self.pieces)
        return f"{self.state}{' over TLS' if self.secure else ''}{', compressed' if self.deflates else ''}: {pieces}"

    def shorter(self):
        """Lives that say less."""
        for index, (data, count, cut) in enumerate(self.pieces):
            around = lambda *piece: self.copy(self.pieces[:index] + [*piece] + self.pieces[index + 1:])  # noqa: E731, B023
            yield around()
            if count > 1:
                yield around((data, count // 2, cut))
            if len(data) > 1:
                yield around((data[:len(data) // 2], count, cut))
                yield around((data[len(data) // 2:], count, cut))
            if cut:
                yield around((data, count, 0))

    def parts(self):
        for data, count, cut in self.pieces:
            if not cut:
                # Many small ones come in one piece, as fast as they can.
                yield data * count
                continue
            for _ in range(min(count, 20)):
                for at in range(0, min(len(data), 60 * cut), cut):
                    yield data[at:at + cut]


def fullest(queue, secure):
    """A request that makes the server hold as much as it may: a long head, all of its content in small chunks, a part of its trailer."""
    life = Life.__new__(Life)
    head = b"POST /v1/queues/%s/join HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" % queue.encode()
    head += b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1_000) for number in range(9))
    head += b"X-Last: %s\r\n" % (b"a" * 800)
    content = b"10\r\n" + b" " * 16 + b"\r\n"
    life.state, life.secure, life.deflates = "fresh", secure, False
    life.pieces = [(head + b"\r\n", 1, 0), (content, 250, 0), (b"0\r\nX-Trailer: " + b"a" * 1_000, 1, 0)]
    return life


# MARK: What it costs

class Costs:
    def __init__(self, server, tls):
        self.server, self.tls = server, tls
        self.clock = (~server.process.pid << 3) | 2
        self.sources = (f"127.{a}.{b}.{c}" for a in range(1, 255) for b in range(256) for c in range(1, 255))
        self.queue = server.good("POST", "/v1/queues", {"name": "Test", "releaseRatePerMinute": 0, "graceSeconds": 5}, tls=tls)["id"]
        self.open = server.good("POST", "/v1/queues", {"name": "Open", "releaseRatePerMinute": 6_000, "graceSeconds": 5}, tls=tls)["id"]
        self.unit = min(self.request() for _ in range(5))

    def now(self):
        return time.clock_gettime_ns(self.clock)

    def settled(self):
        """The server's processor time when it has nothing left to do."""
        quiet, last, until = 0, self.now(), time.monotonic() + 60
        while quiet < 4:
            if time.monotonic() > until:
                sys.exit(f"the server did not come to rest within a minute (TEST_SEED={SEED})")
            time.sleep(0.0005)
            now = self.now()
            quiet, last = (quiet + 1, now) if now - last < 1_000 else (0, now)
        return last

    def connect(self, secure):
        connection = socket.socket()
        connection.bind((next(self.sources), 0))
        connection.settimeout(60)
        connection.connect(("127.0.0.1", self.server.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return TLS.wrap_socket(connection) if secure else connection

    def request(self):
        connection = self.connect(self.tls)
        began = self.settled()
        for _ in range(200):
            connection.sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.recv(65_536)
        ended = self.settled()
        connection.close()
        return (ended - began) / 200

    def enter(self, life):
        """A connection in the life's state."""
        connection = self.connect(life.secure)
        queue = (self.open if life.state == "admitted" else self.queue).encode()
        match life.state:
            case "head": connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
            case "body": connection.sendall(b"POST /v1/queues/%s/join HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % queue)
            case "closing": connection.sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            case "upgraded" | "waiting" | "admitted":
                connection.sendall(b"GET /v1/live HTTP/1.1\r\n" + UPGRADE + (DEFLATE if life.deflates else b"") + b"\r\n")
                connection.recv(4_096)
                if life.state != "upgraded":
                    connection.sendall(masked(1, b'{"type":"join","queue":"%s"}' % queue))
                    connection.recv(65_536)
            case "reader":
                connection.sendall(b"GET /v1/events?queue=%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n" % (queue, KEY.encode()))
                connection.recv(65_536)
        return connection

    def cost(self, life):
        """Units that the life's words have used, and how many they may use."""
        connection, allowed = self.enter(life), CONNECTION
        connection.settimeout(0)
        before = self.settled()
        # The server may read no more.
        until = time.monotonic() + 5
        try:
            for part in life.parts():
                allowed += charged(part)
                while part and time.monotonic() < until:
                    try:
                        sent = connection.send(part)
                        allowed += PIECE * (1 + sent // 8_192) + BYTE * sent
                        part = part[sent:]
                    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                        self.read(connection)
                self.read(connection)
                if part:
                    break
        except OSError:
            pass  # It was sent away.
        used = self.settled() - before
        connection.close()
        self.settled()
        return used / self.unit, allowed

    def idle(self):
        before = self.now()
        time.sleep(1)
        return (self.now() - before) / self.unit

    def memory(self):
        return 4_096 * int(open(f"/proc/{self.server.process.pid}/statm").read().split()[1])

    def held(self, life):
        """Bytes that each of many connections holds that have said this and nothing more, and those connections."""
        before, connections = self.memory(), []
        for _ in range(COPIES):
            connection = self.enter(life)
            connections.append(connection)
            connection.settimeout(0)
            try:
                for part in life.parts():
                    connection.send(part)
            except OSError:
                pass  # It was sent away, or nobody reads.
        self.settled()
        return (self.memory() - before) / COPIES, connections

    @staticmethod
    def read(connection):
        try:
            while connection.recv(65_536):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            pass


def charged(part):
    """What the bytes ask for that has a limit of its own."""
    return sum(units * part.count(words) for words, units in CHARGED.items())


def exceeds(costs, life, times=1):
    """How many times as much as it may the life uses, at least."""
    worst = None
    for _ in range(times):
        used, allowed = costs.cost(life)
        worst = used / allowed if worst is None else min(worst, used / allowed)
        if worst <= 1:
            break
    return worst


def shortened(costs, life):
    until = time.monotonic() + 30
    improved = True
    while improved and time.monotonic() < until:
        improved = False
        for shorter in life.shorter():
            if exceeds(costs, shorter, 3) > 1:
                life, improved = shorter, True
                break
    return life


def search(costs, seconds, rng):
    until, count, worst = time.monotonic() + seconds, 0, (0, None)
    while time.monotonic() < until:
        life = Life(rng, costs.queue, bool(costs.tls))
        factor = exceeds(costs, life)
        count += 1
        if factor > 1 and (factor := exceeds(costs, life, 5)) > 1:
            life = shortened(costs, life)
            sys.exit(f"{factor:.1f} times what it may cost (TEST_SEED={SEED}), and still too much:\n{life}\n{life.pieces}")
        worst = max(worst, (factor, life), key=lambda found: found[0])
    print(f"{count} lives{' over TLS' if costs.tls else ''}, a unit is {costs.unit / 1_000:.0f} µs; nearest to its limit, {worst[0]:.2f}: {worst[1]}")


def hold(costs, seconds, rng):
    """Connections that stay as they are: none holds more than it may, and all together use next to nothing."""
    most = HELD_SECURE if costs.tls else HELD
    # The first ones meet a server that has grown to nothing yet.
    held = costs.held(Life(rng, costs.queue, bool(costs.tls)))[1]
    until, worst = time.monotonic() + seconds, (0, None)
    # More than once: what others have left behind is used up first.
    known = [fullest(costs.queue, bool(costs.tls))] * 3
    while (time.monotonic() < until or known) and len(held) < 10_000:
        life = known.pop() if known else Life(rng, costs.queue, bool(costs.tls))
        size, tries = None, 0
        # What the server keeps for all of them grows only once.
        while tries == 0 or size > most and tries < 3:
            more, connections = costs.held(life)
            size, held, tries = min(size or more, more), held + connections, tries + 1
        worst = max(worst, (size, life), key=lambda found: found[0])
        if size > most:
            sys.exit(f"{size:.0f} bytes for each connection (TEST_SEED={SEED}):\n{life}")
    # What those have left behind that were sent away comes to its end first.
    wait_for(lambda: costs.idle() < IDLE, what=f"{len(held)} connections that say nothing cost nothing")
    print(f"{len(held)} held connections, most bytes in one, {worst[0]:.0f}: {worst[1]}")
    for connection in held:
        connection.close()


def check(seconds, *flags):
    rng = random.Random(SEED)
    tls = TLS if flags else None
    with Server("--limit-loopback", "true", *flags) as server:
        search(Costs(server, tls), seconds * 2 / 3, rng)
        assert server.stop() == 0
    patient = [word for name in ("request", "keep-alive", "stall", "first-frame", "ping") for word in (f"--{name}-seconds", "600")]
    with Server("--limit-loopback", "true", *patient, *flags) as server:
        hold(Costs(server, tls), seconds / 3, rng)
        assert server.stop() == 0


if __name__ == "__main__":
    check(SECONDS * 2 / 3)
    with tempfile.TemporaryDirectory() as folder:
        pem, key = certificate(f"{folder}/a", "a.test")
        check(SECONDS / 3, "--tls-cert", pem, "--tls-key", key)
