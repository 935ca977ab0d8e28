"""TLS: versions, ALPN, names, tickets, bad and silent peers, new certificates under way, and an end that is said."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import websockets

from harness import Server, certificate, exchange, wait_for

folder = tempfile.mkdtemp(prefix="stanchion-tls-")


def made(name):
    return certificate(f"{folder}/{name}", name, f"DNS:*.{name}", "IP:127.0.0.1")


def context(**options):
    trusting = ssl.create_default_context(cadata="".join(open(f"{folder}/{name}.pem").read() for name in ("one.test", "two.test")))
    for name, value in options.items():
        setattr(trusting, name, value)
    return trusting


def connect(server, name="one.test", tls=None, session=None):
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    return (tls or context()).wrap_socket(plain, server_hostname=name, session=session)


def get(connection, path="/health"):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return connection.recv(65536)


def subject(connection):
    return dict(part[0] for part in connection.getpeercert()["subject"])["commonName"]


def openssl(server, *arguments, text=b""):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *arguments], input=text, capture_output=True, timeout=20)
    return (done.stdout + done.stderr).decode(errors="replace")


def hello(shares, length=None, padding=0):
    """A record with a ClientHello (RFC 8446 §4.1.2); `length`: what it says of its own."""
    def vector(size, *parts):
        return len(b"".join(parts)).to_bytes(size, "big") + b"".join(parts)

    def extension(number, *parts):
        return number.to_bytes(2, "big") + vector(2, *parts)

    extensions = vector(
        2, extension(43, vector(1, b"\x03\x04")), extension(10, vector(2, b"\x00\x1d")), extension(13, vector(2, b"\x04\x03\x08\x04")),
        extension(51, vector(2, *shares)), extension(21, bytes(padding)))
    body = b"\x03\x03" + b"r" * 32 + vector(1, b"s" * 32) + vector(2, b"\x13\x01") + b"\x01\x00" + extensions
    message = b"\x01" + (len(body) if length is None else length).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + vector(2, message)


def a_second_hello_is_no_longer_than_the_first(server):
    """Who offers no share is asked for one (HelloRetryRequest), and what is announced then would be given room at once."""
    share = b"\x00\x1d\x00\x20" + bytes(range(32))
    ccs = b"\x14\x03\x03\x00\x01\x01"
    for pieces, isAnswered in [
        ([hello([]), ccs + hello([share])], True), ([hello([]), hello([share])], True), ([hello([]), ccs + hello([share], 20_000)], False),
        ([hello([]) + ccs + hello([share], 131_000)], False), ([hello([share], 20_000)], False),
        # What OpenSSL passes over, between the two and within the first.
        ([hello([]), b"\x15\x03\x03\x00\x02\x01\x5a" + hello([share], 131_000)], False),
        ([hello([]), b"\x17\x03\x03\x00\x02ab" + hello([share], 131_000)], False),
        # A byte in each record, behind records that say nothing.
        ([hello([]), b"".join(ccs * 31 + b"\x16\x03\x03\x00\x01" + bytes([byte]) for byte in hello([share], padding=200)[5:])], False),
        ([b"\x16\x03\x01\x00\x01\x01", b"\x15\x03\x01\x00\x02\x01\x5a\x16\x03\x01\x00\x03\x01\xff\x00"], False),
    ]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            heard = b""
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    # A hello is answered; a part of one is not.
                    heard = connection.recv(65_536) if len(piece) > 6 else time.sleep(0.05)
                # A ServerHello is followed by what is encrypted (23).
                while isAnswered and b"\x17\x03\x03" not in heard:
                    assert (part := connection.recv(65_536)), "refused"
                    heard += part
                while not isAnswered and connection.recv(65_536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                assert not isAnswered


def versions_and_names(server):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with connect(server, tls=context(minimum_version=version, maximum_version=version)) as connection:
            assert connection.version() == version.name.replace("_", "."), connection.version()
            assert b'{"status":"ok"}' in get(connection)
    old = openssl(server, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert "Cipher is (NONE)" in old or "no protocols available" in old, old
    for name, expected in [("one.test", "one.test"), ("a.one.test", "one.test"), ("two.test", "two.test"), ("b.two.test", "two.test")]:
        with connect(server, name) as connection:
            assert subject(connection) == expected, (name, subject(connection))
    nobody = context(check_hostname=False)
    with connect(server, "three.test", tls=nobody) as connection:
        assert subject(connection) == "one.test"
    speaks = context()
    speaks.set_alpn_protocols(["h2", "http/1.1"])
    with connect(server, tls=speaks) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
    assert "no application protocol" in openssl(server, "-alpn", "h2")
    # A client that asks for renegotiation is answered with nothing that it could go on with.
    assert "RENEGOTIATING" in (text := openssl(server, "-tls1_2", text=b"R\n")) and "no renegotiation" in text, text


def new_keys_without_end(server):
    """A peer may change its keys, and not all the time: each change is a computation here."""
    def changed(times):
        """What a client is answered that changes its keys so often before it asks; None where it is hung up on."""
        client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        said = b""

        def hear(words, count=1):
            nonlocal said
            while said.count(words) < count:
                part = client.stdout.read(65536)
                if not part:
                    return False
                said += part
            return True

        try:
            hear(b"Verify return code")
            for number in range(times):
                client.stdin.write(b"k\n")
                # It reads one command at a time.
                if not hear(b"KEYUPDATE", number + 1):
                    return None
            client.stdin.write(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return said if hear(b'{"status":"ok"}') else None
        except BrokenPipeError:
            return None
        finally:
            client.kill()
            client.wait()

    assert changed(5)
    assert changed(500) is None


def tickets(server):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        tls = context(minimum_version=version, maximum_version=version)
        with connect(server, tls=tls) as connection:
            get(connection)
            session = connection.session
            assert session and not connection.session_reused
        with connect(server, tls=tls, session=session) as connection:
            assert connection.session_reused, version
            # Their keys outlive a reload.
        yield tls, session


async def a_line_goes_on(server, reload):
    """A visitor stays through a reload, and newcomers see the new certificate."""
    queue = server.good("POST", "/v1/queues", {"name": "Test", "releaseRatePerMinute": 0}, tls=context())["id"]
    async with websockets.connect(f"wss://one.test:{server.port}/v1/live", host="127.0.0.1", ssl=context(), subprotocols=["stanchion.v1"]) as visitor:
        await visitor.send('{"type":"join","queue":"%s"}' % queue)
        assert '"joined"' in await visitor.recv()
        await asyncio.to_thread(reload)
        await visitor.send('{"type":"ping"}')
        assert '"state"' in await visitor.recv()
        await visitor.send("x" * 3000)  # No JSON: an error, and the end of it.
        assert '"error"' in await visitor.recv()
        try:
            await visitor.recv()
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 4503, closed


one, two = made("one.test"), made("two.test")
flags = ["--tls-cert", f"{one[0]},{two[0]}", "--tls-key", f"{one[1]},{two[1]}", "--handshake-seconds", "1"]
with Server(*flags) as server:
    versions_and_names(server)
    a_second_hello_is_no_longer_than_the_first(server)
    new_keys_without_end(server)
    old_sessions = list(tickets(server))

    def serial():
        with connect(server) as connection:
            return connection.getpeercert()["serialNumber"]

    def reload():
        before = serial()
        made("one.test")  # A new one, under the same names of files.
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("certificates were read anew" in line for line in server.output))
        assert serial() != before
        open(f"{folder}/one.test.pem", "a").truncate(100)  # And a bad one.
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("could not be read anew; the old ones stay" in line for line in server.output))

    tls_with_old = context()
    asyncio.run(a_line_goes_on(server, reload))
    made("one.test")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: sum("certificates were read anew" in line for line in server.output) == 2)
    for tls, session in old_sessions:
        with connect(server, tls=tls, session=session) as connection:
            assert connection.session_reused, "tickets outlive a reload"

    # The end is said: close_notify comes before FIN, so a reader knows that it has everything.
    with connect(server, tls=context()) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):  # Raises where the end was cut off.
            answer += part
        assert answer.endswith(b'{"status":"ok"}')

    # Plain HTTP on this port is told so; noise is not talked to; silence ends.
    answer, closed = exchange(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"speaks HTTPS" in answer and closed, answer
    answer, closed = exchange(server, b"\x16\x03\x01\x00\x05hello")
    assert closed and b"HTTP" not in answer
    began = time.monotonic()
    assert exchange(server, wait=30) == (b"", True)
    assert exchange(server, b"\x16\x03\x01", wait=30) == (b"", True)
    assert server.metric('stanchion_slow_clients_total{kind="tls_handshake"}', tls=context()) == 2
    assert server.metric("stanchion_tls_handshakes_failed_total", tls=context()) >= 1
    assert server.metric("stanchion_connections_open", tls=context()) == 1, "the one that asks"

# A ticket is good for the rest of its key's period and one more, and then it is a whole handshake that is done.
with Server(*flags, "--tls-ticket-seconds", "1") as server:
    def is_resumed(tls, session):
        with connect(server, tls=tls, session=session) as connection:
            get(connection)
            return connection.session_reused

    for tls, session in list(tickets(server)):
        wait_for(lambda: not is_resumed(tls, session), what="a ticket's end")

# Of handshakes in progress there are so many and no more; the oldest of those that stall makes room, and silence takes none.
with Server(*flags, "--loops", "1", "--tls-handshakes", "3") as server:
    def knock():
        try:
            with connect(server) as connection:
                return b'{"status":"ok"}' in get(connection)
        except OSError:
            return False

    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(20)]
    stalled = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(3)]
    for connection in stalled:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        time.sleep(0.05)  # They begin in this order.
    assert knock(), "somebody is served beside them"
    # A first message that announces more than a client can mean gets no memory, however it is cut into records.
    for hello in (b"\x16\x03\x01\x00\x64\x01\x01\xff\xb8" + b"x" * 96,
                  b"".join(b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in b"\x01\x01\xff\xb8")):
        assert exchange(server, hello, wait=30) == (b"", True), hello
    stalled[0].settimeout(1)
    assert stalled[0].recv(1) == b"", "the oldest gave way"
    for connection in silent + stalled:
        connection.close()
    wait_for(lambda: server.metric("stanchion_connections_open", tls=context()) == 1, what="nothing left of them")
    assert server.metric('stanchion_refused_total{reason="tls_handshakes"}', tls=context()) >= 1

# What cannot be served with is said at the start.
open(f"{folder}/no.pem", "w").write("no certificate")
for flags, words in (
    ([f"{folder}/no.pem", one[1]], "no.pem is no certificate in PEM"), ([f"{folder}/none.pem", one[1]], "none.pem cannot be read: No such file"),
    ([one[0], f"{folder}/none.key"], "none.key cannot be read: No such file"), ([one[0], f"{folder}/no.pem"], "no.pem is no private key in PEM"),
    ([one[0], two[1]], f"{two[1]} is not the private key of {one[0]}"), ([one[0]], "tls-cert"),
):
    try:
        Server(*(part for pair in zip(("--tls-cert", "--tls-key"), flags) for part in pair))
    except AssertionError as problem:
        assert words in str(problem), problem
    else:
        raise AssertionError(flags)
subprocess.run(["rm", "-r", folder], check=True)
