"""The order of a line after its server was killed or restarted, and after another instance has taken over: a newcomer who is
there first waits behind everybody who was there before, in whatever order they come back."""

import asyncio
import json
import os
from contextlib import ExitStack
from datetime import datetime

import websockets

from harness import Server, check_log, rng, wait_for

PEOPLE = 20
LEASE = 3
FLAGS = ["--lease-seconds", str(LEASE), "--drain-seconds", "2"]
# Nobody needs so long to come back here, however busy the machine is.
LONG = 600


class Visitor:
    def __init__(self, queue):
        self.queue, self.token, self.session, self.socket = queue, None, None, None

    async def connect(self, server):
        """Joins, or comes back with the token of before."""
        self.socket = await websockets.connect(server.live, open_timeout=60)
        await self.socket.send(json.dumps({"type": "resume", "token": self.token} if self.token else {"type": "join", "queue": self.queue}))
        joined = json.loads(await asyncio.wait_for(self.socket.recv(), 60))
        assert joined["type"] == "joined", joined
        assert self.session in (None, joined["session"]), "another session"
        self.token, self.session, self.position = joined["token"], joined["session"], joined["position"]

    async def wait_until_admitted(self):
        async with asyncio.timeout(60):
            async for text in self.socket:
                if json.loads(text)["type"] == "admitted":
                    return
        raise AssertionError(f"{self.session} was not admitted: {self.socket.close_code}")


async def lose(server, queue, end, at=None):
    """A guest is inside, and 20 people wait at `server`. It ends, everybody is absent, and a newcomer joins before anybody has
    come back; then the guest's place becomes free.

    - at: the instance that goes on; nothing: `server` is started again.
    """
    guest, *people = [Visitor(queue) for _ in range(PEOPLE + 1)]
    await guest.connect(server)
    await guest.wait_until_admitted()
    for visitor in people:
        await visitor.connect(server)
    assert [visitor.position for visitor in people] == list(range(1, PEOPLE + 1))
    await asyncio.to_thread(end)
    if at is None:
        await asyncio.to_thread(server.start)
    for visitor in (guest, *people):
        await visitor.socket.close()
    other = at or server
    await asyncio.to_thread(wait_for, lambda: other.good("GET", f"/v1/queues/{queue}/stats")["absent"] == PEOPLE, 30, "everybody is absent")
    newcomer = Visitor(queue)
    await newcomer.connect(other)
    await asyncio.to_thread(other.good, "POST", f"/v1/sessions/{guest.session}/complete")
    return other, people, newcomer


async def keeps_order(server, end, at=None):
    queue = server.queue(maxConcurrentUsers=1, releaseRatePerMinute=60_000, settleSeconds=LONG)["id"]
    other, people, newcomer = await lose(server, queue, end, at)
    # In odd order, who stands in front last.
    back = people[1:]
    rng.shuffle(back)
    for visitor in (*back, people[0]):
        await visitor.connect(other)
    line = [visitor.session for visitor in (*people, newcomer)]
    first = await asyncio.to_thread(wait_for, lambda: admitted(other, queue)[1:], 60, "somebody is admitted after the guest")
    assert first == line[:1], f"number {line.index(first[0]) + 1} is admitted first"
    for visitor in (*people, newcomer):
        await visitor.wait_until_admitted()
        await asyncio.to_thread(other.good, "POST", f"/v1/sessions/{visitor.session}/complete")
    check_log(other.events(queue))
    assert admitted(other, queue)[1:] == line, "another order than that of their joins"


def admitted(server, queue):
    return [event["session"] for event in server.events(queue) if event["type"] == "admitted"]


async def waits_no_longer_than_settle_seconds(server, end, at=None):
    """Who stands in front does not come back: the line stands still for `settleSeconds`, and then goes on in order."""
    settle = 4
    queue = server.queue(maxConcurrentUsers=1, releaseRatePerMinute=60_000, settleSeconds=settle)["id"]
    other, people, newcomer = await lose(server, queue, end, at)
    await newcomer.wait_until_admitted()
    events = await asyncio.to_thread(other.events, queue)
    lost = [event for event in events if event["type"] == "everyone_disconnected" or "settlesUntil" in event]
    admission = next(event for event in events if event["type"] == "admitted" and event["session"] == newcomer.session)
    assert lost, "no event says that anybody was lost"
    for event in lost:
        assert seconds(admission["at"]) >= seconds(event["at"]) + settle, (event, admission)


async def does_not_wait_where_told_so(server, end, at=None):
    """The check itself: with `settleSeconds` 0 the newcomer is first."""
    queue = server.queue(maxConcurrentUsers=1, releaseRatePerMinute=60_000, settleSeconds=0)["id"]
    other, people, newcomer = await lose(server, queue, end, at)
    await newcomer.wait_until_admitted()
    for visitor in people:
        await visitor.connect(other)


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


for story in (keeps_order, waits_no_longer_than_settle_seconds, does_not_wait_where_told_so):
    for name in ("kill", "stop"):
        with Server(*FLAGS) as server:
            print(story.__name__, name)
            asyncio.run(story(server, getattr(server, name)))
    if os.environ.get("STORE") == "postgres":
        with ExitStack() as stack:
            a = stack.enter_context(Server(*FLAGS))
            b = stack.enter_context(Server(*FLAGS, database=a.database))
            print(story.__name__, "another instance takes over")
            asyncio.run(story(b, b.kill, at=a))
