"""kill -9 in the middle of joins, at random moments: every acknowledged join is there afterwards, and in order."""

import asyncio
import http.client
import json
import threading
import time

import websockets

from harness import KEY, Server, check_log, rng


class Joiner(threading.Thread):
    def __init__(self, server, queue, name):
        super().__init__(daemon=True)
        self.server, self.queue, self.name_, self.acknowledged, self.done = server, queue, name, [], False
        self.start()

    def run(self):
        connection, number = None, 0
        while not self.done:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
                connection.request("POST", f"/v1/queues/{self.queue}/join", json.dumps({"user": f"{self.name_}-{number}"}),
                                   {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
                response = connection.getresponse()
                body = json.loads(response.read())
                if response.status == 201:
                    self.acknowledged.append((time.monotonic(), body["session"], body["position"], f"{self.name_}-{number}"))
                    number += 1
            except (OSError, http.client.HTTPException, ValueError):
                connection = None
                time.sleep(0.01)


with Server() as server:
    queue = server.queue(graceSeconds=3600)["id"]
    joiners = [Joiner(server, queue, f"j{n}") for n in range(12)]
    for round in range(6):
        time.sleep(0.3 + rng.random())
        server.kill()
        server.start()
    time.sleep(0.3)
    for joiner in joiners:
        joiner.done = True
    for joiner in joiners:
        joiner.join(10)
    events = server.events(queue)
    state = check_log(events)
    acknowledged = [entry for joiner in joiners for entry in joiner.acknowledged]
    assert len(acknowledged) > 300, len(acknowledged)
    lost = [entry for entry in acknowledged if entry[1] not in state]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged joins are lost"
    assert len({entry[1] for entry in acknowledged}) == len(acknowledged)
    users = [event["user"] for event in events if event["type"] == "joined"]
    assert len(users) == len(set(users)), "a person has two places"
    # In order: whoever was told before another one asked is ahead of that one.
    ticket = {event["session"]: event["ticket"] for event in events if event["type"] == "joined"}
    assert sorted(ticket.values()) == list(range(1, len(ticket) + 1))
    for joiner in joiners:
        own = [ticket[session] for _, session, _, _ in joiner.acknowledged]
        assert own == sorted(own)
    queue_now = server.good("GET", f"/v1/queues/{queue}")
    assert queue_now["waiting"] == len(ticket)

    # And the place that a browser held through it all is the one it was told.
    async def resume():
        entry = rng.choice(acknowledged)
        place = server.good("GET", f"/v1/queues/{queue}/position?session={entry[1]}")
        async with websockets.connect(server.live) as socket:
            await socket.send(json.dumps({"type": "resume", "token": place["token"]}))
            joined = json.loads(await socket.recv())
            assert joined["type"] == "joined" and joined["session"] == entry[1] and joined["position"] == ticket[entry[1]]
    asyncio.run(resume())
    print(f"{len(acknowledged)} acknowledged joins through {round + 1} kills")
