"""Redis between instances: killed, frozen, emptied, failed over, lied to. What it carries comes at once; what it loses
comes all the same, and everybody can see which of the two it is."""

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager

from websockets.sync.client import connect

from databases import Cluster, Postgres, Redis, Sentinels, free_port, psql
from harness import PROGRAM, Server, check_log, clean_environment, rng, wait_for

RECEIVED = "stanchion_bus_messages_received_total"


def refuses(database, redis, status, says):
    result = subprocess.run([PROGRAM, "serve", "--listen", "127.0.0.1:0", "--database", database, "--redis", redis], capture_output=True,
                            text=True, timeout=30, env=clean_environment())
    output = result.stdout + result.stderr
    assert result.returncode == status and says in output and len(output.splitlines()) == 1, (redis, result.returncode, output)


def bus(server):
    return server.good("GET", "/ready")["bus"]


def live(*servers):
    for server in servers:
        wait_for(lambda: bus(server)["status"] == "ok", what="the bus carries messages")


def down(server, why):
    wait_for(lambda: bus(server)["status"] == "degraded" and why in bus(server)["reason"], what=f"the bus is down: {why}")
    # Strangers are told that it is down, a second later at most, and neither why nor where it is.
    wait_for(lambda: server.good("GET", "/ready", key=None)["status"] == "degraded", what="strangers are told so")
    ready = server.good("GET", "/ready", key=None)
    assert "reason" not in ready["bus"] and "lag" not in ready and ready["bus"]["status"] == "degraded", ready
    assert ready["status"] == "degraded" and ready["store"]["status"] == "ok"


def follows(one, other, queue):
    """Whatever the bus does, what one does the other knows soon."""
    count = one.good("GET", f"/v1/queues/{queue}")["waiting"]
    one.good("POST", f"/v1/queues/{queue}/join", {}, key=None)
    wait_for(lambda: other.good("GET", f"/v1/queues/{queue}")["waiting"] == count + 1, what="the other one knows of a join")


def carries(one, other, queue):
    """And what it knows, it was told."""
    live(one, other)
    before = other.metric(RECEIVED)
    follows(one, other, queue)
    wait_for(lambda: other.metric(RECEIVED) > before, what="a message by the bus")


@contextmanager
def two(database, redis):
    with Server("--redis", redis, database=database) as one, Server("--redis", redis, database=database) as other:
        yield one, other


def lies(redis, one, other, queue):
    """Whoever can write to the channel and does not serve the store changes nothing."""
    channel = "stanchion:0:v1"
    before = {reason: other.metric(f'stanchion_bus_messages_refused_total{{reason="{reason}"}}') for reason in ("version", "forged", "size")}
    log = other.events(queue)
    for payload in (b"\xff" + os.urandom(80), b"hello", b"\x01" + os.urandom(80), b"\x01short", b"\x01" + os.urandom(70_000),
                    b"\x01" + bytes(16) + os.urandom(100)):
        subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(redis.port), "-x", "PUBLISH", channel], input=payload, check=True,
                       stdout=subprocess.DEVNULL)
    for reason, count in (("version", 2), ("forged", 2), ("size", 2)):
        name = f'stanchion_bus_messages_refused_total{{reason="{reason}"}}'
        wait_for(lambda: other.metric(name) == before[reason] + count, what=f"{count} messages refused: {reason}")
    assert other.events(queue) == log
    carries(one, other, queue)


def caches(redis, one, other):
    """A page of a log that one has read the other has from Redis; what is planted there is refused; without Redis it is the
    store's."""
    def read(server, level):
        """Reads all, and says whether some of it was found there."""
        name = f'stanchion_cache_reads_total{{level="{level}"}}'
        before = server.metric(name)
        log = server.events(queue)
        return server.metric(name) > before, log

    queue = one.queue(graceSeconds=3600)["id"]
    for _ in range(520):
        one.good("POST", f"/v1/queues/{queue}/announcements", {"text": "Ä"})
    wait_for(lambda: other.call("GET", f"/v1/queues/{queue}")[2]["seq"] == 522, what="the other one has heard of all")
    is_read, log = read(one, "store")
    assert is_read and len(log) == 522
    page = wait_for(lambda: redis.cli("KEYS", f"*{queue}*page:0"), what="the page is kept")
    assert read(other, "shared") == (True, log)
    assert read(other, "memory") == (True, log)

    other.kill()
    other.start()
    wait_for(lambda: other.good("GET", "/ready")["bus"]["status"] == "ok", what="it has Redis again")
    for key in redis.cli("KEYS", f"*{queue}*").split():
        redis.cli("SET", key, "forged, and long enough to be something that somebody could have meant to be read by us")
    name = 'stanchion_bus_messages_refused_total{reason="version"}'
    refused = other.metric(name)
    assert read(other, "store") == (True, log) and other.metric(name) > refused

    other.kill()
    other.start()
    redis.cli("DEL", page)
    redis.signal(signal.SIGSTOP)
    assert read(other, "store") == (True, log)
    redis.signal(signal.SIGCONT)
    carries(one, other, queue)


def meets(one, other):
    """A queue that one has just made is there at the other, whoever asks first."""
    for number in range(6):
        queue = one.queue(graceSeconds=3600)["id"]
        if number % 3 == 0:
            assert other.good("POST", f"/v1/queues/{queue}/join", {})["position"] == 1
        elif number % 3 == 1:
            assert other.good("GET", f"/v1/queues/{queue}")["id"] == queue
        else:
            with connect(other.live) as visitor:
                visitor.send(json.dumps({"type": "join", "queue": queue}))
                assert json.loads(visitor.recv(5))["type"] == "joined"
    made_up = f"{int(time.time() * 1000):012x}"
    made_up = f"{made_up[:8]}-{made_up[8:]}-7000-8000-000000000000"
    assert other.call("GET", f"/v1/queues/{made_up}")[0] == 404
    with connect(other.live) as visitor:
        visitor.send(json.dumps({"type": "join", "queue": made_up}))
        assert json.loads(visitor.recv(5))["code"] == "no_such_queue"


def single(database):
    with Redis() as redis, two(database, redis.uri) as (one, other):
        queue = one.queue(graceSeconds=3600)["id"]
        carries(one, other, queue)
        lies(redis, one, other, queue)
        caches(redis, one, other)

        meets(one, other)

        redis.kill()
        down(one, "")
        follows(one, other, queue)
        meets(one, other)
        redis.start()
        carries(other, one, queue)

        # It stands still: no connection ends, and nothing comes.
        redis.signal(signal.SIGSTOP)
        down(other, "heartbeat")
        follows(other, one, queue)
        redis.signal(signal.SIGCONT)
        carries(one, other, queue)

        # It answers, and delivers nothing.
        redis.cli("CLIENT", "PAUSE", 5_000, "WRITE")
        down(one, "heartbeat")
        follows(one, other, queue)
        carries(one, other, queue)

        for _ in range(3):
            redis.cli("CLIENT", "KILL", "TYPE", rng.choice(["pubsub", "normal"]))
            carries(one, other, queue)

        # An instance that starts meanwhile starts all the same.
        redis.kill()
        one.kill()
        one.start()
        down(one, "refused")
        follows(one, other, queue)
        redis.start()
        carries(one, other, queue)
        check_log(one.events(queue))
        assert one.events(queue) == other.events(queue)
        assert one.stop() == 0


def change_master(redis):
    """The copy that became the master gives way. Sentinels give a change up that takes them too long: then they are asked again."""
    def has_given_way():
        return "role:slave" in redis.copy.cli("-a", "secret", "INFO", "replication", check=False)

    for attempt in range(3):
        wait_for(lambda: redis.watchers[1].cli("SENTINEL", "FAILOVER", "main") == "OK", 60, "the sentinels agree to change the master")
        try:
            return wait_for(has_given_way, 60, "the other one is the master")
        except AssertionError:
            if attempt == 2:
                raise


def sentinels(database):
    with Sentinels() as redis:
        with two(database, redis.uri) as (one, other):
            queue = one.queue(graceSeconds=3600)["id"]
            carries(one, other, queue)
            # One that is not there any more, and then the master.
            redis.watchers[0].kill()
            redis.master.kill()
            down(other, "")
            follows(one, other, queue)
            carries(one, other, queue)
            # The old one comes back as a copy, and the new one gives way to it: nothing is said where nobody hears it.
            redis.master.start()
            wait_for(lambda: "role:slave" in redis.master.cli("-a", "secret", "INFO", "replication", check=False), what="the old master is a copy")
            change_master(redis)
            carries(other, one, queue)
        there = f"redis+sentinel://:secret@{redis.watchers[1].host},{redis.watchers[2].host}/main"
        refuses(database, there.replace("secret", "wrong"), 69, "WRONGPASS")
        refuses(database, there.replace(":secret@", ""), 69, "NOAUTH")


def cluster(database):
    with Cluster() as redis, two(database, redis.uri) as (one, other):
        queue = one.queue(graceSeconds=3600)["id"]
        carries(one, other, queue)
        redis.carrier.kill()
        down(one, "")
        follows(one, other, queue)
        carries(one, other, queue)


with Postgres() as postgres:
    for number, story in enumerate((single, sentinels, cluster)):
        psql(postgres.uri(), f"CREATE DATABASE app{number}")
        story(postgres.uri(f"app{number}"))
    address = postgres.uri("app0")
    for wrong, says in (("http://a", "redis://"), ("rediss://a", "TLS"), ("redis://a:x", "port"), ("redis+sentinel://a", "sentinels")):
        refuses(address, wrong, 78, says)
    refuses("sqlite:/tmp/nothing.db", f"redis://127.0.0.1:{free_port()}", 78, "a file")
