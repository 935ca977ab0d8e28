"""HTTP as curl and plain sockets speak it: keep-alive, pipelining, chunks, 100-continue, HEAD, half-close; nothing leaks."""

import os
import socket
import subprocess
import threading

from harness import KEY, Server, read_answers, rng, wait_for


def curl(*arguments, data=None):
    result = subprocess.run(["curl", "-sS", "--max-time", "10", *arguments], input=data, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def exchange(server, data, close=True):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(data)
        if close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer.decode()


with Server() as server:
    auth = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json"]
    queue = server.queue()["id"]
    join = f"{server.url}/v1/queues/{queue}/join"
    # A body in chunks, one after 100-continue, one with both in two requests on one connection.
    assert '"position":1' in curl(*auth, "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", join, data='{"user":"a"}')
    verbose = subprocess.run(["curl", "-sSv", *auth, "-H", "Expect: 100-continue", "-d", '{"user":"b"}', join], capture_output=True, text=True)
    assert "HTTP/1.1 100 Continue" in verbose.stderr and '"position":2' in verbose.stdout, verbose.stderr
    twice = subprocess.run(["curl", "-sSv", f"{server.url}/health", f"{server.url}/health"], capture_output=True, text=True)
    assert twice.stdout == '{"status":"ok"}' * 2 and "Re-using existing connection" in twice.stderr, twice.stderr
    assert "HTTP/1.1 200" in curl("-I", f"{server.url}/")
    assert curl("--http1.0", f"{server.url}/health") == '{"status":"ok"}'
    assert "HTTP/1.1 200" in curl("-i", "--http2", f"{server.url}/health"), "an offer of h2c is passed over"

    # Three requests in one packet: three answers, in order; the last one closes.
    answer = exchange(server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
                              b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", close=False)
    places = [answer.find(word) for word in ('{"status":"ok"}', '"not_found"', '"store"')]
    assert -1 not in places and places == sorted(places), answer
    # However many there are in one packet, and whatever is wrong with them, each is answered in its turn.
    for request, code in ((b"A /% HTTP/1.1\r\nHost:\r\n\r\n", 400), (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
                          (b"GET /v1/live HTTP/1.1\r\nHost: a\r\n\r\n", 426), (b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", 200),
                          (b"\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n", 200)):
        count = 260_000 // len(request)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            sender = threading.Thread(target=connection.sendall, args=(request * count,))
            sender.start()
            read_answers(connection, count, code)
            sender.join()
    # So is the first frame of a WebSocket that begins behind as many as a turn of the loop takes.
    for count in range(28, 36):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n" * count + b"GET /v1/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                               b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                               b"Sec-WebSocket-Protocol: stanchion.v1\r\n\r\n")
            answer = b""
            while b" 101 " not in answer or not answer.endswith(b"\r\n\r\n"):
                answer += connection.recv(65_536)
            connection.sendall(b"\x89\x81\0\0\0\0x")
            assert connection.recv(100) == b"\x8a\x01x", count
    # An offer of another protocol is passed over where there is none.
    assert " 200 " in exchange(server, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", close=False)
    assert "Connection: close" in exchange(server, b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", close=False)
    # Who has said all and closed its side still gets the answer.
    assert '{"status":"ok"}' in exchange(server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert exchange(server, b"GET /health HTTP/1.1\r\nHost:") == ""

    # Whatever becomes of connections, their descriptors come back.
    def descriptors():
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    def open_connections():
        return float(next(line.split()[1] for line in server.call("GET", "/metrics")[2].decode().splitlines() if line.startswith("stanchion_connections_open ")))

    wait_for(lambda: open_connections() == 1, what="the others' ends have been seen")
    before = descriptors()  # The store opens a few more for readers, as it needs them.
    upgrade = (b"GET /v1/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    events = f"GET /v1/events?queue={queue}&after=0 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    kinds = [b"", b"GET", b"nonsense\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", upgrade, upgrade + b"\x81\x80", upgrade + b"\xff" * 30, events]
    for _ in range(600):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(rng.choice(kinds))
        if rng.random() < 0.3:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # Ends with a reset.
        if rng.random() < 0.5:
            connection.settimeout(0.002)
            try:
                connection.recv(100)
            except (TimeoutError, ConnectionResetError):
                pass
        connection.close()
    wait_for(lambda: open_connections() == 1 and descriptors() <= before + 10, what="all descriptors back")
    assert server.stop() == 0
