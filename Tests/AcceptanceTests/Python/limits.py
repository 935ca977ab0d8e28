"""Floods: limits by connection, by address and in all, whose address it is, and what is counted of it."""

import re
import socket
import struct
import zlib

from harness import KEY, Server, exchange, masked, wait_for

UPGRADE = (b"GET /v1/live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Protocol: stanchion.v1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")


def status(answer):
    return int(answer.split(b" ")[1]) if answer else None


def upgrade(server, fields=b"", source="127.0.0.1", before=b""):
    """One handshake. Returns its status, and the connection where it is 101."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30, source_address=(source, 0))
    connection.sendall(before + UPGRADE + fields + b"\r\n")
    answer = connection.recv(4096)
    if status(answer) != 101:
        connection.close()
        return status(answer), None
    return 101, connection


def closed_with(connection):
    """The code of the close frame that comes, which is the last."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
            found = re.search(rb"\x88[\x02-\x7d]([\x03-\x12].)", data, re.S)
            if found:
                return struct.unpack(">H", found[1])[0]
    except OSError:
        pass
    return None


def readers_of_events(server):
    """They have a key and little to say, and the same budgets."""
    queue = server.queue()["id"]
    request = UPGRADE.replace(b"/v1/live", b"/v1/events?queue=%s" % queue.encode()) + b"Authorization: Bearer %s\r\n\r\n" % KEY.encode()
    for flood in (masked(9, b"x") * 200, masked(10, b"") * 200, masked(2, b"", first=0) + masked(0, b"", first=0) * 20_000):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        connection.sendall(request)
        assert status(connection.recv(4096)) == 101
        connection.sendall(masked(9, b"y"))
        try:
            connection.sendall(flood)
        except OSError:
            pass
        assert closed_with(connection) == 4008
        connection.close()


def what_is_inflated(server):
    """Few bytes of the network may bring many."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    message = b'{"type":"ping"%s}' % (b" " * 3_900)
    packed = (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    _, connection = upgrade(server, b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    connection.sendall(masked(1, b'{"type":"join","queue":"%s"}' % server.queue()["id"].encode()))
    connection.sendall(masked(1, packed, first=0xC0) * 30)
    assert closed_with(connection) == 4008
    connection.close()


def by_connection(server):
    queue = server.queue()["id"]
    join = b'{"type":"join","queue":"%s"}' % queue.encode()
    floods = {
        "messages": masked(1, join) + masked(1, b'{"type":"ping"}') * 200,
        "pings": masked(9, b"x") * 200,
        "pongs": masked(10, b"") * 200,
        "bytes": masked(1, b'{"type":"ping","x":"%s"}' % (b"x" * 3000)) * 40,
        # A million empty frames of one message cost their bytes.
        "empty frames": masked(1, b"", first=0) + masked(0, b"", first=0) * 20_000,
    }
    for name, flood in floods.items():
        _, connection = upgrade(server)
        try:
            connection.sendall(flood)
        except OSError:
            pass
        code = closed_with(connection)
        # Bytes that are no message are refused as such before there are too many of them.
        assert code == 4008 or (name == "bytes" and code == 4503), (name, code)
        connection.close()
    # Errors that leave the connection open are counted too.
    closed = server.queue()["id"]
    server.good("POST", f"/v1/queues/{closed}/close")
    _, connection = upgrade(server)
    for _ in range(5):
        connection.sendall(masked(1, b'{"type":"join","queue":"%s"}' % closed.encode()))
        assert b'"error"' in connection.recv(4096)
    connection.sendall(masked(1, b'{"type":"join","queue":"%s"}' % closed.encode()))
    assert closed_with(connection) == 4008
    assert server.metric('stanchion_refused_total{reason="messages"}') >= 5


def by_address():
    flags = ["--limit-loopback", "true", "--connections-per-address", "3", "--handshakes-per-address", "0.2:5", "--joins-per-address", "0.1:2"]
    with Server(*flags) as server:
        queue = server.good("POST", "/v1/queues", {"name": "Test", "releaseRatePerMinute": 0})["id"]
        opened = [upgrade(server, source="127.0.0.2")[1] for _ in range(3)]
        assert None not in opened
        answer, closed = exchange(server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", source="127.0.0.2")
        assert status(answer) == 429 and b"Retry-After: 30" in answer and b"too_many_connections" in answer and closed, answer
        # Another address is another matter; and who leaves makes room.
        assert upgrade(server, source="127.0.0.3")[0] == 101
        opened.pop().close()
        wait_for(lambda: status(exchange(server, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", source="127.0.0.2")[0]) == 200)
        for connection in opened:
            connection.close()
        wait_for(lambda: upgrade(server, source="127.0.0.2")[0] in (101, 429))
        answers = [upgrade(server, source="127.0.0.4") for _ in range(3)]
        for _, connection in answers:
            connection.close()
        wait_for(lambda: upgrade(server, source="127.0.0.4")[0] == 429, what="a refusal for too many handshakes")
        # Joins over REST and over WebSocket are one budget.
        post = f'POST /v1/queues/{queue}/join HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}'.encode()
        assert [status(exchange(server, post, source="127.0.0.5")[0]) for _ in range(3)] == [201, 201, 429]
        _, connection = upgrade(server, source="127.0.0.5")
        connection.sendall(masked(1, b'{"type":"join","queue":"%s"}' % queue.encode()))
        answer = connection.recv(4096)
        assert b'"rate_limited"' in answer and b'"retryAfterSeconds"' in answer, answer
        # Too loud: closed with 4008, and for a moment not let in again.
        _, loud = upgrade(server, source="127.0.0.6")
        loud.sendall(masked(9, b"") * 100)
        assert closed_with(loud) == 4008
        loud.close()
        assert upgrade(server, source="127.0.0.6")[0] == 429
        assert upgrade(server, source="127.0.0.7")[0] == 101
        talks_to_a_stream(server, queue)
        for reason in ("address", "handshakes", "joins", "messages"):
            assert server.metric(f'stanchion_refused_total{{reason="{reason}"}}') >= 1, reason


def by_requests():
    """Whoever asks without end is asked to wait, over however many connections, and harms nobody else."""
    with Server("--limit-loopback", "true", "--requests-per-address", "0.5:50") as server:
        request = b"GET /health HTTP/1.1\r\nHost: a\r\n"
        pipelined, closed = exchange(server, (request + b"\r\n") * 100, source="127.0.0.2")
        statuses = [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", pipelined)]
        # What stands behind the refusal is not looked at.
        assert statuses == [200] * 50 + [429] and closed and b'"rate_limited"' in pipelined and b"Retry-After: 1" in pipelined, statuses
        made_up = request + b"Authorization: Bearer sk_0123456789012345678901234567890123456789\r\nConnection: close\r\n\r\n"
        for text in (request + b"Connection: close\r\n\r\n", made_up):
            wait_for(lambda: status(exchange(server, text, source="127.0.0.2")[0]) == 429, what="a refusal")
        good = request + b"Authorization: Bearer %s\r\n\r\n" % KEY.encode()
        answers, _ = exchange(server, good * 100 + request + b"Connection: close\r\n\r\n", source="127.0.0.3")
        assert answers.count(b"HTTP/1.1 200 ") == 101, "a key is not charged, and its address has what it had"
        # Opening connections costs as much as asking.
        def is_refused():
            for _ in range(60):
                socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.4", 0)).close()
            return status(exchange(server, good, source="127.0.0.4", wait=1)[0]) == 429

        wait_for(is_refused, what="a refusal for opening too many")
        assert server.metric('stanchion_refused_total{reason="requests"}') >= 1
        wait_for(lambda: status(exchange(server, request + b"Connection: close\r\n\r\n", source="127.0.0.2")[0]) == 200, what="it is let in again")


def talks_to_a_stream(server, queue):
    """A reader of events has nothing to say, and is not listened to for ever."""
    with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.8", 0), timeout=30) as reader:
        reader.sendall(f"GET /v1/events?queue={queue}&after=0 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        answer = reader.recv(4096)
        assert b"text/event-stream" in answer
        reader.sendall(b"x" * 100_000)
        while more := reader.recv(4096):
            answer += more
        assert b'"rate_limited"' in answer, answer
    assert upgrade(server, source="127.0.0.8")[0] == 429


def in_all():
    with Server("--max-connections", "20") as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for connection in held:  # Answered, so taken: the loops take connections in no order.
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert status(connection.recv(4096)) == 200
        health = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer, closed = exchange(server, health)
        assert b"Retry-After: 10" in answer and b"this server is full" in answer and closed, answer
        # Those that it has are served, and there is room again as soon as one goes.
        held[0].sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status(held[0].recv(4096)) == 200
        for connection in held:
            connection.close()
        wait_for(lambda: server.call("GET", "/health")[0] == 200)
        assert server.metric('stanchion_refused_total{reason="connections"}') >= 1  # Who asked before there was room counts too.


def proxied(server, fields):
    """How often an address may shake hands before it is refused, at most 4 times."""
    count = 0
    while count < 4:
        got, connection = upgrade(server, fields, source="127.0.0.9")
        if got == 429:
            return count
        assert got == 101, got
        connection.close()
        count += 1
    return count


def behind_proxies():
    limits = ["--handshakes-per-address", "0.01:2"]
    with Server(*limits, "--trusted-proxies", "127.0.0.9,10.0.0.0/8") as server:
        for name, fields in {
            "X-Forwarded-For": b"X-Forwarded-For: 192.0.2.1\r\n",
            "with what the client claims": b"X-Forwarded-For: 203.0.113.9, 192.0.2.2, 10.1.2.3\r\n",
            "IPv6": b"X-Forwarded-For: 2001:db8:1:2:3::4\r\n",
        }.items():
            assert proxied(server, fields) == 2, name
        # A field that the proxy does not set is the client's own.
        assert proxied(server, b"Forwarded: for=198.51.100.9\r\nX-Forwarded-For: 192.0.2.1\r\n") == 0
        # The same network of 64 bits, and another one.
        assert proxied(server, b'X-Forwarded-For: 2001:db8:1:2:ffff::1\r\n') == 0
        assert proxied(server, b'X-Forwarded-For: 2001:db8:1:3::1\r\n') == 2
        # The client cannot choose: what stands left of the first that is not trusted is only claimed.
        assert proxied(server, b"X-Forwarded-For: 198.51.100.1, 192.0.2.1\r\n") == 0
        # Who is not trusted is not believed: a loopback peer that is nobody's proxy is not limited here.
        for _ in range(4):
            assert upgrade(server, b"X-Forwarded-For: 192.0.2.1\r\n", source="127.0.0.8")[0] == 101
    with Server(*limits, "--trusted-proxies", "127.0.0.9,10.0.0.0/8", "--client-address-header", "forwarded") as server:
        for name, fields in {
            "Forwarded": b'Forwarded: for=192.0.2.3;proto=https, for="10.0.0.1:99"\r\n',
            "IPv6": b'Forwarded: for="[2001:db8:1:2:3::4]:4711"\r\n',
        }.items():
            assert proxied(server, fields) == 2, name
        # Proxies that name their clients elsewhere make one address of them, and the log says so, once.
        for _ in range(2):
            proxied(server, b"X-Forwarded-For: 192.0.2.9\r\n")
        wait_for(lambda: "".join(server.output).count("names its clients in a field that is not read") == 1)
    with Server(*limits, "--trusted-proxies", "127.0.0.9/32", "--proxy-protocol", "true", "--handshake-seconds", "1") as server:
        def knock(before):
            got, connection = upgrade(server, source="127.0.0.9", before=before)
            if connection:
                connection.close()
            return got

        def version2(command, family, addresses):
            return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, family]) + struct.pack(">H", len(addresses)) + addresses

        one = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n"
        assert [knock(one) for _ in range(3)] == [101, 101, 429]
        assert [knock(b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n") for _ in range(3)] == [101, 101, 429]
        two = version2(1, 0x11, socket.inet_aton("192.0.2.2") + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 4711, 443))
        assert [knock(two) for _ in range(3)] == [101, 101, 429]
        six = socket.inet_pton(socket.AF_INET6, "2001:db8:5::1") * 2 + struct.pack(">HH", 1, 2) + b"\x04\x00\x03abc"  # With a TLV.
        assert [knock(version2(1, 0x21, six)) for _ in range(3)] == [101, 101, 429]
        # The proxy for itself is nobody.
        assert [knock(version2(0, 0, b"")) for _ in range(4)] == [101] * 4
        assert knock(b"PROXY UNKNOWN\r\n") == 101
        # In pieces it is the same; what is none, or late, is hung up on.
        answer, _ = exchange(server, *[bytes([byte]) for byte in b"PROXY UNKNOWN\r\nGET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
                             pause=0.001, source="127.0.0.9")
        assert status(answer) == 200, answer
        for wrong in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 080 443\r\n", b"PROXY TCP4 a b 1 2\r\n", b"PROXY " + b"x" * 200,
                      b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c" + b"x" * 12, version2(1, 0x11, b"short")):
            assert exchange(server, wrong, source="127.0.0.9") == (b"", True), wrong
        assert exchange(server, b"PROXY TCP4", source="127.0.0.9", wait=30) == (b"", True)
        assert server.metric('stanchion_slow_clients_total{kind="proxy_header"}') == 1
        # Others on the same port are taken without one.
        assert server.call("GET", "/health")[0] == 200


def joins_for(server, queue, origin, host="127.0.0.1", **fields):
    """What a page gets that has a browser join without asking before: no media type, no key."""
    return server.call("POST", f"/v1/queues/{queue}/join", "", key=None,
                       headers={"Origin": origin, "Host": host, "Content-Type": "text/plain", **fields})[0]


def origins():
    """A browser acts for pages of this server and of listed origins, over either protocol, and for no others."""
    global UPGRADE
    handshake, UPGRADE = UPGRADE, UPGRADE.replace(b"Host: a\r\n", b"")
    with Server("--allow-origin", "https://shop.example") as server:
        queue = server.queue()["id"]
        for origin, host, expected in [
            ("http://127.0.0.1", "127.0.0.1", 101), ("http://127.0.0.1:8080", "127.0.0.1:8080", 101), ("http://127.0.0.1", "127.0.0.1:80", 101),
            ("https://localhost", "LocalHost:443", 101), ("http://[::1]:81", "[::1]:81", 101), ("http://localhost", "localhost:81", 403),
            ("https://localhost", "localhost:80", 403), ("http://[::1]", "[::2]", 403), ("http://", "127.0.0.1", 403), ("x", "x", 403),
            ("https://shop.example", "127.0.0.1", 101), ("https://shop.example", "other.example", 101),
            # Whatever this server is called here.
            ("http://queue.example", "queue.example.", 101), ("http://queue.example:80", "queue.example:", 101), ("http://[0:0::1]", "[::1]", 101),
            ("null", "127.0.0.1", 403), ("http://evil.example", "127.0.0.1", 403), ("https://shop.example.evil", "127.0.0.1", 403),
            ("https://shop.example:444", "127.0.0.1", 403), ("file://", "127.0.0.1", 403),
        ]:
            assert upgrade(server, f"Host: {host}\r\nOrigin: {origin}\r\n".encode())[0] == expected, (origin, host)
            assert joins_for(server, queue, origin, host) == {101: 201}.get(expected, expected), (origin, host)
        assert server.good("GET", f"/v1/queues/{queue}")["waiting"] == 10, "another's page has taken a place"
        assert server.call("POST", f"/v1/queues/{queue}/join", {}, headers={"Origin": "https://evil.example"})[0] == 201, "a key is enough"
        assert status(exchange(server, b"POST /v1/queues/%s/join HTTP/1.0\r\nOrigin: http://a\r\nContent-Length: 0\r\n\r\n" % queue.encode())[0]) == 403
    # A page whose owner has its name lead here is the owner's.
    with Server("--hosts", "queue.example,[0:0:0:0:0:0:0:1]") as server:
        for host, expected in (("queue.example", 101), ("QUEUE.example.:81", 101), ("[::1]", 101), ("localhost", 421), ("evil.example", 421)):
            assert upgrade(server, f"Host: {host}\r\nOrigin: http://{host}\r\n".encode())[0] == expected, host
        # No browser, no page.
        assert upgrade(server, b"Host: localhost\r\n")[0] == 101
    UPGRADE = handshake


with Server() as server:
    what_is_inflated(server)
    by_connection(server)
    readers_of_events(server)
by_address()
by_requests()
in_all()
behind_proxies()
origins()
