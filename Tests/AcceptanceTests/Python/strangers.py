"""Requests that name nothing real leave nothing behind.

What is counted against limits is read off /metrics: no invented queue may be among it. Whatever else grows with each
request shows in the memory of the process only where it takes some tens of bytes a join and is never given back.
"""

import json
import socket
import threading
import uuid

from harness import Server

JOINS = 20_000
# Until what is used again and again has found its size.
WARM_UP = 20_000
# What may be left in memory, in bytes a join.
BYTES_A_JOIN = 30
COUNTED = 'stanchion_limit_entries{of="queue"}'


def resident(server):
    return int(next(line.split()[1] for line in open(f"/proc/{server.process.pid}/status") if line.startswith("VmRSS"))) * 1024


def join_invented(server, count):
    """Joins queues that nobody has made, over one connection, one after the other: by id, and by slug."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        reader = connection.makefile("rb")
        for number in range(count):
            name = uuid.uuid4() if number % 2 else f"invented-{uuid.uuid4().hex}"
            connection.sendall(f"POST /v1/queues/{name}/join HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            status = reader.readline().split()[1]
            length = 0
            while (line := reader.readline().strip()):
                field, value = line.split(b":", 1)
                if field.lower() == b"content-length":
                    length = int(value)
            body = json.loads(reader.read(length))
            assert (status, body["code"]) == (b"404", "no_such_queue"), (status, body)


def invent(server, count):
    problems = []

    def work():
        try:
            join_invented(server, count // 8)
        except BaseException as problem:
            problems.append(problem)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[0]


with Server() as server:
    queue = server.queue()["id"]
    invent(server, WARM_UP)
    before = resident(server)
    invent(server, JOINS)
    grown = resident(server) - before
    assert server.metric(COUNTED) == 0, server.metric(COUNTED)
    print(f"{JOINS} joins to invented queues: {grown} bytes")
    assert grown <= JOINS * BYTES_A_JOIN, grown
    assert server.good("POST", f"/v1/queues/{queue}/join", {})["position"] == 1
    # Somebody without a key, in a queue that there is.
    assert server.call("POST", f"/v1/queues/{queue}/join", {}, key=None)[0] == 201
    assert server.metric(COUNTED) == 1, server.metric(COUNTED)
