"""Requests that name nothing real leave nothing behind."""

import json
import socket
import threading
import uuid

from harness import Server

JOINS = 20_000
# Until what is used again and again has found its size.
WARM_UP = 20_000
# What invented names may leave in memory, in bytes a join: an entry in any table takes more.
BYTES_A_JOIN = 30


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
    print(f"{JOINS} joins to invented queues: {grown} bytes")
    assert grown <= JOINS * BYTES_A_JOIN, grown
    assert server.good("POST", f"/v1/queues/{queue}/join", {})["position"] == 1
