# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Programs of Debian's that `gmem run` is proved on: what they are run with, and what they must print."""
import hashlib
import os
import random
import signal
import shutil
import socket
import subprocess
import time

SCALE = int(os.environ.get("GMEM_RUN_SCALE", "1"))
TIMEOUT = 120 * SCALE

PYTHON = """
import sys
n = int(sys.argv[1])
words = [str(i) * 8 for i in range(n)]
table = {w: [i, w[:8]] for i, w in enumerate(words)}
total = 0
for w, (i, head) in table.items():
    total = (total * 31 + i + len(head)) % (1 << 61)
for i in range(0, n, n // 500):
    total = (total * 31 + table[words[(i * 7919) % n]][0]) % (1 << 61)
table.clear()
words.reverse()
print(total, words[0], words[-1], sum(map(len, words)))
"""

SQL = """
PRAGMA journal_mode=OFF; PRAGMA cache_size=-{cache}; PRAGMA temp_store=MEMORY;
CREATE TABLE t(a INTEGER, b TEXT);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<{rows})
INSERT INTO t SELECT (i*7919)%{rows}, printf('%064d', (i*104729)%{rows}) FROM c;
CREATE INDEX tb ON t(b);
SELECT count(*), sum(a) FROM t WHERE b BETWEEN printf('%064d', {rows}/4) AND printf('%064d', {rows}/2);
SELECT b FROM t ORDER BY b DESC LIMIT 5;
"""


def write_lines(path, count):
    rng = random.Random(1)
    with open(path, "w", encoding="ascii") as f:
        for _ in range(count):
            f.write("%016x%016x\n" % (rng.getrandbits(64), rng.getrandbits(64)))


def write_c(path, functions):
    with open(path, "w", encoding="ascii") as f:
        for i in range(functions):
            f.write("int f%d(int a, const int *p)\n{\n\tint s = a;\n\n\tfor (int i = 0; i < %d; i++)\n"
                    "\t\ts = s * %d + p[i] %% (%d + i);\n\treturn s ^ %s;\n}\n\n" %
                    (i, i % 50 + 5, i * 7 + 3, i + 2, "f%d(s, p)" % (i - 1) if i else "1"))


class Workload:
    """What a program prints, or leaves, is what run() returns: bytes."""

    programs = ()

    def __init__(self, directory):
        self.dir = directory

    def prepare(self):
        pass

    def path(self, name):
        return os.path.join(self.dir, name)

    def check(self, argv, **kwargs):
        r = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT,
                           check=False, cwd=self.dir, **kwargs)
        if r.returncode or r.stderr:
            raise AssertionError("%s: status %d: %s" % (argv, r.returncode, r.stderr.decode()))
        return r.stdout


class Sort(Workload):
    programs = ("sort",)

    def prepare(self):
        write_lines(self.path("lines"), 200000 * SCALE)

    def run(self, prefix):
        out = self.check([*prefix, "sort", "-S", "%dM" % (80 * SCALE), "--parallel=2", "lines"],
                         env={**os.environ, "LC_ALL": "C"})
        return hashlib.sha256(out).digest()


class Xz(Workload):
    programs = ("xz",)

    def prepare(self):
        write_lines(self.path("text"), 12000 * SCALE)

    def run(self, prefix):
        out = self.check([*prefix, "xz", "-T1", "-c", "--lzma2=preset=3,dict=%dMiB" % (2 * SCALE), "text"])
        back = subprocess.run(["xz", "-dc"], input=out, capture_output=True, check=True)
        with open(self.path("text"), "rb") as f:
            assert back.stdout == f.read()
        return out


class Sqlite(Workload):
    programs = ("sqlite3",)

    def run(self, prefix):
        return self.check([*prefix, "sqlite3", ":memory:",
                           SQL.format(rows=50000 * SCALE, cache=400000 * SCALE)])


class Python(Workload):
    programs = ("/usr/bin/python3",)

    def run(self, prefix):
        return self.check([*prefix, "/usr/bin/python3", "-c", PYTHON, str(60000 * SCALE)],
                          env={**os.environ, "PYTHONHASHSEED": "0"})


class Gcc(Workload):
    programs = ("gcc",)

    def prepare(self):
        write_c(self.path("large.c"), 120 * SCALE)

    def run(self, prefix):
        self.check([*prefix, "gcc", "-O1", "-c", "large.c", "-o", "large.o"])
        with open(self.path("large.o"), "rb") as f:
            return f.read()


class Redis(Workload):
    """Load by redis-benchmark, saved by a child of fork() while it goes on, and read back."""

    programs = ("redis-check-rdb", "redis-benchmark", "redis-cli")

    def prepare(self):
        # The server is this program under another name; its package would start one.
        os.symlink(shutil.which("redis-check-rdb"), self.path("redis-server"))

    def cli(self, *words, data=None):
        r = subprocess.run(["redis-cli", "-s", self.path("redis.sock"), *words], input=data,
                           capture_output=True, timeout=TIMEOUT, check=True)
        return r.stdout

    def start(self, prefix):
        server = subprocess.Popen([*prefix, self.path("redis-server"), "--port", "0", "--unixsocket",
                                   self.path("redis.sock"), "--dir", self.dir, "--save", "",
                                   "--appendonly", "yes"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(TIMEOUT * 20):
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(self.path("redis.sock"))
                    s.sendall(b"PING\r\n")
                    if s.recv(64).startswith(b"+PONG"):
                        return server
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("redis-server does not answer")

    def stop(self, server):
        server.send_signal(signal.SIGTERM)
        if server.wait(TIMEOUT):
            raise AssertionError("redis-server ended with %d" % server.returncode)

    def saved(self):
        for _ in range(TIMEOUT * 20):
            if b"rdb_bgsave_in_progress:0" in self.cli("info", "persistence"):
                return b"rdb_last_bgsave_status:ok" in self.cli("info", "persistence")
            time.sleep(0.05)
        return False

    def run(self, prefix):
        for name in ("appendonlydir", "dump.rdb"):
            path = self.path(name)
            shutil.rmtree(path, ignore_errors=True)
            if os.path.exists(path):
                os.unlink(path)
        server = self.start(prefix)
        try:
            load = "".join("SET key:%d %s\r\n" % (i, ("%032d" % (i * i)) * 8)
                           for i in range(20000 * SCALE))
            self.cli("--pipe", data=load.encode())
            subprocess.run(["redis-benchmark", "-s", self.path("redis.sock"), "-n",
                            str(1000 * SCALE), "-r", "1000", "-t", "get,lpush,sadd", "-q"],
                           capture_output=True, timeout=TIMEOUT, check=True)
            assert b"saving" in self.cli("bgsave")
            assert self.cli("set", "late", "1") == b"OK\n"
            assert self.saved(), "the background save failed"
            keys = "".join("GET key:%d\r\n" % i for i in range(0, 20000 * SCALE, 7))
            values = self.cli(data=keys.encode())
        finally:
            self.stop(server)
        server = self.start(prefix)  # what was written is read
        try:
            assert self.cli("get", "late") == b"1\n"
            return values + self.cli(data=keys.encode())
        finally:
            self.stop(server)


ALL = (Sort, Xz, Sqlite, Python, Gcc, Redis)
