"""`story.py SEED [FAULT …]`: three instances, a crowd, and one fault after the other in an order that the seed gives.

After each fault there is a healing: nothing is done any more, and within the limit everybody must be served again, all
instances must agree with each other and with the log, and the log must be one that may be.
"""

import asyncio
import os
import random
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "AcceptanceTests/Python")]
sys.dont_write_bytecode = True

from checker import Broken, Line, all_the_same, demand, goes_on, in_place, matches, nothing_lost, told_of_their_end  # noqa: E402
from crowd import Crowd  # noqa: E402
from faults import ALL  # noqa: E402
from world import World  # noqa: E402

VISITORS = int(os.environ.get("FAULT_VISITORS", "3000"))
LIMIT = 30
#: Seconds for which nobody need be let in where one instance, or Redis, is away: the next in turn has noticed by then.
STILL = 3


class Story:
    def __init__(self, world, seed):
        self.world, self.rng = world, random.Random(seed)
        queue = world.servers[0].queue(graceSeconds=60, releaseRatePerMinute=1200, maxConcurrentUsers=100, admissionTTLSeconds=20)
        self.queue, self.crowd = queue["id"], Crowd(world, queue, seed, VISITORS)
        self.line, self.read, self.stream = Line(), 0, None

    async def tell(self, faults):
        self.crowd.start()
        await self.until(lambda: sum(1 for visitor in self.crowd.visitors if visitor.session) > VISITORS * 0.9, 60, "the crowd has come")
        for fault in faults:
            await asyncio.sleep(self.rng.uniform(0, 3))
            began = time.monotonic()
            print(f"  {fault.__name__}: {fault.__doc__}", flush=True)
            self.follow()
            self.line.stood_still = 0.0
            await fault(self.world, self.rng, self.crowd)
            mended = time.monotonic()
            await self.heal()
            if not hasattr(fault, "stands_still"):
                goes_on(self.line, STILL)
            print(f"    took {mended - began:.0f} s, well again after {time.monotonic() - mended:.1f} s, stood still for "
                  f"{self.line.stood_still:.1f} s, {self.line.seq} events, "
                  f"{len(self.line.waiting)} wait, {len(self.crowd.acknowledged)} joined", flush=True)
            self.crowd.is_quiet = False
            await self.crowd.call("POST", f"/v1/queues/{self.queue}/resume")
        await self.crowd.stop()

    async def heal(self):
        """Everything must come to the same within the limit."""
        self.crowd.is_quiet = True
        began, problems = time.monotonic(), []
        while True:
            try:
                await self.check()
                demand(time.monotonic() - began <= LIMIT, "well, and too late")
                return
            except (Broken, OSError, AssertionError) as problem:
                if self.crowd.wrong:
                    raise AssertionError("\n".join(self.crowd.wrong[:5]))
                problems.append(f"{time.monotonic() - began:.1f} s: {problem}")
                if time.monotonic() - began > LIMIT:
                    raise AssertionError("\n".join([f"not well after {LIMIT} s", *problems]))
            await asyncio.sleep(0.25)

    async def check(self):
        # Nobody is let in any more while all are compared.
        status, view = await self.crowd.call("GET", f"/v1/queues/{self.queue}")
        if status == 200 and view["status"] == "open":
            await self.crowd.call("POST", f"/v1/queues/{self.queue}/pause")
        views = {}
        for number, server in enumerate(self.world.servers):
            views[number] = await asyncio.to_thread(server.good, "GET", f"/v1/queues/{self.queue}")
            ready = await asyncio.to_thread(server.good, "GET", "/ready")
            assert ready["status"] == "ok", f"instance {number} says {ready}"
            views[number].pop("averageWaitSeconds", None)
        all_the_same(views)
        self.crowd.all_follow(views[0]["epoch"])
        for integrator in self.crowd.integrators:
            assert integrator.stream.epoch not in self.crowd.lost_epochs, "an integrator follows a log that is lost"
            assert len(integrator.stream.events) >= views[0]["seq"], "an integrator is behind"
        self.follow()
        matches(views[0], self.line)
        nothing_lost(self.crowd.acknowledged, self.line)
        told = self.crowd.told
        if self.crowd.lost_epochs:
            told = {session: what for session, what in told.items() if session in self.line.sessions}
        told_of_their_end(told, self.line)
        self.everybody_is_served()
        assert not self.crowd.wrong

    def follow(self):
        """What the first integrator was told, by the rules; the others were told the same."""
        stream = self.crowd.integrators[0].stream
        if stream is not self.stream:
            self.stream, self.line, self.read = stream, Line(), 0
        events = stream.events
        for event in events[self.read:]:
            self.crowd.check(self.line.take, event)
            self.read += 1
        for other in self.crowd.integrators[1:]:
            if other.stream.events[:self.read] != events[:len(other.stream.events)][:self.read]:
                self.crowd.wrong.append("two integrators were told different things")

    def everybody_is_served(self):
        waiting = set(self.line.waiting.values())
        here = {visitor.session: visitor for visitor in self.crowd.visitors if visitor.session in waiting}
        lost = [session for session, visitor in here.items() if not visitor.socket]
        assert not lost, f"{len(lost)} of {len(here)} are not served"
        stale = [session for session, visitor in here.items() if visitor.stale]
        assert not stale, f"{len(stale)} of {len(here)} believe that what they see is old"
        unseen = [session for session in here if self.line.sessions[session] in self.line.absent]
        assert not unseen, f"{len(unseen)} of {len(here)} are here and taken for absent"
        # Places of those who gave up before they had an answer are marked; nobody stands in line who is not there.
        ghosts = [ticket for ticket, session in self.line.waiting.items() if session not in here and ticket not in self.line.absent]
        assert not ghosts, f"{len(ghosts)} places have nobody in them and are not marked"
        in_place({session: visitor.display for session, visitor in here.items()}, self.line, time.monotonic(), whose=here.get)

    async def until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            assert not self.crowd.wrong, self.crowd.wrong[:5]
            assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
            await asyncio.sleep(0.1)


def tell(world, seed, faults):
    with world:
        try:
            asyncio.run(Story(world, seed).tell(faults))
        except BaseException:
            for number, server in enumerate(world.servers):
                print(f"--- instance {number}:", *server.output[-15:], sep="\n", flush=True)
            raise


def main():
    seed, names = int(sys.argv[1]), sys.argv[2:]
    faults = [fault for fault in ALL if not names or fault.__name__ in names]
    print(f"seed {seed}, {VISITORS} visitors", flush=True)
    if together := [fault for fault in faults if not hasattr(fault, "world")]:
        random.Random(seed).shuffle(together)
        tell(World(), seed, together)
    for fault in faults:
        if hasattr(fault, "world"):
            tell(World(**fault.world), seed, [fault])


main()
