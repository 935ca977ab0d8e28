"""Servers to test against, and small things that the scripts share."""

import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager

from databases import free_port, psql, wait_for  # noqa: F401

PROGRAM = os.environ["STANCHION"]
PROJECT = os.environ["PROJECT"]
SEED = int(os.environ.get("TEST_SEED", "1"))
KEY = "test-admin-key-" + "0123456789" * 3
rng = random.Random(SEED)


def exchange(server, *pieces, wait=5, pause=0.0, source="127.0.0.1"):
    """Sends pieces as they are, with pauses between; returns what comes, and whether the other side closed."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait, source_address=(source, 0)) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                if pause:
                    time.sleep(pause)
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionError) as problem:
            return answer, not isinstance(problem, TimeoutError)
    return answer, True


def masked(opcode, payload, first=0x80):
    """A client's frame."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([first | opcode]) + length + b"\0\0\0\0" + payload


def read_answers(connection, count, status, pause=lambda: None):
    """Reads until so many answers with the status have begun; calls `pause` before each further read."""
    line = b"HTTP/1.1 %d " % status
    got, tail = 0, b""
    while got < count:
        part = connection.recv(65_536)
        assert part, f"cut after {got} of {count} answers"
        tail += part
        got += tail.count(line)
        # A line may be cut, and is counted once.
        tail = tail[tail.rfind(line) + len(line) if line in tail else 0:][-len(line) + 1:]
        pause()


def clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("STANCHION")}


class Server:
    """A server process of one's own, on a free port, with a database of its own: a file in a temporary folder, or where
    STORE is `postgres`, one of the Postgres that the tests are run with."""

    def __init__(self, *flags, folder=None, port=0, prefix=(), database=None):
        self.folder = folder or tempfile.mkdtemp(prefix="stanchion-")
        self.owns = folder is None
        self.made = None
        if not database and os.environ.get("STORE") == "postgres":
            server = os.environ["TEST_POSTGRES"]
            self.made = "test_" + uuid.uuid4().hex
            psql(server, f"CREATE DATABASE {self.made}")
            database = server[:server.rindex("/") + 1] + self.made
        self.database = database or f"sqlite:{self.folder}/db"
        self.flags = flags
        self.prefix = list(prefix)
        self.port = port or free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [*self.prefix, PROGRAM, "serve", "--listen", f"127.0.0.1:{self.port}", "--database", self.database,
             "--admin-key", KEY, *self.flags],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment())
        self.output = []
        for line in self.process.stdout:
            self.output.append(line)
            found = re.match(r"Serving https?://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                break
        else:
            raise AssertionError("the server did not start: " + "".join(self.output))
        threading.Thread(target=lambda: self.output.extend(self.process.stdout), daemon=True).start()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Drains, and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, problem, *_):
        if self.process.poll() is None:
            self.kill()
        if problem:
            print(f"the server at {self.port} said last:", *self.output[-20:], sep="\n  ", file=sys.stderr)
        if self.made:
            psql(os.environ["TEST_POSTGRES"], f"DROP DATABASE {self.made} WITH (FORCE)")
        if self.owns:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def live(self):
        return f"ws://127.0.0.1:{self.port}/v1/live"

    def call(self, method, path, body=None, key=KEY, headers=None, timeout=60, tls=None):
        """A request. Returns status, headers and the body, as JSON where it is JSON."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=tls) if tls else \
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            fields = dict(headers or {})
            if key:
                fields["Authorization"] = f"Bearer {key}"
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            if body is not None:
                fields.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            data = response.read()
            if data and "json" in (response.getheader("Content-Type") or ""):
                data = json.loads(data)
            return response.status, response.headers, data
        finally:
            connection.close()

    def metric(self, name, **more):
        """A figure of /metrics; 0 where it has none yet."""
        text = self.call("GET", "/metrics", **more)[2].decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    def good(self, method, path, body=None, **more):
        status, _, data = self.call(method, path, body, **more)
        assert 200 <= status < 300, f"{method} {path}: {status} {data}"
        return data

    def queue(self, **settings):
        return self.good("POST", "/v1/queues", {"name": "Test", "releaseRatePerMinute": 0, **settings})

    def events(self, queue, after=0):
        """All events that there are, read from the log."""
        head = self.good("GET", f"/v1/queues/{queue}")["seq"]
        events = []
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", f"/v1/events?queue={queue}&after={after}", headers={"Authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        while not events or events[-1]["seq"] < head:
            line = response.readline().decode()
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
        connection.close()
        return events


def certificate(file, name, *alternatives):
    """A certificate for `name` that signs itself, and its key: the paths of both."""
    names = ",".join([f"DNS:{name}", *alternatives])
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{file}.key",
                    "-out", f"{file}.pem", "-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"],
                   check=True, capture_output=True)
    return f"{file}.pem", f"{file}.key"


def under_faketime(**variables):
    """A prefix for a server's command: it runs with another clock, which libfaketime's variables describe."""
    library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")[0]
    settings = " ".join(f"{name}={value}" for name, value in variables.items())
    # Under this library a Swift program does not find its arguments, so they go into its environment.
    return ["bash", "-c", f"""
        program=$1
        shift 2
        while [ $# -gt 1 ]; do
            name=${{1#--}} name=${{name^^}} name=${{name//-/_}}
            case $name in DATABASE | REDIS) name=${{name}}_URL;; esac
            export "STANCHION_$name=$2"
            shift 2
        done
        LD_PRELOAD={library} FAKETIME_DONT_FAKE_MONOTONIC=1 {settings} exec "$program"
        """, "bash"]


@contextmanager
def control_group(*places):
    """A control group with a limit, in whichever version there is: its folder, or nothing.

    `places` are where it may be made, the file there that the limit is written into, and the limit.
    """
    made = None
    for root, file, limit in places:
        folder = f"{root}/stanchion-test-{os.getpid()}"
        try:
            os.mkdir(folder)
            open(f"{folder}/{file}", "w").write(str(limit))
            made = folder
            break
        except OSError:
            if os.path.isdir(folder):
                os.rmdir(folder)
    try:
        yield made
    finally:
        if made:
            wait_for(lambda: not open(f"{made}/cgroup.procs").read(), what="the group to be empty")
            os.rmdir(made)


def memory_group(limit):
    return control_group(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", limit), ("/sys/fs/cgroup", "memory.max", limit))


def processor_group(share):
    """With the time of so many processors."""
    quota = int(share * 100_000)
    return control_group(("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", quota), ("/sys/fs/cgroup", "cpu.max", f"{quota} 100000"))


def within(group):
    """A prefix for a server's command: it runs in a control group."""
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]


class Hog:
    """Somebody else in a control group, who takes memory."""

    def __init__(self, group):
        program = "import sys; keep = []\nfor line in sys.stdin: keep.append(bytearray(b'x' * int(line))); print(1)"
        self.process = subprocess.Popen([*within(group), "python3", "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take(self, size):
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self):
        self.process.kill()
        self.process.wait()


def check_log(events, first=1):
    """Invariants 1 and 2 of the log: gapless; a session has one state and is admitted once."""
    assert [event["seq"] for event in events] == list(range(first, first + len(events))), "a gap in seq"
    assert all(a["at"] <= b["at"] for a, b in zip(events, events[1:])), "time runs backwards"
    state = {}
    allowed = {None: {"joined"}, "joined": {"admitted", "left", "expired"}, "admitted": {"completed", "left", "expired"}}
    for event in events:
        session = event.get("session")
        if session and event["type"] in ("joined", "admitted", "completed", "left", "expired"):
            before = state.get(session)
            assert event["type"] in allowed.get(before, ()), f"{session}: {event['type']} after {before}"
            state[session] = event["type"]
    return state


HANDSHAKE = (b"GET /v1/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


def pieces(connection):
    """How many packets with something in them have come: `tcpi_data_segs_in` of linux/tcp.h."""
    return struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 152)[0]


def visitor(server, queue, buffer=None):
    """Asks for a place, and reads nothing yet."""
    join = json.dumps({"type": "join", "queue": queue}).encode()
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(HANDSHAKE + bytes([0x81, 0x80 | len(join), 0, 0, 0, 0]) + join)
    return connection


def deaf(server, queue):
    """A visitor who joins and never reads."""
    return visitor(server, queue, buffer=4096)
