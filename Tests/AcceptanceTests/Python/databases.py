"""A Postgres and a Redis of one's own, for scripts and for `Scripts/with-databases`: on free ports, their files in temporary folders."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def psql(uri, sql):
    """Runs a statement as somebody else would; returns what it answers, a line a row."""
    return subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", uri, "-c", sql], check=True, capture_output=True, text=True).stdout


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
