"""Readers of events who read slowly, or not at all: none misses an event without being told. A revoked key ends a reader."""

import asyncio
import json
import socket
import sqlite3
import time

import websockets

from harness import KEY, Server, wait_for

PAGE, RANGES, LONG = 100, 2_500, 120_000


def fill(server, queue):
    """Puts pages into the log that are larger than what may wait for a reader, and an entry that is so by itself."""
    with sqlite3.connect(f"{server.folder}/db") as db:
        row, tenant, head, at = db.execute("SELECT id, tenant_id, head, last_event_at FROM queues WHERE slug = ?", (queue,)).fetchone()
        for number in range(1, PAGE + 1):
            count = LONG if number == PAGE // 2 else RANGES
            ranges = json.dumps([[2 * ticket + 1, 1] for ticket in range(count)])
            db.execute("INSERT INTO log (queue_id, seq, tenant_id, at, type, data) VALUES (?, ?, ?, ?, 'disconnected', ?)",
                       (row, head + number, tenant, at, ranges))
        db.execute("UPDATE queues SET head = ? WHERE id = ?", (head + PAGE, row))
    db.close()
    return head + PAGE


def begin(server, queue, after=0, key=KEY, buffer=4096):
    """Asks for the events, and reads nothing yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET /v1/events?queue={queue}&after={after} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    return connection


def blocks(connection):
    """What stands between two blank lines, whole."""
    rest = b""
    while part := connection.recv(262_144):
        *whole, rest = (rest + part).split(b"\n\n")
        for block in whole:
            # A comment, too, which is all that comes where the rest was lost.
            yield dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line and not line.startswith(b":"))


def read(connection, upto):
    """The seqs that come, and the error that ends them."""
    seqs, deadline = [], time.monotonic() + 60
    try:
        for fields in blocks(connection):
            assert time.monotonic() < deadline, f"nothing comes after {seqs[-1:]}"
            if fields.get(b"event") == b"error":
                return seqs, json.loads(fields[b"data"])["code"]
            if b"data" in fields:
                seqs.append(json.loads(fields[b"data"])["seq"])
                assert seqs[-1] == seqs[0] + len(seqs) - 1, f"{seqs[-2:]}: events were lost and nothing was said"
                if seqs[-1] == upto:
                    break
    except ConnectionError:
        pass
    return seqs, None


def follow(server, queue, key=KEY, **options):
    return websockets.connect(f"ws://127.0.0.1:{server.port}/v1/events?queue={queue}&after=0", max_size=None,
                              additional_headers={"Authorization": f"Bearer {key}"}, **options)


async def by_socket(server, queue, upto):
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", server.port))
    async with follow(server, queue, sock=slow, max_queue=1, ping_interval=None) as events:
        seqs = []
        while not seqs or seqs[-1] < upto:
            seqs.append(json.loads(await asyncio.wait_for(events.recv(), 60))["seq"])
        return seqs


async def not_read(server, queue):
    """A WebSocket whose reader takes nothing: what it is told in the end."""
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", server.port))
    async with follow(server, queue, sock=slow, max_queue=1, ping_interval=None, compression=None) as events:
        before = server.metric("stanchion_slow_consumers_closed_total")
        while server.metric("stanchion_slow_consumers_closed_total") == before:
            await asyncio.sleep(0.1)
        seqs = []
        try:
            while True:
                event = json.loads(await asyncio.wait_for(events.recv(), 60))
                if "seq" in event:
                    seqs.append(event["seq"])
        except websockets.ConnectionClosed:
            return seqs


async def revoked(server, queue):
    """Readers of both kinds, waiting for something to happen, when their key is revoked."""
    key = server.good("POST", "/v1/keys", {"role": "integrator"})
    stream = begin(server, queue, after=server.good("GET", f"/v1/queues/{queue}")["seq"], key=key["key"], buffer=65_536)
    assert b"text/event-stream" in stream.recv(4096)
    head = server.good("GET", f"/v1/queues/{queue}")["seq"]
    async with websockets.connect(f"ws://127.0.0.1:{server.port}/v1/events?queue={queue}&after={head}",
                                  additional_headers={"Authorization": f"Bearer {key['key']}"}) as events:
        server.good("DELETE", f"/v1/keys/{key['id']}")
        assert json.loads(await asyncio.wait_for(events.recv(), 20))["code"] == "unauthorized"
        await asyncio.wait_for(events.wait_closed(), 20)
        assert events.close_code == 4501, events.close_code
    stream.settimeout(20)
    assert read(stream, None) == ([], "unauthorized")


def read_on(server, queue, seqs, upto):
    """Goes on after the last of `seqs` until all have come. On a busy machine a reader may be taken for one who does not read."""
    while not seqs or seqs[-1] < upto:
        more, error = read(begin(server, queue, after=seqs[-1] if seqs else 0), upto)
        assert more or error in (None, "slow_consumer"), error
        seqs = seqs + more
    return seqs


with Server("--ping-seconds", "5", "--stall-seconds", "5") as server:
    server.queue(slug="long")
    assert server.stop() == 0
    head = fill(server, "long")
    server.start()
    everything = list(range(1, head + 1))
    assert read_on(server, "long", [], head) == everything
    assert asyncio.run(by_socket(server, "long", head)) == everything

    # Who reads nothing is sent away, and goes on where it was.
    silent = begin(server, "long")
    before = server.metric("stanchion_slow_consumers_closed_total")
    wait_for(lambda: server.metric("stanchion_slow_consumers_closed_total") > before, 60, "the silent reader to be sent away")
    seqs, error = read(silent, head)
    assert error in (None, "slow_consumer") and seqs == everything[:len(seqs)] and len(seqs) < head, (error, seqs)
    assert read_on(server, "long", seqs, head) == everything
    seqs = asyncio.run(not_read(server, "long"))
    assert seqs == everything[:len(seqs)] and len(seqs) < head, seqs

    asyncio.run(revoked(server, server.queue()["id"]))
    assert server.stop() == 0
