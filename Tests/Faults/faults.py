"""What can go wrong, each as one function: it does it, waits for as long as it lasts, and takes it back.

Afterwards everything must be well again by itself within the limit.
"""

import asyncio
import signal
import subprocess

from databases import psql
from harness import under_faketime
from world import LEASE


def stands_still(fault):
    """Marks a fault during which nobody can be let in. During all others the line goes on."""
    fault.stands_still = True
    return fault


def needs(**world):
    """Marks a fault that is done in a world of its own, once."""
    def mark(fault):
        fault.world = world
        return fault
    return mark


def quick(call, *arguments):
    return asyncio.to_thread(call, *arguments)


async def kill_one(world, rng, crowd):
    """kill -9 of an instance."""
    server = rng.choice(world.servers)
    server.kill()
    await asyncio.sleep(rng.uniform(0, 2 * LEASE))
    await quick(server.start)


@stands_still
async def kill_all(world, rng, crowd):
    """All instances at once."""
    for server in world.servers:
        server.kill()
    await asyncio.sleep(rng.uniform(0, 2 * LEASE))
    await asyncio.gather(*(quick(server.start) for server in world.servers))


async def redis_killed(world, rng, crowd):
    """Redis killed, and back with nothing in it."""
    world.redis.kill()
    await asyncio.sleep(rng.uniform(1, 8))
    await quick(world.redis.start)


async def redis_frozen(world, rng, crowd):
    """Redis frozen for ten seconds."""
    world.redis.signal(signal.SIGSTOP)
    await asyncio.sleep(10)
    world.redis.signal(signal.SIGCONT)


@stands_still
async def postgres_fast(world, rng, crowd):
    """Postgres restarted."""
    await quick(world.postgres.stop, "fast")
    await quick(world.postgres.start)


@stands_still
async def postgres_immediate(world, rng, crowd):
    """Postgres restarted as after a crash."""
    await quick(world.postgres.stop, "immediate")
    await quick(world.postgres.start)


@stands_still
async def postgres_away(world, rng, crowd):
    """Postgres away for twenty seconds: everyone stays, and is told."""
    for visitor in crowd.visitors:
        visitor.was_stale = False
    there = [(visitor, visitor.socket) for visitor in crowd.visitors if visitor.socket and visitor.session]
    await quick(world.postgres.stop, "fast")
    await asyncio.sleep(20)
    untold = [visitor.session for visitor, socket in there if visitor.socket is socket and not visitor.was_stale and not visitor.end]
    if untold:
        crowd.wrong.append(f"{len(untold)} of {len(there)} were shown old news as new")
    await quick(world.postgres.start)


@stands_still
async def postgres_cut(world, rng, crowd):
    """Its connections cut, several times."""
    for _ in range(6):
        await cut_connections(world)
        await asyncio.sleep(rng.uniform(0.1, 1))


async def cut_connections(world):
    """Cuts those of all instances; another fault may have Postgres down at this moment, and then there are none."""
    for _ in range(100):
        try:
            return await quick(psql, world.postgres.uri(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        except subprocess.CalledProcessError:
            await asyncio.sleep(0.1)


@stands_still
async def postgres_full(world, rng, crowd):
    """Out of connections."""
    await quick(psql, world.postgres.uri(), "ALTER ROLE app CONNECTION LIMIT 2")
    await quick(psql, world.postgres.uri(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    await asyncio.sleep(rng.uniform(3, 8))
    await quick(psql, world.postgres.uri(), "ALTER ROLE app CONNECTION LIMIT -1")


@stands_still
async def postgres_frozen(world, rng, crowd):
    """Postgres frozen for longer than a lease."""
    world.postgres.signal(signal.SIGSTOP)
    await asyncio.sleep(LEASE + rng.uniform(1, 8))
    world.postgres.signal(signal.SIGCONT)


@stands_still
async def postgres_restored(world, rng, crowd):
    """Restored from a copy that is some seconds old, under instances that run."""
    copy = f"{world.postgres.folder}/copy"
    acknowledged = set(crowd.acknowledged)
    await quick(world.postgres.tool, "pg_dump", "-Fc", "-f", copy, world.postgres.uri("app"))
    await asyncio.sleep(rng.uniform(2, 5))
    await quick(psql, world.postgres.uri(), "ALTER ROLE app NOLOGIN")
    await quick(psql, world.postgres.uri(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    await quick(world.postgres.tool, "pg_restore", "--clean", "--if-exists", "-d", world.postgres.uri("app"), copy)
    crowd.begin_anew(acknowledged)
    await quick(psql, world.postgres.uri(), "ALTER ROLE app LOGIN")


async def instance_frozen(world, rng, crowd):
    """An instance frozen past its lease."""
    server = rng.choice(world.servers)
    server.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(LEASE + rng.uniform(2, 8))
    server.process.send_signal(signal.SIGCONT)


async def cut_from_redis(world, rng, crowd):
    """An instance cut from Redis, without a word."""
    await cut(world, rng, [world.to_redis])


async def cut_from_postgres(world, rng, crowd):
    """An instance cut from Postgres, without a word, for longer than its lease."""
    await cut(world, rng, [world.to_postgres])


async def cut_from_both(world, rng, crowd):
    """From both."""
    await cut(world, rng, [world.to_redis, world.to_postgres])


async def cut(world, rng, wires):
    number = rng.randrange(len(world.servers))
    for kind in wires:
        kind[number].cut()
    await asyncio.sleep(LEASE + rng.uniform(2, 10))
    for kind in wires:
        kind[number].mend()


async def rolling_restart(world, rng, crowd):
    """All instances drained and started again, one after the other."""
    for server in world.servers:
        status = await quick(server.stop)
        if status != 0:
            crowd.wrong.append(f"an instance that was drained ended with {status}")
        await quick(server.start)
        await asyncio.sleep(1)


async def wrong_clock(world, rng, crowd):
    """An instance whose clock is a minute wrong."""
    number = rng.randrange(len(world.servers))
    server = world.servers[number]
    server.kill()
    server.prefix = under_faketime(FAKETIME=rng.choice(["+60s", "-60s"]))
    await quick(server.start)
    await asyncio.sleep(10)
    server.kill()
    server.prefix = []
    await quick(server.start)


@stands_still
async def two_at_once(world, rng, crowd):
    """Two of these."""
    first, second = rng.sample([kill_one, redis_killed, postgres_cut, postgres_immediate, redis_frozen, cut_from_redis], 2)
    print(f"    {first.__name__} and {second.__name__}", flush=True)
    await asyncio.gather(first(world, rng, crowd), second(world, rng, crowd))


@needs(redis="sentinels")
async def sentinel_failover(world, rng, crowd):
    """The master is killed; Sentinel makes its copy the master, and the old one comes back as a copy."""
    world.redis.master.kill()
    await asyncio.sleep(rng.uniform(4, 10))
    await quick(world.redis.master.start)


@needs(redis="cluster")
async def cluster_master_lost(world, rng, crowd):
    """The cluster's node that carries the channel is killed, and comes back as a copy."""
    node = await quick(lambda: world.redis.carrier)
    node.kill()
    await asyncio.sleep(rng.uniform(4, 10))
    await quick(node.start)


@stands_still
@needs(has_copy=True)
async def copy_promoted(world, rng, crowd):
    """Postgres is lost for good, and its copy takes its place."""
    await quick(world.postgres.stop, "immediate")
    await asyncio.sleep(rng.uniform(0, 5))
    await quick(world.copy.promote)


@stands_still
@needs(has_copy=True)
async def late_copy_promoted(world, rng, crowd):
    """The same with a copy that was some seconds behind: what was acknowledged in them is lost, and everybody is told."""
    acknowledged = set(crowd.acknowledged)
    await quick(world.postgres.set, "synchronous_standby_names", "")
    await quick(world.copy.set, "primary_conninfo", "")
    await asyncio.sleep(rng.uniform(2, 5))
    await quick(world.postgres.stop, "immediate")
    crowd.begin_anew(acknowledged)
    await quick(world.copy.promote)


ALL = [kill_one, kill_all, redis_killed, redis_frozen, postgres_fast, postgres_immediate, postgres_away, postgres_cut, postgres_full,
       postgres_frozen, postgres_restored, instance_frozen, cut_from_redis, cut_from_postgres, cut_from_both, rolling_restart, wrong_clock,
       two_at_once, sentinel_failover, cluster_master_lost, copy_promoted, late_copy_promoted]
