"""What a neighbour notices while one address, or three thousand, does the worst that it may, and how long a turn of a loop becomes.

The server's loop has a core, so that a turn is as long as its work and not as long as its wait for a processor. All else shares the
other one: the rest of the server, the neighbour, which goes first there, and the attacker, which goes last. The neighbour asks for its
position two hundred times a second, and somebody joins ten times a second; the calm before each attack is its measure.
"""

import http.client
import json
import os
import random
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

# Benchmarks/run itself, with what it has: Server, row, spread …
bench = None
SECONDS = float(os.environ.get("ATTACK_SECONDS", "10"))
START_SECONDS = float(os.environ.get("ATTACK_START_SECONDS", 35 - SECONDS))
ATTACKER, NEIGHBOUR, JOINER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
UPGRADE = ("GET /v1/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: stanchion.v1\r\n%s\r\n")
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


# MARK: The attacker, a process of its own

def frame(opcode, payload, first=0x80):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([first | opcode]) + length + b"\0\0\0\0" + payload


class Attacker:
    """Connections of one address to a server. What fails is no matter."""

    def __init__(self, port, queue, source=ATTACKER):
        self.port, self.queue, self.source = port, queue, source

    def connect(self, data=b"", window=None):
        connection = socket.socket()
        if window:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.bind((self.source, 0))
        connection.settimeout(0.5)
        try:
            connection.connect(("127.0.0.1", self.port))
            if data:
                connection.send(data)
            connection.setblocking(False)
            return connection
        except OSError:
            connection.close()
            return None

    def several(self, count, data=b"", window=None):
        """So many connections, of which each that ends is made anew by `repeat`."""
        self.again = lambda: self.connect(data, window)
        found = [self.again() for _ in range(count)]
        return [connection for connection in found if connection]

    def visitors(self, count, fields="", window=None):
        """Those whose handshakes are within the address' budget at once."""
        join = frame(1, b'{"type":"join","queue":"%s"}' % self.queue.encode())
        return self.several(count, (UPGRADE % fields).encode() + join, window)

    @staticmethod
    def say(connection, data, reads):
        """Sends what the kernel takes, and throws away what comes. False: the connection has ended."""
        try:
            if data:
                connection.send(data)
        except BlockingIOError:
            pass
        except OSError:
            return False
        try:
            return not reads or connection.recv(65_536) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def repeat(self, connections, data, pause=0.0, reads=True):
        while True:
            for index, connection in enumerate(connections):
                if not connection or not self.say(connection, data, reads):
                    if connection:
                        connection.close()
                    connections[index] = self.again()
                if pause:
                    time.sleep(pause)
            time.sleep(0.001)

    # Each attack goes on until it is killed.

    def connections(self):
        while True:
            if connection := self.connect():
                connection.close()

    def silence(self):
        held = self.several(2_000)
        self.repeat(held, b"", 0.01)

    def refusals(self):
        self.repeat(self.several(100), b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n" * 200)

    def strangers(self):
        self.repeat(self.several(100), b"GET /v1/queues/nobody/position HTTP/1.1\r\nHost: a\r\n\r\n" * 100)

    def metrics_unread(self):
        held = []
        while True:
            held = (held + self.several(20, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 100, window=2_048))[-1_900:]

    def heads(self):
        head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 90) for n in range(97))
        self.repeat(self.several(1_900, head), b"a")

    def bodies(self):
        head = b"POST /v1/queues/%s/join HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % self.queue.encode()
        self.repeat(self.several(1_900, head), b"1\r\n \r\n")

    def bodies_behind_long_heads(self):
        head = b"POST /v1/queues/%s/join HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n" % self.queue.encode()
        head += b"".join(b"X-%d: %s\r\n" % (n, b"a" * 90) for n in range(95)) + b"\r\n"
        self.repeat(self.several(1_900, head), b" ")

    def joins(self):
        request = b"POST /v1/queues/%s/join HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % self.queue.encode()
        self.repeat(self.several(100), request * 20)

    def handshakes(self):
        while True:
            for connection in self.visitors(50):
                connection.close()

    def pings(self):
        self.repeat(self.visitors(400, window=2_048), frame(9, b"x" * 100), 0.0004, reads=False)

    def nonsense(self):
        self.repeat(self.visitors(400), frame(1, b'{"type":"nonsense"}'), 0.0004)

    def empty_blocks(self):
        # Blocks of no bytes: a parser works for what brings nothing.
        message = frame(2, b"\x00\x00\x00\xff\xff" * 50, first=0xC0)
        self.repeat(self.visitors(400, DEFLATE), message, 0.0004)

    def bombs(self):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(b"a" * 60_000) + packer.flush(zlib.Z_SYNC_FLUSH)
        self.repeat(self.visitors(400, DEFLATE), frame(1, packed[:-4], first=0xC0), 0.0004)

    def tls_handshakes(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while True:
            if connection := self.connect():
                try:
                    connection.settimeout(0.5)
                    context.wrap_socket(connection).close()
                except OSError:
                    connection.close()

    def tls_silence(self):
        self.repeat(self.several(1_900, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), b"", 0.01)

    def many_addresses(self):
        """Three thousand addresses with four connections each, of which each does something else."""
        request = b"POST /v1/queues/%s/join HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % self.queue.encode()
        held = []
        for number in range(3_000):
            self.source = f"127.1.{number >> 8}.{number & 255}"
            held += self.several(1) + self.several(1, request) + self.several(1, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20, 2_048)
            held += self.visitors(1)
        self.again = lambda: None
        self.repeat(held, request)


# MARK: The neighbour

class Neighbour:
    def __init__(self, server, queue, tls=None):
        self.server, self.queue, self.tls = server, queue, tls
        self.failed = 0

    def connection(self, source):
        host, port = self.server.address.rsplit(":", 1)
        make = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        return make(host, int(port), timeout=30, source_address=(source, 0), **({"context": self.tls} if self.tls else {}))

    def join(self, connection):
        try:
            connection.request("POST", f"/v1/queues/{self.queue}/join")
            answer = connection.getresponse()
            data = answer.read()
            if answer.status == 201:
                return json.loads(data)["token"]
        except (OSError, http.client.HTTPException):
            connection.close()
        self.failed += 1
        return None

    def joins(self, until):
        """Others of the neighbourhood, each on a connection of its own."""
        while time.monotonic() < until:
            connection = self.connection(JOINER)
            self.join(connection)
            connection.close()
            time.sleep(0.1)

    def measure(self, seconds):
        """The seconds that each look at a position took."""
        until = time.monotonic() + seconds
        joiner = threading.Thread(target=self.joins, args=(until,))
        joiner.start()
        connection, waits = self.connection(NEIGHBOUR), []
        token = self.join(connection)
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                connection.request("GET", f"/v1/queues/{self.queue}/position", headers={"Authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                answer.read()
                self.failed += answer.status != 200
            except (OSError, http.client.HTTPException):
                connection.close()
                self.failed += 1
            waits.append(time.monotonic() - began)
            time.sleep(max(0.0, 0.005 - waits[-1]))
        joiner.join()
        connection.close()
        return sorted(waits)


def attack(server, queue, name):
    port = server.address.rsplit(":", 1)[1]
    return bench.start(bench.pinned(1, [sys.executable, __file__, port, queue, name]), preexec_fn=lambda: os.nice(10))


def give_loop_a_core(process):
    """The threads that those of the server start later stay where these are."""
    if os.cpu_count() < 2:
        return
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{thread}/comm") as name:
            os.sched_setaffinity(int(thread), {0 if name.read().startswith("loop-") else 1})


def certificate(folder):
    path = f"{folder}/own"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=a.test", "-keyout", f"{path}.key", "-out", f"{path}.pem"], check=True, capture_output=True)
    return ("--tls-cert", f"{path}.pem", "--tls-key", f"{path}.key")


ONE_ADDRESS = ["connections", "silence", "refusals", "strangers", "metrics_unread", "heads", "bodies",
               "bodies_behind_long_heads", "joins", "handshakes", "pings", "nonsense", "empty_blocks", "bombs"]
OVER_TLS = ["tls_handshakes", "tls_silence"]


def under(name, tls):
    """The neighbour's p99 in calm and under the attack, the longest turn under it, and the requests of neighbours that failed."""
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as folder:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        server = bench.Server("--limit-loopback", "true", *(certificate(folder) if tls else ()))
        give_loop_a_core(server.process)
        neighbour = Neighbour(server, None, context if tls else None)
        asking = neighbour.connection("127.0.0.1")
        asking.request("POST", "/v1/queues", json.dumps({"name": "bench", "releaseRatePerMinute": 0}),
                       {"Authorization": f"Bearer {bench.KEY}", "Content-Type": "application/json"})
        neighbour.queue = json.loads(asking.getresponse().read())["id"]
        # Turns are told for the last half minute, and those of the start are none of an attacker's.
        time.sleep(START_SECONDS)
        calm = neighbour.measure(SECONDS)
        before = turn(asking)
        attacker = attack(server, neighbour.queue, name)
        time.sleep(2)
        waits = neighbour.measure(SECONDS)
        asked = len(waits) + 10 * SECONDS
        longest = turn(asking)
        attacker.kill()
        attacker.wait()
        server.end()
    p99 = lambda values: values[int(0.99 * len(values))]  # noqa: E731
    return p99(calm), p99(waits), before, longest, neighbour.failed, asked


def turn(asking):
    asking.request("GET", "/metrics", headers={"Authorization": f"Bearer {bench.KEY}"})
    return float(re.search(r"^stanchion_loop_turn_max_seconds (\S+)$", asking.getresponse().read().decode(), re.M)[1])


def attacks():
    os.nice(-5) if os.geteuid() == 0 else None
    os.sched_setaffinity(0, {1} if os.cpu_count() > 1 else {0})
    try:
        for name in os.environ.get("ATTACKS", "").split() or ONE_ADDRESS + OVER_TLS + ["many_addresses"]:
            calm, loud, before, longest, failed, asked = under(name, name in OVER_TLS)
            said = name.replace("_", " ")
            bench.row(f"a neighbour's p99 under {said}", f"{1000 * loud:.2f} ms", f"calm {1000 * calm:.2f} ms", f"{loud / calm:.2f}", "",
                      "" if name == "many_addresses" else "≤ 2")
            bench.row(f"a neighbour's requests that failed under {said}", f"{failed / asked:.4f}", "", "", "",
                      "≤ 0.01" if name == "many_addresses" else "0")
            bench.row(f"the longest turn under {said}", f"{1000 * longest:.1f} ms", f"calm {1000 * before:.1f} ms", "", "", "≤ 5 ms")
    finally:
        os.sched_setaffinity(0, range(os.cpu_count()))


if __name__ == "__main__":
    random.seed(1)
    getattr(Attacker(int(sys.argv[1]), sys.argv[2]), sys.argv[3])()
