"""`stanchion doctor` before servers that are really sick: what people notice is found, and so is what they are short of."""

import os
import signal
import socket
import subprocess
import tempfile
import time

from databases import Postgres, psql
from examining import SlowDisk, again_and_again, doctor
from harness import KEY, Server, processor_group, visitor, wait_for, within


def finds(what, server):
    """Whether it is found; where the server has no room for the doctor either, it is not."""
    try:
        return what in doctor("--url", server.url)
    except AssertionError:
        return False


def joins(server, queue):
    """Somebody joins, over and over, whatever the answer is."""
    return lambda: server.call("POST", f"/v1/queues/{queue}/join", {}, timeout=30)


def reads(server, queue):
    """Somebody reads, over and over, a hundred times in one go."""
    request = f"GET /v1/queues/{queue} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    connection, mark = socket.create_connection(("127.0.0.1", server.port), timeout=30), b"HTTP/1.1 200"

    def read():
        connection.sendall(100 * request)
        answered, rest = 0, b""
        while answered < 100:
            part = connection.recv(1 << 20)
            assert part, "the server has closed"
            answered += (rest + part).count(mark)
            rest = (rest + part)[1 - len(mark):]

    return read


# A disk on which everything takes long: joins are answered late. A sanitizer's library would have to be before this one.
if "SANITIZED" not in os.environ:
    with tempfile.TemporaryDirectory() as folder:
        disk = SlowDisk(folder)
        with Server(prefix=disk.prefix) as server:
            queue = server.queue()["id"]
            with again_and_again(*12 * [joins(server, queue)]):
                assert not {"slow_store", "slow_responses"} & set(doctor("--url", server.url))
                disk.takes(1.5)
                wait_for(lambda: {"slow_store", "slow_responses"} <= set(doctor("--url", server.url, seconds=8)), 60, "joins that take long")
                disk.takes(0)

# An instance that stands still for two seconds again and again, and tells people late that another one has let them in.
with Postgres() as postgres, Server(database=postgres.uri()) as first, Server(database=postgres.uri()) as second:
    queue = first.queue(releaseRatePerMinute=600, maxConcurrentUsers=1_000)["id"]

    def stop():
        first.good("POST", f"/v1/queues/{queue}/pause")
        people = [visitor(second, queue) for _ in range(30)]
        wait_for(lambda: first.good("GET", f"/v1/queues/{queue}")["waiting"] == len(people), what="all stand in line")
        second.process.send_signal(signal.SIGSTOP)
        first.good("POST", f"/v1/queues/{queue}/resume")
        time.sleep(2)
        second.process.send_signal(signal.SIGCONT)
        wait_for(lambda: first.good("GET", f"/v1/queues/{queue}")["waiting"] == 0, what="all are let in")
        for one in people:
            one.close()

    with again_and_again(stop):
        wait_for(lambda: "late_admissions" in doctor("--url", second.url, seconds=5), 60, "people who are told late")

    # Another one, which may not read the log any more, stays behind it.
    psql(postgres.uri(), "CREATE ROLE other LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO other; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO other")
    with Server(database=postgres.uri(user="other")) as third:
        first.good("POST", f"/v1/queues/{queue}/pause")
        wait_for(lambda: third.good("GET", f"/v1/queues/{queue}")["status"] == "paused", what="the third one follows")
        psql(postgres.uri(), "REVOKE SELECT ON log FROM other")
        first.good("POST", f"/v1/queues/{queue}/join", {})
        wait_for(lambda: "replica_behind" in doctor("--url", third.url), what="one that does not follow any more")
        psql(postgres.uri(), "GRANT SELECT ON log TO other")
        wait_for(lambda: "replica_behind" not in doctor("--url", third.url), what="one that follows again")

    # Joins that cannot be written.
    postgres.stop("immediate")
    with again_and_again(joins(first, queue)):
        wait_for(lambda: {"errors", "store_down"} <= set(doctor("--url", first.url)), what="joins that fail")

# More come than there is room for.
with Server("--max-connections", "40") as server:

    def come():
        crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        for one in crowd:
            one.close()
        # The doctor needs one, too.
        time.sleep(0.2)

    with again_and_again(come):
        wait_for(lambda: finds("visitors_refused", server), what="people who are turned away")

# Half of a processor, and more to do than that.
with processor_group(0.5) as group:
    prefix, share = (within(group), 0.5) if group else (["taskset", "-c", "0"], 1)
    with Server(prefix=prefix) as server:
        assert server.metric("stanchion_processors") == share, "what it may use, not what the machine has"
        loops = server.call("GET", "/metrics")[2].decode().count("\nstanchion_loop_busy_seconds_total{")
        assert loops == 1, f"{loops} loops"
        queue = server.queue()["id"]
        with again_and_again(reads(server, queue), reads(server, queue)):
            wait_for(lambda: doctor("--url", server.url).get("processor_full", {}).get("severity") == "critical", 60, "a processor that is full")

# A disk that fills up.
with tempfile.TemporaryDirectory() as folder:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], capture_output=True).returncode == 0:
        try:
            assert doctor("--database", f"sqlite:{folder}/db") == {}
            for megabytes, severity in [(18, "warning"), (1.5, "critical")]:
                with open(f"{folder}/ballast", "ab") as file:
                    file.write(bytes(int(megabytes * (1 << 20))))
                found = doctor("--database", f"sqlite:{folder}/db")
                assert set(found) == {"disk_short"} and found["disk_short"]["severity"] == severity, found
        finally:
            subprocess.run(["umount", folder], check=True)
    else:
        print("disk: skipped, no file system may be mounted here")
