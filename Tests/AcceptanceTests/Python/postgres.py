"""Postgres that is killed, frozen, cut off and full, in the middle of joins: nothing acknowledged is lost, nobody is in
line twice, those who are here are told, and all goes on by itself."""

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import websockets

from databases import Postgres, free_port, psql
from examining import doctor
from harness import KEY, PROGRAM, Server, certificate, check_log, clean_environment, rng, wait_for


def refuses(uri, status, says, *flags):
    result = subprocess.run([PROGRAM, "serve", "--listen", "127.0.0.1:0", "--database", uri, *flags], capture_output=True, text=True, timeout=30,
                            env=clean_environment())
    output = result.stdout + result.stderr
    assert result.returncode == status and says in output and len(output.splitlines()) == 1, (uri, result.returncode, output)


class Joiner(threading.Thread):
    """Joins one person after the other, and asks again for each until there is an answer that is one. Without a name it
    is another person each time."""

    def __init__(self, server, queue, name):
        super().__init__(daemon=True)
        self.server, self.queue, self.name_, self.done = server, queue, name, False
        self.acknowledged, self.refused, self.slowest, self.wrong = {}, 0, 0.0, []
        self.start()

    def run(self):
        connection, number = None, 0
        while not self.done:
            user = self.name_ and f"{self.name_}-{number}"
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
            began = time.monotonic()
            connection.request("POST", f"/v1/queues/{self.queue}/join", json.dumps({"user": user} if user else {}),
                               {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
            response = connection.getresponse()
            body = json.loads(response.read())
            self.slowest = max(self.slowest, time.monotonic() - began)
            if response.status in (200, 201):
                self.acknowledged[user or body["session"]] = body["session"]
                number += 1
            elif response.status == 503 and int(response.getheader("Retry-After")) > 0:
                self.refused += 1
                time.sleep(0.05)
            else:
                self.wrong.append((response.status, body))


def check(server, queue, joiners):
    """All that was acknowledged is in the log, once, and the server's memory is the log's."""
    events = server.events(queue)
    state = check_log(events)
    joined = [event for event in events if event["type"] == "joined"]
    assert len({event["session"] for event in joined}) == len(joined)
    users = {event.get("user") or event["session"]: event["session"] for event in joined}
    for joiner in joiners:
        assert not joiner.wrong, joiner.wrong[:3]
        for user, session in joiner.acknowledged.items():
            assert users.get(user) == session, f"{user} is lost, or has two places"
            assert state[session] == "joined", (user, state[session])
    waiting = sum(1 for last in state.values() if last == "joined")
    assert server.good("GET", f"/v1/queues/{queue}")["waiting"] == waiting


def ghosts(server, queue, joiners, visitors):
    """Places of people without a name who were told that they have none: how many, and those that are not marked absent."""
    known = {session for joiner in joiners for session in joiner.acknowledged.values()} | visitors
    found, present = 0, set()
    for event in server.events(queue):
        if event["type"] == "joined" and not event.get("user") and event["session"] not in known:
            found += 1
            present.add(event["ticket"])
        elif event["type"] == "everyone_disconnected":
            present.clear()
        elif event["type"] == "disconnected":
            for place in event["tickets"]:
                present -= set(range(place["ticket"], place["ticket"] + place["count"]))
    return found, present


async def watch(socket, states):
    async for text in socket:
        frame = json.loads(text)
        if frame["type"] == "state":
            states.append(frame["state"])


async def enter(server, message):
    """A connection that begins with a message, and the answer to it."""
    visitor = await websockets.connect(server.live)
    await visitor.send(json.dumps(message))
    joined = json.loads(await visitor.recv())
    assert joined["type"] == "joined", joined
    return visitor, joined


async def first_word(server, message):
    visitor, joined = await enter(server, message)
    await visitor.close()
    return joined


async def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def visitors_of_locked(server, uri):
    queues = [server.queue(releaseRatePerMinute=0)["id"] for _ in range(2)]
    (here, place), (elsewhere, _), (leaving, _) = [await enter(server, {"type": "join", "queue": queue}) for queue in (*queues, queues[0])]
    states, others = [], []
    watching = [asyncio.create_task(watch(here, states)), asyncio.create_task(watch(elsewhere, others))]
    holder = subprocess.Popen(["psql", "-qAtX", uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdin.write(f"BEGIN; SELECT 1 FROM queues WHERE id = '{queues[0]}' FOR UPDATE;\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "1\n"
    # That this one has gone is to be written.
    await leaving.close()
    await until(lambda: states == ["stale"], 60, "the visitor is told")
    metrics = await asyncio.to_thread(server.call, "GET", "/metrics")
    assert b"\nstanchion_queues_stale 1.0\n" in metrics[2]
    ready = await asyncio.to_thread(server.good, "GET", "/ready")
    assert ready["status"] == "degraded" and ready["store"]["status"] == "ok" and ready["staleQueues"] == 1, ready
    polled = await asyncio.to_thread(server.call, "GET", f"/v1/queues/{queues[0]}/position", key=place["token"])
    assert polled[0] == 200 and polled[2]["staleSince"] <= polled[2]["at"], polled
    assert "queues_stale" in await asyncio.to_thread(doctor, "--url", server.url)
    await asyncio.to_thread(server.good, "POST", f"/v1/queues/{queues[1]}/join", {})
    holder.stdin.close()
    assert holder.wait() == 0
    await until(lambda: states == ["stale", "live"], 60, "the visitor is told that it is over")
    assert not others, others
    for task in watching:
        task.cancel()


async def story(postgres, server):
    queue = server.queue(graceSeconds=3600)["id"]
    visitor, joined = await enter(server, {"type": "join", "queue": queue})
    states = []
    watching = asyncio.create_task(watch(visitor, states))
    joiners = [Joiner(server, queue, name) for name in ["a", "b", "c", "d", "e", "f", None, None]]

    def total():
        return sum(len(joiner.acknowledged) for joiner in joiners)

    async def goes_on(what):
        before = total()
        await until(lambda: total() > before + 100, 30, f"joins after {what}")
        await asyncio.to_thread(check_ready, server, "ok")

    await goes_on("the beginning")
    # Its connections are cut: who was in the middle of something is not told of it.
    for _ in range(5):
        await asyncio.sleep(0.1 + rng.random() / 5)
        psql(postgres.uri(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stanchion'")
    await goes_on("connections were cut")
    assert sum(joiner.refused for joiner in joiners) == 0, ("a cut connection is made anew", server.output[-5:])
    assert not states, ("nobody is told of it", states)

    # It ends, each way.
    for mode in ["fast", "immediate", "immediate"]:
        await asyncio.sleep(rng.random())
        postgres.stop(mode)
        states.clear()
        await until(lambda: states == ["stale"], 60, f"those in line are told that it is away ({mode})")
        await asyncio.to_thread(check_ready, server, "degraded")
        postgres.start()
        await until(lambda: states == ["stale", "live"], 60, "those in line are told that it is back")
        await goes_on(f"it was stopped ({mode})")

    # It stands still: nobody waits longer than a commit may take, and what it was told meanwhile it may yet do.
    postgres.signal(signal.SIGSTOP)
    states.clear()
    await until(lambda: states == ["stale"], 60, "those in line are told that it stands still")
    before = {joiner: joiner.refused for joiner in joiners}
    await until(lambda: all(joiner.refused > before[joiner] for joiner in joiners), 60, "everyone is answered while it stands still")
    postgres.signal(signal.SIGCONT)
    await until(lambda: states == ["stale", "live"], 60, "those in line are told that it moves")
    await goes_on("it stood still")
    assert max(joiner.slowest for joiner in joiners) < 20, max(joiner.slowest for joiner in joiners)

    # It takes no more connections, and loses the ones that it has.
    psql(postgres.uri(), "ALTER ROLE app CONNECTION LIMIT 0")
    psql(postgres.uri(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stanchion'")
    states.clear()
    await until(lambda: states == ["stale"], 60, "those in line are told that it takes no connections")
    psql(postgres.uri(), "ALTER ROLE app CONNECTION LIMIT -1")
    await goes_on("it was full")

    # What it is asked for is never more than some connections.
    count = int(psql(postgres.uri(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanchion'"))
    assert 0 < count <= 4, count

    for joiner in joiners:
        joiner.done = True
    for joiner in joiners:
        joiner.join(30)
    await asyncio.to_thread(check, server, queue, joiners)
    visitors = {joined["session"]}
    await asyncio.to_thread(wait_for, lambda: not ghosts(server, queue, joiners, visitors)[1], 20, "places with nobody in them are marked")
    print(f"{ghosts(server, queue, joiners, visitors)[0]} places of people who were told that they have none")
    assert watching.done() is False, "the visitor stayed connected"
    watching.cancel()
    await visitor.close()
    return queue, joined["token"], joiners


def check_ready(server, status):
    wait_for(lambda: server.call("GET", "/ready")[2]["status"] == status, what=f"/ready says {status}")


def secure():
    """TLS to Postgres, up to whose certificate it is."""
    with Postgres() as postgres:
        files = [file for name in ("localhost", "other.test") for file in certificate(f"{postgres.folder}/{name}", name)]
        right, wrong = files[0], files[2]
        for file in files if os.getuid() == 0 else []:
            shutil.chown(file, "postgres")
        with open(f"{postgres.folder}/data/pg_hba.conf", "w") as rules:
            rules.write("hostssl all all 127.0.0.1/32 trust\n")

        def show(name):
            postgres.settings += f" -c ssl=on -c ssl_cert_file={postgres.folder}/{name}.pem -c ssl_key_file={postgres.folder}/{name}.key"
            postgres.stop("fast")
            postgres.start()

        show("localhost")
        uri = f"postgresql://stanchion@localhost:{postgres.port}/postgres?sslmode=verify-full&sslrootcert="
        with Server(database=uri + right) as server:
            queue = server.queue(graceSeconds=600)["id"]
            assert server.good("POST", f"/v1/queues/{queue}/join", {})["session"]
            assert psql(f"postgresql://stanchion@127.0.0.1:{postgres.port}/postgres", """SELECT bool_and(ssl) FROM pg_stat_ssl s
                        JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'stanchion'""") == "t\n"
        refuses(uri + wrong, 69, "certificate verify failed")
        refuses(uri.replace("verify-full", "disable") + right, 69, "no encryption")
        refuses(uri.replace("localhost", "127.0.0.1") + right, 69, "does not match host name")
        show("other.test")
        refuses(uri + wrong, 69, "does not match host name")


def old():
    """A server that is too old. There is none here, so one is played: enough of its protocol to be asked what it is."""
    def message(kind, body):
        return kind + struct.pack("!I", len(body) + 4) + body

    columns = ((20, struct.pack("!q", 120_003)), (16, b"\1"), (25, b"12.3"))
    fields = b"".join(b"c\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, 1) for oid, _ in columns)
    row = b"".join(struct.pack("!i", len(value)) + value for _, value in columns)
    answers = {b"P": message(b"1", b""), b"B": message(b"2", b""), b"D": message(b"T", struct.pack("!h", 3) + fields),
               b"E": message(b"D", struct.pack("!h", 3) + row) + message(b"C", b"SELECT 1\0"), b"S": message(b"Z", b"I")}

    def serve(listener):
        connection = listener.accept()[0].makefile("rwb")
        connection.read(struct.unpack("!I", connection.read(4))[0] - 4)
        greeting = {"server_version": "12.3", "server_encoding": "UTF8", "client_encoding": "UTF8", "in_hot_standby": "off",
                    "default_transaction_read_only": "off"}
        connection.write(message(b"R", struct.pack("!I", 0)) + b"".join(
            message(b"S", f"{name}\0{value}\0".encode()) for name, value in greeting.items()) + message(b"Z", b"I"))
        connection.flush()
        while kind := connection.read(1):
            connection.read(struct.unpack("!I", connection.read(4))[0] - 4)
            connection.write(answers.get(kind, b""))
            connection.flush()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        refuses(f"postgresql://a@127.0.0.1:{listener.getsockname()[1]}/a?sslmode=disable", 69, "PostgreSQL 12.3")


def replicas():
    """What may be a little old is read from a replica, and from its home where that is gone; a place in line never is."""
    with Postgres() as postgres, postgres.copy("standby") as copy:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanchion'"
        with Server("--database-read", copy.uri(), database=postgres.uri()) as server:
            queue = server.queue(graceSeconds=600)["id"]
            place = server.good("POST", f"/v1/queues/{queue}/join", {"user": "a"})
            wait_for(lambda: len(server.good("GET", f"/v1/sessions?queue={queue}")["items"]) == 1, what="the replica has the session")
            assert psql(copy.uri(), asked) != "0\n"
            copy.set("primary_conninfo", "")
            postgres.set("synchronous_standby_names", "")
            server.good("POST", f"/v1/queues/{queue}/join", {"user": "b"})
            assert len(server.good("GET", f"/v1/sessions?queue={queue}")["items"]) == 1, "the list comes from the replica"
            assert server.good("GET", f"/v1/sessions/{place['session']}")["status"] == "waiting"
            copy.stop("immediate")
            assert len(server.good("GET", f"/v1/sessions?queue={queue}")["items"]) == 2
        refuses("sqlite:/tmp/nothing.db", 78, "database-read", "--database-read", "mysql://a")


def locked():
    """Somebody leaves a transaction open that has locked one queue's row: its visitors are told, and nobody else."""
    with Postgres() as postgres, Server(database=postgres.uri()) as server:
        asyncio.run(visitors_of_locked(server, postgres.uri()))
        assert server.stop() == 0


def restored():
    """An older copy is restored under a server that runs. Who follows a queue that it has not in memory, because it was deleted since
    the copy was made, is told as well as who follows one that it has."""
    with Postgres() as postgres:
        psql(postgres.uri(), "CREATE ROLE app LOGIN")
        psql(postgres.uri(), "CREATE DATABASE app OWNER app")
        with Server(database=postgres.uri("app", "app")) as server:
            queues = [server.queue()["id"] for _ in range(2)]
            epochs = [server.events(queue)[0]["epoch"] for queue in queues]
            postgres.tool("pg_dump", "-Fc", "-f", f"{postgres.folder}/copy", postgres.uri("app"))
            server.good("DELETE", f"/v1/queues/{queues[0]}")
            server.good("POST", f"/v1/queues/{queues[1]}/join", {})
            time.sleep(2)
            psql(postgres.uri(), "ALTER ROLE app NOLOGIN")
            psql(postgres.uri(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            postgres.tool("pg_restore", "--clean", "--if-exists", "-d", postgres.uri("app"), f"{postgres.folder}/copy")
            psql(postgres.uri(), "ALTER ROLE app LOGIN")
            wait_for(lambda: any("the store has gone back" in line for line in server.output), what="the next heartbeat")

            def is_told(queue, epoch):
                # Who asks just before the queue's own history has changed is told in the stream.
                status, _, body = server.call("GET", f"/v1/events?queue={queue}&after=1&epoch={epoch}")
                return status == 409 and body["code"] == "log_restarted" and body["epoch"] != epoch

            for queue, epoch in zip(queues, epochs):
                wait_for(lambda: is_told(queue, epoch), what="readers are told")  # noqa: B023
            assert sum("the store has gone back" in line for line in server.output) == 1, server.output


with Postgres("max_connections=30") as postgres:
    psql(postgres.uri(), "CREATE ROLE app LOGIN")
    psql(postgres.uri(), "CREATE DATABASE app OWNER app")
    with Server(database=postgres.uri("app", "app")) as server:
        queue, token, joiners = asyncio.run(story(postgres, server))
        server.kill()
        server.start()
        check(server, queue, joiners)
        epoch = server.events(queue)[0]["epoch"]
        assert server.stop() == 0
        # It is said that this is a backup: who followed the old log is told, and who has a place still has it.
        subprocess.run([PROGRAM, "migrate", "--new-history", "--database", server.database], check=True, stdout=subprocess.DEVNULL)
        server.start()
        status, _, body = server.call("GET", f"/v1/events?queue={queue}&after=0&epoch={epoch}")
        assert status == 409 and body["code"] == "log_restarted", (status, body)
        assert server.call("GET", f"/v1/queues/{queue}")[2]["waiting"] > 0
        for message, reason in (({"type": "resume", "token": token}, "restored"), ({"type": "join", "queue": queue}, None)):
            assert asyncio.run(first_word(server, message)).get("reason") == reason
        assert server.stop() == 0
    # A schema from the future, and addresses that are none.
    psql(postgres.uri("app"), "INSERT INTO schema_migrations VALUES (1000, 'from the future')")
    refuses(postgres.uri("app", "app"), 69, "newer stanchion")
    refuses(postgres.uri("nowhere"), 69, 'database "nowhere" does not exist')
    refuses(postgres.uri("app", "nobody"), 69, "nobody")
    refuses(f"postgresql://stanchion@127.0.0.1:{free_port()}/app", 69, "refused")
    refuses("postgresql://stanchion@no.such.host.invalid/app", 69, "no.such.host.invalid")
    refuses(postgres.uri("app") + "?sslmode=verify-full", 69, "SSL")
    refuses(postgres.uri("app") + "?sslmod=1", 78, "sslmod")
    refuses(postgres.uri("app") + "?target_session_attrs=prefer-standby", 78, "must be written")
    refuses("postgresql:///app?host=a,b,c&port=1,2", 69, "match 2 port numbers to 3 hosts")
    # One that could not hold every name, and how to make one that can.
    psql(postgres.uri(), "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    refuses(postgres.uri("latin"), 69, "createdb --encoding UTF8")
    migrated = subprocess.run([PROGRAM, "migrate", "--database", postgres.uri("latin")], capture_output=True, text=True)
    assert migrated.returncode == 69 and "LATIN1" in migrated.stderr, migrated

secure()
old()
restored()
locked()
replicas()
with Postgres(local="scram-sha-256") as postgres:
    refuses(postgres.uri(), 69, "password")
    refuses(f"postgresql://stanchion:wrong@127.0.0.1:{postgres.port}/postgres", 69, "password")
    with Server(database=f"postgresql://stanchion:open%20sesame@127.0.0.1:{postgres.port}/postgres") as server:
        assert server.good("POST", "/v1/queues/demo/join", {})["session"]
        assert "sesame" not in "".join(server.output)
print(f"{sum(len(joiner.acknowledged) for joiner in joiners)} acknowledged joins, {sum(joiner.refused for joiner in joiners)} refused, "
      f"slowest {max(joiner.slowest for joiner in joiners):.1f} s")
