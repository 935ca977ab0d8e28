"""What the operator says reaches everyone in line once and in order, also who joins while it is on its way.

With so many in line a message needs several turns of the loop, and what follows on it comes while it is still being told.
"""

import json
import resource
import struct
import threading

from harness import Server, visitor, wait_for

CROWD, LATE = 2_000, 100
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def messages(connection):
    """All until the close frame."""
    stream = connection.makefile("rb")
    while stream.readline() != b"\r\n":
        pass
    found = []
    while (head := stream.read(2))[0] != 0x88:
        assert head[0] == 0x81, head
        size = head[1] if head[1] < 126 else struct.unpack(">H", stream.read(2))[0]
        found.append(json.loads(stream.read(size)))
    connection.close()
    return found


def said(messages):
    """An announcement's number, a status, the end."""
    names = {"announcement": "id", "queue": "status", "ended": "reason"}
    return [message[names[message["type"]]] for message in messages if message["type"] in names]


def logged(events):
    """The same from the log."""
    names = {"paused": "paused", "resumed": "open", "closed": "closed"}
    return [str(event["seq"]) if event["type"] == "announced" else names[event["type"]] for event in events
            if event["type"] in ("announced", *names)]


def together(*jobs):
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


with Server("--loops", "1") as server:
    queue = server.queue()["id"]
    waiting = lambda: server.good("GET", f"/v1/queues/{queue}/stats")["waiting"]
    early = [visitor(server, queue) for _ in range(CROWD)]
    wait_for(lambda: waiting() == CROWD, what="the crowd in line")
    late = []

    def announce():
        for _ in range(5):
            server.call("POST", f"/v1/queues/{queue}/announcements", {"text": "Hello."})

    def change(*ways):
        for way in ways:
            server.good("POST", f"/v1/queues/{queue}/{way}")

    together(announce, announce, lambda: change(*["pause", "resume"] * 5), lambda: late.extend(visitor(server, queue) for _ in range(LATE)))
    wait_for(lambda: waiting() == CROWD + LATE, what="the late ones in line")
    together(announce, announce, lambda: change("close"))

    everything = logged(server.events(queue))
    everything = everything[:everything.index("closed") + 1]
    announced = [text for text in everything if text.isdigit()]
    for connection in early:
        assert (heard := said(messages(connection))) == everything, (heard, everything)
    for connection in late:
        heard = [message["id"] for message in messages(connection) if message["type"] == "announcement"]
        # Who comes is told the last twenty.
        assert heard == announced[-len(heard):] and len(heard) >= min(20, len(announced)), (heard, announced)
    assert server.stop() == 0
