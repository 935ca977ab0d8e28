"""Whatever becomes of connections, all that they were counted for comes back: LIVES of them (1,500), from several addresses, plain and
over TLS, straight and through a proxy, are cut anywhere, refused at each step, and end in every way there is. Afterwards each address
may have exactly as many connections as before its first."""

import os
import random
import socket
import ssl
import struct
import tempfile
import threading
import time

from harness import KEY, SEED, Server, certificate, masked, wait_for

LIVES = int(os.environ.get("LIVES", "1500"))
MOST = 40  # connections of an address
ADDRESSES = [f"127.0.0.{n}" for n in range(2, 8)]
PROXY = "127.0.0.9"
CLIENTS = [f"203.0.113.{n}" for n in range(1, 4)]
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
UPGRADE = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
           "Sec-WebSocket-Protocol: stanchion.v1\r\n")


def frames(rng, queue):
    join = masked(1, b'{"type":"join","queue":"%s"}' % queue.encode())
    some = [join, masked(1, b'{"type":"leave"}'), masked(1, b'{"type":"ping"}'), masked(9, b"x"), masked(10, b""), masked(8, b"\x03\xe8"),
            masked(2, b"\0"), masked(1, b"{", first=0), b"\xff\xff", masked(9, b"y") * 60]
    return join * rng.randint(0, 1) + b"".join(rng.choices(some, k=rng.randint(0, 4)))


def says(rng, queue, forwarded):
    """What a connection sends in its life: requests, behind a proxy of several clients, and perhaps an upgrade with frames behind it."""
    def head(start, *fields):
        fields = [*fields, f"X-Forwarded-For: {rng.choice(CLIENTS)}\r\n"] if forwarded else fields
        return f"{start}\r\nHost: a\r\n{''.join(fields)}\r\n"

    key = f"Authorization: Bearer {KEY}\r\n"
    plain = UPGRADE.replace("Sec-WebSocket-Protocol: stanchion.v1\r\n", "")
    requests = [
        lambda: head("GET /health HTTP/1.1"), lambda: head("GET /nowhere HTTP/1.1"), lambda: head("GET /%zz HTTP/1.1"),
        lambda: head("GET /metrics HTTP/1.1"), lambda: head("HEAD / HTTP/1.1"), lambda: head("GET /v1/live HTTP/1.1"),
        lambda: head(f"POST /v1/queues/{queue}/join HTTP/1.1", "Content-Length: 0\r\n"),
        lambda: head(f"POST /v1/queues/{queue}/join HTTP/1.1", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
                     "Content-Type: application/json\r\n") + "2\r\n{}\r\n0\r\n\r\n",
        lambda: head("GET /v1/live HTTP/1.1", UPGRADE, "Origin: http://evil.example\r\n"), lambda: head("GET /v1/queues HTTP/1.1", key),
        # Upgrades that are refused only when they have been counted.
        lambda: head(f"GET /v1/events?queue={queue} HTTP/1.1", plain), lambda: head("GET /v1/events?queue=none HTTP/1.1", key, plain),
        lambda: head(f"GET /v1/events?queue={queue}&after=99999 HTTP/1.1", key), lambda: "nonsense\r\n\r\n", lambda: "\r\n",
        lambda: head("GET /health HTTP/1.0"),
    ]
    text = "".join(request() for request in rng.choices(requests, k=rng.randint(0, 4))).encode()
    match rng.randint(0, 4):
        case 0 | 1: return text + head("GET /v1/live HTTP/1.1", UPGRADE).encode() + frames(rng, queue)
        case 2: return text + head(f"GET /v1/events?queue={queue}&after=0 HTTP/1.1", key, plain).encode() + frames(rng, queue)
        case 3: return text + head(f"GET /v1/events?queue={queue}&after=0 HTTP/1.1", key).encode()
    return text


def live(rng, server, queue, isSecure):
    """One life."""
    source = rng.choice([*ADDRESSES, PROXY])
    connection = socket.socket()
    if rng.random() < 0.2:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    if rng.random() < 0.3:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.bind((source, 0))
    connection.settimeout(rng.choice([0.002, 0.02, 0.2]))
    try:
        connection.connect(("127.0.0.1", server.port))
        if isSecure:
            # Now and then its handshake goes no further than the first bytes.
            if rng.random() < 0.2:
                return connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[:rng.randint(0, 11)] if rng.random() < 0.8 else b"GET / HTTP/1.1\r\n\r\n")
            connection.settimeout(2)
            connection = TLS.wrap_socket(connection, server_hostname="a.test")
            connection.settimeout(0.02)
        data = says(rng, queue, source == PROXY)
        data = data[:rng.randint(0, len(data))] if rng.random() < 0.3 else data
        while data:
            part = len(data) if rng.random() < 0.6 else rng.randint(1, len(data))
            connection.sendall(data[:part])
            data = data[part:]
            if rng.random() < 0.3:
                connection.recv(rng.choice([1, 100, 65_536]))
        if rng.random() < 0.2 and not isSecure:
            connection.shutdown(socket.SHUT_WR)
        for _ in range(rng.randint(0, 2)):
            connection.recv(65_536)
    except OSError:
        pass
    finally:
        connection.close()


def holds(server, source, isSecure, forwarded=""):
    """Opens as many connections as the address may have, and one more; returns how many were taken."""
    opened = []
    try:
        for _ in range(MOST + 1):
            connection = socket.create_connection(("127.0.0.1", server.port), source_address=(source, 0), timeout=30)
            opened.append(connection)
            if isSecure:
                opened[-1] = connection = TLS.wrap_socket(connection, server_hostname="a.test")
            connection.sendall(f"GET /v1/live HTTP/1.1\r\nHost: a\r\n{forwarded}{UPGRADE}\r\n".encode())
            if b" 101 " not in connection.recv(4096):
                break
    except OSError:
        pass
    finally:
        for connection in opened:
            connection.close()
    return len(opened) - 1


def crowd(server, queue, isSecure, count):
    def some(number):
        rng = random.Random(f"{SEED}-{isSecure}-{number}")
        for _ in range(count // 8):
            live(rng, server, queue, isSecure)

    threads = [threading.Thread(target=some, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check(isSecure, *flags):
    rates = [f"--{name}" for name in ("handshakes-per-address", "requests-per-address", "joins-per-address", "tls-handshakes-per-address")]
    flags = [*flags, "--limit-loopback", "true", "--trusted-proxies", PROXY, "--connections-per-address", str(MOST),
             *(word for name in rates for word in (name, "1000000:1000000")), "--stall-seconds", "5", "--keep-alive-seconds", "10"]
    with Server(*flags) as server:
        tls = TLS if isSecure else None
        queue = server.good("POST", "/v1/queues", {"name": "Test", "releaseRatePerMinute": 0, "graceSeconds": 5}, tls=tls)["id"]
        calm = lambda: server.metric("stanchion_connections_open", tls=tls) == 1  # noqa: E731
        descriptors = lambda: len(os.listdir(f"/proc/{server.process.pid}/fd"))  # noqa: E731
        crowd(server, queue, isSecure, LIVES // 10)
        wait_for(calm, what="the first ones gone")
        before = descriptors()
        crowd(server, queue, isSecure, LIVES)
        wait_for(lambda: calm() and server.metric("stanchion_visitors_connected", tls=tls) == 0, what="all connections gone")
        assert descriptors() <= before + 8, (descriptors(), before)
        wait_for(lambda: server.good("GET", f"/v1/queues/{queue}", tls=tls)["waiting"] == 0, what="nobody in line")
        # A 4008 keeps an address out for a while.
        time.sleep(5)
        for source in ADDRESSES:
            wait_for(calm, what="the last address's connections gone")
            taken = holds(server, source, isSecure)
            assert taken == MOST, f"{source} may have {taken} connections and not {MOST}"
        for client in CLIENTS:
            wait_for(calm, what="the last client's connections gone")
            taken = holds(server, PROXY, isSecure, f"X-Forwarded-For: {client}\r\n")
            assert taken == MOST, f"{client} may have {taken} connections and not {MOST}"
        assert server.stop() == 0


check(False)
with tempfile.TemporaryDirectory() as folder:
    pem, key = certificate(f"{folder}/a", "a.test")
    check(True, "--tls-cert", pem, "--tls-key", key)
