"""A Postgres and a Redis of one's own, for scripts and for `Scripts/with-databases`: on free ports, their files in temporary folders."""

import glob
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack


def free_port():
    """A port that nobody has, below those that the kernel gives to outgoing connections: whoever is to listen there a moment later,
    or again after having been killed, still can."""
    while True:
        port = random.SystemRandom().randint(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def psql(uri, sql):
    """Runs a statement as somebody else would; returns what it answers, a line a row."""
    return subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", uri, "-c", sql], check=True, capture_output=True, text=True).stdout


def wait_for(condition, seconds=60, what="a condition"):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


class Postgres:
    """A Postgres of one's own, to be stopped, killed and frozen."""

    BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]

    def __init__(self, *settings, local="trust"):
        self.folder = tempfile.mkdtemp(prefix="stanchion-postgres-")
        self.port = free_port()
        # It refuses to run as root.
        self.prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self.prefix:
            shutil.chown(self.folder, "postgres")
        self.run("initdb", "-U", "stanchion", "-A", local, "-E", "UTF8", "--no-locale", "-N", *(["--pwfile=" + self.secret()] if local != "trust" else []))
        self.settings = " ".join(f"-c {one}" for one in ("listen_addresses=127.0.0.1", f"port={self.port}",
                                                        f"unix_socket_directories={self.folder}", *settings))
        self.start()

    def secret(self):
        path = f"{self.folder}/secret"
        with open(path, "w") as file:
            file.write("open sesame")
        os.chmod(path, 0o644)
        return path

    def run(self, program, *arguments, check=True):
        subprocess.run([*self.prefix, f"{self.BIN}/{program}", "-D", f"{self.folder}/data", *arguments], check=check, cwd=self.folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tool(self, program, *arguments):
        """One of its other programs, as its owner."""
        subprocess.run([*self.prefix, f"{self.BIN}/{program}", *arguments], check=True, cwd=self.folder, stdout=subprocess.DEVNULL)

    def start(self):
        self.run("pg_ctl", "-s", "-w", "-l", f"{self.folder}/log", "-o", self.settings, "start")

    def copy(self, name):
        """A standby of it, which follows: started, and in step before a commit is acknowledged from here on."""
        other = object.__new__(Postgres)
        other.folder, other.port, other.prefix = tempfile.mkdtemp(prefix="stanchion-postgres-"), free_port(), self.prefix
        if other.prefix:
            shutil.chown(other.folder, "postgres")
        self.tool("pg_basebackup", "-R", "-D", f"{other.folder}/data", "-d", f"{self.uri()}?application_name={name}")
        other.settings = self.settings.replace(f"port={self.port}", f"port={other.port}").replace(self.folder, other.folder)
        other.start()
        self.set("synchronous_standby_names", name)
        wait_for(lambda: psql(self.uri(), "SELECT sync_state FROM pg_stat_replication").strip() == "sync", what="the copy is in step")
        return other

    def promote(self):
        """A standby becomes a server of its own."""
        self.run("pg_ctl", "-s", "-w", "promote")

    def set(self, name, value):
        psql(self.uri(), f"ALTER SYSTEM SET {name} = '{value}'")
        psql(self.uri(), "SELECT pg_reload_conf()")

    def stop(self, mode):
        """`smart`, `fast` or `immediate`, which is as good as a crash."""
        self.run("pg_ctl", "-s", "-w", "-m", mode, "stop")

    @property
    def processes(self):
        first = int(open(f"{self.folder}/data/postmaster.pid").readline())
        return [first, *(int(pid) for pid in subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True).stdout.split())]

    def signal(self, number):
        """To all of its processes: SIGSTOP freezes it."""
        for pid in self.processes:
            os.kill(pid, number)

    def uri(self, database="postgres", user="stanchion"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("pg_ctl", "-m", "immediate", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis:
    """A Redis of one's own, with nothing kept on a disk, to be stopped, killed and frozen. `mode` is `--sentinel` for one
    that watches others."""

    def __init__(self, *settings, mode=()):
        self.folder = tempfile.mkdtemp(prefix="stanchion-redis-")
        self.port = free_port()
        self.mode = mode
        with open(f"{self.folder}/conf", "w") as file:
            lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", f"logfile {self.folder}/log", *settings]
            file.write("\n".join(lines if mode else [*lines, 'save ""', "appendonly no"]) + "\n")
        self.start()

    def start(self):
        self.process = subprocess.Popen(["redis-server", f"{self.folder}/conf", *self.mode], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        for _ in range(200):
            if self.cli("PING", check=False).startswith(("PONG", "NOAUTH")):
                return
            time.sleep(0.05)
        raise AssertionError("Redis does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def cli(self, *words, check=True):
        result = subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *map(str, words)], capture_output=True, check=check)
        return result.stdout.decode(errors="replace").strip()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self):
        return f"redis://{self.host}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinels:
    """A master with a copy, and three that watch them."""

    def __enter__(self):
        with ExitStack() as stack:
            password = ("requirepass secret", "masterauth secret")
            self.master = stack.enter_context(Redis(*password))
            self.copy = stack.enter_context(Redis(f"replicaof 127.0.0.1 {self.master.port}", *password))
            self.watchers = [stack.enter_context(Redis(
                f"sentinel monitor main 127.0.0.1 {self.master.port} 2", "sentinel auth-pass main secret",
                "sentinel down-after-milliseconds main 1500", "sentinel failover-timeout main 5000", mode=["--sentinel"])) for _ in range(3)]
            wait_for(lambda: all("num-slaves\n1\n" in watcher.cli("SENTINEL", "MASTER", "main") + "\n" for watcher in self.watchers), 30,
                     "the sentinels know the copy")
            self.stack = stack.pop_all()
        return self

    @property
    def uri(self):
        return f"redis+sentinel://:secret@{','.join(watcher.host for watcher in self.watchers)}/main"

    def __exit__(self, *_):
        self.stack.close()


class Cluster:
    """Three masters with a copy each."""

    def __enter__(self):
        with ExitStack() as stack:
            self.nodes = [stack.enter_context(Redis("cluster-enabled yes", "cluster-node-timeout 1500", f"cluster-port {free_port()}"))
                          for _ in range(6)]
            subprocess.run(["redis-cli", "--cluster", "create", *(node.host for node in self.nodes), "--cluster-replicas", "1",
                            "--cluster-yes"], check=True, stdout=subprocess.DEVNULL)
            wait_for(lambda: all("cluster_state:ok" in node.cli("CLUSTER", "INFO") for node in self.nodes), what="the cluster stands")
            # A copy that was never in step with its master is not made one.
            wait_for(lambda: sum("master_link_status:up" in node.cli("INFO", "replication") for node in self.nodes) == 3, 30,
                     "the copies are in step")
            self.stack = stack.pop_all()
        return self

    @property
    def uri(self):
        return "redis://" + ",".join(node.host for node in self.nodes[:4])

    @property
    def carrier(self):
        """The node that has the instances' channel: a sharded one is one node's."""
        has_it = [node for node in self.nodes if node.process.poll() is None and node.cli("PUBSUB", "SHARDCHANNELS")]
        assert len(has_it) == 1, f"{len(has_it)} nodes have the channel"
        return has_it[0]

    def __exit__(self, *_):
        self.stack.close()
