"""Three instances with a Postgres and a Redis, each instance behind wires of its own that can be cut without a word."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from databases import Cluster, Postgres, Redis, Sentinels, psql
from harness import Server
from wire import Wire

LEASE = 5
INSTANCES = 3


class World:
    """`redis` is `single`, `sentinels` or `cluster`; only a single one has wires. With `has_copy` Postgres has a standby,
    and says of nothing that it is done before it is there, too."""

    def __init__(self, redis="single", has_copy=False):
        self.kind, self.has_copy = redis, has_copy

    def __enter__(self):
        self.stack = ExitStack()
        enter = self.stack.enter_context
        self.postgres = enter(Postgres("max_connections=60"))
        psql(self.postgres.uri(), "CREATE ROLE app LOGIN")
        psql(self.postgres.uri(), "CREATE DATABASE app OWNER app")
        self.copy = enter(self.postgres.copy("standby")) if self.has_copy else None
        self.redis = enter({"single": Redis, "sentinels": Sentinels, "cluster": Cluster}[self.kind]())
        self.to_postgres = [enter(Wire(self.postgres.port)) for _ in range(INSTANCES)]
        self.to_redis = [enter(Wire(self.redis.port)) for _ in range(INSTANCES if self.kind == "single" else 0)]
        with ThreadPoolExecutor(INSTANCES) as pool:
            self.servers = list(pool.map(self.make, range(INSTANCES)))
        for server in self.servers:
            enter(server)
        return self

    def make(self, number):
        hosts = f"127.0.0.1:{self.to_postgres[number].port}"
        if self.copy:
            hosts += f",127.0.0.1:{self.copy.port}"
        redis = f"redis://127.0.0.1:{self.to_redis[number].port}" if self.to_redis else self.redis.uri
        return Server("--lease-seconds", str(LEASE), "--drain-seconds", "5", "--redis", redis, "--loops", "1", "--log-format", "json",
                      database=f"postgresql://app@{hosts}/app?sslmode=disable&target_session_attrs=read-write")

    def __exit__(self, *_):
        for wire in self.to_postgres + self.to_redis:
            wire.mend()
        self.stack.close()
