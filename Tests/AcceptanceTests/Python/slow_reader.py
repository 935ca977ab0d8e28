"""A peer that never reads, a visitor or one that asks over HTTP: it costs the server little, hurts nobody, is sent away; a drain
does not wait for it for ever. One that reads slowly gets all of its answer."""

import asyncio
import json
import signal
import socket
import ssl
import struct
import tempfile
import time

import websockets

from harness import KEY, Server, certificate, deaf, read_answers, wait_for


def metric(server, name):
    return float(next(line.split()[1] for line in server.call("GET", "/metrics")[2].decode().splitlines() if line.startswith(name + " ")))


def resident(server):
    return int(next(line.split()[1] for line in open(f"/proc/{server.process.pid}/status") if line.startswith("VmRSS"))) * 1024


async def story(server):
    queue = server.queue()["id"]
    silent = [deaf(server, queue) for _ in range(20)]
    reader = await websockets.connect(server.live, max_queue=None)
    await reader.send(json.dumps({"type": "join", "queue": queue}))
    assert json.loads(await reader.recv())["type"] == "joined"
    wait_for(lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 21, what="everybody in line")
    before, said = resident(server), 0
    while metric(server, "stanchion_slow_consumers_closed_total") < 20:
        for _ in range(50):
            server.good("POST", f"/v1/queues/{queue}/announcements", {"text": "x" * 1900})
        said += 50
        assert said < 20_000, "nobody was sent away"
    assert resident(server) - before < 40_000_000, "who does not read costs much memory"
    heard = 0
    while heard < said:
        heard += json.loads(await asyncio.wait_for(reader.recv(), 30))["type"] == "announcement"
    wait_for(lambda: metric(server, "stanchion_visitors_connected") == 1, what="the silent ones to be gone")
    # They keep their places; that they are gone is committed a moment later.
    wait_for(lambda: server.good("GET", f"/v1/queues/{queue}/stats")["absent"] == 20, what="their places kept")
    for connection in silent:
        connection.close()
    await reader.close()


with Server() as server:
    asyncio.run(story(server))
    assert server.stop() == 0



CROWD = 300


def asks(server, count, fields="", window=4_096):
    """Asks for /metrics so often, and reads nothing yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    connection.send(f"GET /metrics HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode() * count, socket.MSG_DONTWAIT)
    return connection


def opened(server, tls=None):
    # Its own is one of them.
    return server.metric("stanchion_connections_open", tls=tls) - 1


def waiting(server, state):
    """The server's sockets in a state for which the kernel has something to send (proc(5), net/tcp: 04 is FIN-WAIT-1)."""
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    return [row for row in rows if int(row[1].split(":")[1], 16) == server.port and row[3] == state and int(row[4].split(":")[0], 16) > 0]


def http(server):
    before = resident(server)
    # More than the kernel takes of what is asked for; a half says that it will say nothing more.
    silent = [asks(server, 2_000) for _ in range(CROWD - 20)] + [asks(server, 1, "Connection: close\r\n", 2_048) for _ in range(20)]
    for connection in silent[::2]:
        connection.shutdown(socket.SHUT_WR)
    wait_for(lambda: opened(server) == CROWD, what="all to be there")
    # Each holds what a connection may, whatever it asked for.
    grown, length = resident(server) - before, len(server.call("GET", "/metrics", key=None)[2])
    assert length > 50_000 and grown < CROWD * 24_000, f"answers of {length} bytes that are not read cost {grown / CROWD} bytes each"
    wait_for(lambda: opened(server) == 0, what="all to be gone")
    slow = server.metric('stanchion_slow_clients_total{kind="reading"}')
    assert slow == CROWD, slow
    for connection in silent:
        connection.close()
    assert server.metric("stanchion_slow_consumers_closed_total") == 0


def in_the_kernel(server):
    """An answer that the kernel takes whole is given up in the same way: nothing is left of it when its connection is over."""
    silent = [asks(server, 1, "Connection: close\r\n", 2_048) for _ in range(20)]
    wait_for(lambda: len(waiting(server, "04")) == 20, what="the kernel to have their answers")
    wait_for(lambda: opened(server) == 0, what="all to be gone")
    assert not waiting(server, "04"), "the kernel holds what was sent to connections that are over"
    assert server.metric('stanchion_slow_clients_total{kind="reading"}') == 20
    for connection in silent:
        connection.close()


# A masked ping, which is answered with as many bytes, and a masked pong.
CONTROLS = bytes([0x89, 0x80 | 125, 0, 0, 0, 0]) + b"x" * 125 + bytes([0x8A, 0x80, 0, 0, 0, 0])


def talks(server, tls=None):
    """Clients that say something now and then, and never read the little that they are answered: the kernel has room for it, but what
    they say is no sign of life. There are a visitor and one that asks over HTTP; over TLS there is the latter."""
    before = server.metric('stanchion_slow_clients_total{kind="reading"}', tls=tls)
    speakers = [(asks(server, 0, window=2_048), b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")]
    if tls:
        # It must read until the handshake is done.
        speakers = [(tls.wrap_socket(connection, server_hostname="a.test"), words) for connection, words in speakers]
    else:
        speakers.append((deaf(server, server.queue()["id"]), CONTROLS))
    wait_for(lambda: opened(server, tls) == len(speakers), what="all to be there")

    def gone():
        # No more often than a visitor may.
        time.sleep(0.5)
        for connection, words in speakers:
            try:
                connection.sendall(words)
            except OSError:
                pass
        return opened(server, tls) == 0

    wait_for(gone, 60, "all to be gone, whatever they say")
    assert server.metric('stanchion_slow_clients_total{kind="reading"}', tls=tls) - before == len(speakers)
    for connection, _ in speakers:
        connection.close()


def steady(server, tls=None):
    """A client that is slow and goes on reading gets all that it asked for, though more waits than the kernel takes, and for longer
    than any time limit of the server's."""
    wanted, began = 60, time.monotonic()
    connection = asks(server, 0 if tls else wanted, window=65_536 if tls else 4_096)
    if tls:
        connection = tls.wrap_socket(connection, server_hostname="a.test")
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * wanted)
    read_answers(connection, wanted, 200, lambda: time.sleep(0.1 if time.monotonic() - began < 12 else 0))
    connection.close()


def resets_while_answered(server):
    """A client that is gone while its answer is being made is gone at once, not when the answer is there."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(f"GET /v1/system/profile?seconds=60 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
    wait_for(lambda: opened(server) == 1, what="it to be there")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    wait_for(lambda: opened(server) == 0, 30, what="it to be gone")


with Server("--stall-seconds", "6", "--answer-buffer-bytes", "16384") as server:
    http(server)
    steady(server)
    resets_while_answered(server)
    assert server.stop() == 0

with Server("--stall-seconds", "2") as server:
    in_the_kernel(server)
    talks(server)
    assert server.stop() == 0

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with tempfile.TemporaryDirectory() as folder:
    pem, key = certificate(f"{folder}/a", "a.test")
    with Server("--stall-seconds", "6", "--tls-cert", pem, "--tls-key", key) as server:
        steady(server, context)
        talks(server, context)
        assert server.stop() == 0

# A drain is bounded, also for those who never answer; a second SIGTERM ends at once.
for second in (False, True):
    with Server("--drain-seconds", "3") as server:
        queue = server.queue()["id"]
        silent = [deaf(server, queue) for _ in range(5)]
        wait_for(lambda: server.good("GET", f"/v1/queues/{queue}")["waiting"] == 5, what="everybody in line")
        server.process.send_signal(signal.SIGTERM)
        if second:
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
        # A drain that is done in time ends with 0, one that a second signal cuts short with that signal's status.
        assert server.process.wait(30) == (143 if second else 0), second
