"""nginx and HAProxy with the files of Config/ in front of two instances: WebSockets, event streams and polls go through them,
and when an instance dies everybody goes on at the other."""

import asyncio
import json
import os
import subprocess
import tempfile
import urllib.request

import websockets

from databases import Postgres, free_port
from harness import KEY, Server, wait_for

CONFIG = f"{os.environ['PROJECT']}/Config"


def nginx(folder, port, targets):
    text = (open(f"{CONFIG}/nginx.conf").read().replace("listen 8000 ", f"listen 127.0.0.1:{port} ")
            .replace("worker_processes auto", "worker_processes 1").replace("server_tokens", f"proxy_temp_path {folder}/proxy;\n  server_tokens"))
    text = put(text, targets).replace("worker_rlimit_nofile 262144;", f"pid {folder}/pid;\nerror_log {folder}/errors;\ndaemon off;")
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(text.replace("worker_connections 65536", "worker_connections 1024"))
    return ["nginx", "-e", f"{folder}/errors", "-c", f"{folder}/nginx.conf"]


def haproxy(folder, port, targets):
    with open(f"{folder}/haproxy.cfg", "w") as file:
        text = open(f"{CONFIG}/haproxy.cfg").read().replace("bind :8000", f"bind 127.0.0.1:{port}").replace("65536", "1024")
        file.write(put(text, targets))
    return ["haproxy", "-db", "-q", "-f", f"{folder}/haproxy.cfg"]


def put(text, targets):
    """The instances that there are, in place of three."""
    lines = [line for line in text.splitlines() if "127.0.0.1:8082" not in line]
    return "\n".join(lines).replace("127.0.0.1:8080", targets[0]).replace("127.0.0.1:8081", targets[1]) + "\n"


class Visitor:
    """Comes back whenever the connection ends, with the token; as a browser does, it says from which page."""

    def __init__(self, address, queue):
        self.address, self.queue = address, queue
        self.session = self.token = self.position = None
        self.comebacks = 0

    async def live(self):
        while True:
            try:
                async with websockets.connect(f"ws://{self.address}/v1/live", open_timeout=5, origin=f"http://{self.address}") as socket:
                    await socket.send(json.dumps({"type": "resume", "token": self.token} if self.token else
                                                 {"type": "join", "queue": self.queue}))
                    async for text in socket:
                        frame = json.loads(text)
                        if frame["type"] == "joined":
                            assert self.session in (None, frame["session"])
                            self.comebacks += self.session is not None
                            self.session, self.token = frame["session"], frame["token"]
                        self.position = frame.get("position", self.position)
            except (OSError, websockets.WebSocketException, TimeoutError):
                await asyncio.sleep(0.1)


def open_url(request):
    request.add_header("X-Forwarded-For", "192.0.2.1")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def get(url):
    return open_url(urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"}))


def join(url):
    return open_url(urllib.request.Request(url, data=b"{}", headers={"Content-Type": "application/json"}))


async def until(condition, what, seconds=20):
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.02)


async def through(address, servers, queue):
    visitors = [Visitor(address, queue) for _ in range(20)]
    tasks = [asyncio.create_task(visitor.live()) for visitor in visitors]
    await until(lambda: all(visitor.session for visitor in visitors), "all have joined")
    held = [server.metric("stanchion_visitors_connected") for server in servers]
    assert all(held) and sum(held) == 20, held

    await until(lambda: all(server.good("GET", f"/v1/queues/{queue}")["waiting"] == 20 for server in servers), "both know of all")

    # An event is passed on as it comes: this stream never ends.
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"GET /v1/events?queue={queue}&after=0 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n".encode())
    await asyncio.wait_for(reader.readuntil(b"joined"), 30)

    # One dies. Polls are answered all the while, each of them.
    sessions = [visitor.session for visitor in visitors]
    servers[0].kill()
    polls = 0
    while sum(visitor.comebacks for visitor in visitors) < held[0]:
        assert (await asyncio.to_thread(get, f"http://{address}/v1/queues/{queue}"))["waiting"] == 20
        polls += 1
        assert polls < 2_000, "some do not come back"
    assert [visitor.session for visitor in visitors] == sessions
    assert sorted(visitor.position for visitor in visitors) == list(range(1, 21))
    await until(lambda: servers[1].metric("stanchion_visitors_connected") == 20, "all are with the other")

    # Whoever claims to be somebody else is not believed: a second join from that address would be refused.
    for _ in range(3):
        assert (await asyncio.to_thread(join, f"http://{address}/v1/queues/{queue}/join"))["status"] == "waiting"

    # And is back, and gets its share.
    await asyncio.to_thread(servers[0].start)
    before = servers[0].metric("stanchion_connections_accepted_total")

    def shared():
        get(f"http://{address}/v1/queues/{queue}")
        return servers[0].metric("stanchion_connections_accepted_total") > before + 40

    deadline = asyncio.get_running_loop().time() + 30
    while not await asyncio.to_thread(shared):
        assert asyncio.get_running_loop().time() < deadline, "who is back is not asked"
    for task in tasks:
        task.cancel()
    writer.close()


for proxy in (nginx, haproxy):
    with Postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        trusted = ("--trusted-proxies", "127.0.0.1/32", "--joins-per-address", "0.01:1")
        with Server(*trusted, database=postgres.uri()) as one, Server(*trusted, database=postgres.uri()) as two:
            port = free_port()
            process = subprocess.Popen(proxy(folder, port, [f"127.0.0.1:{server.port}" for server in (one, two)]))
            try:
                def answers():
                    try:
                        return get(f"http://127.0.0.1:{port}/health")["status"] == "ok"
                    except OSError:
                        return False

                wait_for(answers, what=f"{proxy.__name__} answers")
                queue = one.queue()["id"]
                asyncio.run(through(f"127.0.0.1:{port}", [one, two], queue))
            finally:
                process.terminate()
                process.wait(20)
