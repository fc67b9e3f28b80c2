#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What a process that uses gmem tells whoever asks: requests, clients of all kinds, ends of all kinds.

Usage: test_expose.py PATH-OF-EXPOSED [unittest arguments]

Where the kernel refuses userfaultfd there is nothing to ask, and the whole program is skipped
(exit status 77).
"""
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

EXPOSED = os.path.abspath(sys.argv[1])
TIMEOUT = 60
MIB = 1 << 20


class Program:
    """The program, told what to do line by line."""

    def __init__(self, directory, *args, env=()):
        environ = {**os.environ, "XDG_RUNTIME_DIR": directory, "GMEM_HOST": "user", **dict(env)}
        self.p = subprocess.Popen([EXPOSED, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True, env=environ)
        self.pid = self.p.pid
        self.path = os.path.join(directory, "gmem", str(self.pid))
        if not args:
            self.ready()

    def ready(self):
        line = self.p.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"said {line!r}, exit status {self.p.wait(TIMEOUT)}")

    def tell(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def do(self, line):
        self.tell(line)
        return int(self.p.stdout.readline())

    def end(self):
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        status = self.p.wait(TIMEOUT)
        self.p.stdout.close()
        return status

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(self.path) # waits while the backlog is full
        except OSError:
            s.close()
            raise
        s.settimeout(TIMEOUT)
        return s

    def raw(self, data, close=True):
        """All that is answered to @data."""
        with self.connect() as s:
            s.sendall(data)
            if close:
                s.shutdown(socket.SHUT_WR)
            out = b""
            while True:
                got = s.recv(1 << 20)
                if not got:
                    return out.decode("ascii")
                out += got

    def ask(self, request):
        out = self.raw(request.encode() + b"\n")
        assert out.endswith("\n") and out.count("\n") == 1, out
        return json.loads(out)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)

    def program(self, *args, **kwargs):
        p = Program(self.dir, *args, **kwargs)

        def stop():
            p.p.kill()
            p.p.wait()
            p.p.stdout.close()
            try:
                p.p.stdin.close()
            except BrokenPipeError:
                pass

        self.addCleanup(stop)
        return p

    def sockets(self):
        return os.listdir(os.path.join(self.dir, "gmem"))


class Requests(Case):
    def test_stats(self):
        p = self.program()
        self.assertEqual(p.do("touch 3"), 0)
        o = p.ask("stats")
        self.assertEqual((o["version"], o["pid"], o["program"], o["host"]),
                         (1, p.pid, "exposed", "user"))
        a, = o["address_spaces"]
        self.assertEqual(a["stats"], o["total"])
        self.assertGreaterEqual(o["total"]["dev_faults"], 1)
        self.assertGreater(o["total"]["cpu_faults_moved"], 0)
        self.assertGreater(o["total"]["bytes_to_dev"], 0)
        d, = o["devices"]
        self.assertEqual((d["name"], d["ended"], d["total"], d["pinned"]),
                         ('small "one"', False, 2 * MIB, 0))
        self.assertIn("+", d["policy"] + "+")
        self.assertEqual(d["stats"]["dev_faults"], o["total"]["dev_faults"])
        self.assertGreater(o["metadata"], 0)
        self.assertLessEqual(o["time_ns"], time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        self.assertEqual(p.ask("devices")["devices"][0]["hnode"], d["hnode"])
        self.assertEqual(p.do("touch 2"), 0)
        later = p.ask("stats")
        self.assertGreater(later["total"]["bytes_to_dev"], o["total"]["bytes_to_dev"])
        self.assertEqual(p.end(), 0)
        self.assertEqual(self.sockets(), [])

    def test_map(self):
        """Half a device's block and what was touched, page by page, and in sums."""
        p = self.program()
        hnode = p.ask("devices")["devices"][0]["hnode"]
        o = p.ask("map")
        r, = o["regions"]
        self.assertEqual((r["len"], o["page"]), (4 * MIB, 4096))
        self.assertEqual(r["runs"], [[0, 1024, -2, 0]])
        self.assertEqual(p.do("prefetch"), 0)
        r, = p.ask("map")["regions"]
        self.assertEqual([x[:3] for x in r["runs"]], [[0, 256, hnode], [256, 768, -2]])
        r, = p.ask("ranges")["regions"]
        self.assertEqual(r["nodes"], {str(hnode): MIB, "-2": 3 * MIB})
        self.assertEqual((r["pinned"], r["poisoned"], r["replicated"]), (0, 0, 0))
        self.assertEqual(p.do("destroy"), 0)
        self.assertEqual(p.ask("map")["regions"], [])

    def test_hot(self):
        """From the first question on, and each time what was since the last."""
        p = self.program()
        with p.connect() as s, s.makefile("rw") as f:
            def hot():
                f.write("hot\n")
                f.flush()
                return json.loads(f.readline())

            p.do("touch 5")
            first = hot()
            self.assertEqual((first["hot"], first["lost"]), ([], 0))
            before = p.ask("stats")["total"]
            p.do("touch 5")
            o = hot()
            after = p.ask("stats")["total"]
            r = max(o["hot"], key=lambda r: r["faults"])
            base = p.ask("ranges")["regions"][0]
            self.assertGreaterEqual(r["addr"] + r["len"], base["addr"])
            self.assertLess(r["addr"], base["addr"] + base["len"])
            self.assertEqual(r["len"], 2 * MIB)
            if not o["lost"]:
                for key in ("bytes_to_dev", "bytes_to_host"):
                    self.assertEqual(sum(r[key] for r in o["hot"]) + o["others"][key],
                                     after[key] - before[key])
            # A fault is told of when it is over, which its thread does not wait for.
            self.assertEqual([r for r in hot()["hot"] if r["bytes_to_dev"]], [])
        self.assertEqual(p.ask("stats")["pid"], p.pid)

    def test_ended(self):
        """What has ended counts still, and is told of."""
        p = self.program()
        p.do("touch 2")
        before = p.ask("stats")
        self.assertEqual(p.do("destroy"), 0)
        o = p.ask("stats")
        self.assertEqual((o["address_spaces"], o["ended"]), ([], 1))
        self.assertEqual(o["total"]["dev_faults"], before["total"]["dev_faults"])
        d, = o["devices"]
        self.assertEqual((d["ended"], "total" in d), (True, False))
        self.assertEqual(d["stats"]["dev_faults"], before["total"]["dev_faults"])
        self.assertEqual(p.do("create"), 0)
        o = p.ask("stats")
        self.assertEqual([d["ended"] for d in o["devices"]], [True, False])
        self.assertEqual(len(o["address_spaces"]), 1)

    def test_bad(self):
        p = self.program()
        for bad in ("", "stat", "stats ", "STATS", "\0", "\x7f\"\\", "x" * 127):
            with self.subTest(bad=bad):
                o = p.ask(bad)
                self.assertEqual(o["error"], "no such request")
                self.assertEqual(o["requests"], ["stats", "devices", "ranges", "map", "final", "hot"])
        # A line that does not end; and then nobody listens any more.
        for n in (128, 129, 100000):
            try:
                out = p.raw(b"y" * n, close=False)
            except (BrokenPipeError, ConnectionResetError):
                continue
            self.assertEqual(json.loads(out)["error"], "no such request")
        self.assertEqual(p.ask("stats")["pid"], p.pid)

    def test_several(self):
        """One after another, however they are cut; the last without its end, or with two."""
        p = self.program()
        out = p.raw(b"stats\r\ndevices\nranges\nmap").splitlines()
        self.assertEqual(len(out), 4)
        self.assertIn("total", json.loads(out[0]))
        self.assertIn("regions", json.loads(out[3]))
        with p.connect() as s:
            for c in b"devices\n":
                s.sendall(bytes([c]))
            self.assertIn("devices", json.loads(s.recv(65536)))
            s.sendall(b"devices\n")
            self.assertIn("devices", json.loads(s.recv(65536)))

    def test_mode(self):
        """The directory is the user's alone; else there is no socket there."""
        p = self.program()
        st = os.stat(os.path.dirname(p.path))
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid), (0o700, os.geteuid()))
        self.assertTrue(stat.S_ISSOCK(os.stat(p.path).st_mode))
        p.end()
        os.chmod(os.path.join(self.dir, "gmem"), 0o755)
        q = self.program()
        self.assertFalse(os.path.exists(q.path))
        self.assertEqual(q.end(), 0)

    def test_off(self):
        p = self.program(env={"GMEM_EXPOSE": "0"})
        self.assertFalse(os.path.exists(os.path.join(self.dir, "gmem")))
        self.assertEqual(p.do("fork"), 0)
        self.assertEqual(p.end(), 0)


class Clients(Case):
    def test_hang(self):
        """Who reads nothing, and who says nothing, is in nobody's way, not even in more than there is room for."""
        p = self.program()
        idle = []
        for i in range(40):
            s = p.connect()
            self.addCleanup(s.close)
            s.setblocking(False)
            idle.append(s)
            if i % 2:
                try:
                    for _ in range(2000):
                        s.sendall(b"stats\n" * 100)
                except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                    pass
        self.assertEqual(p.ask("stats")["pid"], p.pid)
        for s in idle[-4:]:
            s.setblocking(True)
            s.settimeout(TIMEOUT)
        began = time.monotonic()
        self.assertEqual(p.end(), 0)
        self.assertLess(time.monotonic() - began, TIMEOUT / 2)
        self.assertEqual(self.sockets(), [])

    def test_gone(self):
        p = self.program()
        for _ in range(50):
            with p.connect() as s:
                s.sendall(b"stats\nmap\n")
        self.assertEqual(p.ask("stats")["pid"], p.pid)

    def final(self, how, n):
        p = self.program()
        s = p.connect()
        self.addCleanup(s.close)
        s.sendall(b"stats\nfinal\n")
        first = s.recv(1 << 20)
        while not first.endswith(b"\n"):
            first += s.recv(1 << 20)
        p.do("touch 3")
        p.tell(how)
        out = b""
        while True:
            got = s.recv(1 << 20)
            if not got:
                break
            out += got
        self.assertEqual(p.p.wait(TIMEOUT), n)
        return json.loads(first), json.loads(out) if out else None

    def test_final(self):
        first, last = self.final("exit 5", 5)
        self.assertEqual(first["total"]["dev_faults"], 0)
        self.assertGreater(last["total"]["dev_faults"], 0)
        self.assertEqual((first.get("final"), last["final"]), (None, True))
        self.assertEqual(self.sockets(), [])

    def test_no_final(self):
        """An end that lets no program say anything."""
        self.assertIsNone(self.final("_exit", 3)[1])
        self.assertIsNone(self.final("kill", -9)[1])

    def test_final_half_closed(self):
        p = self.program()
        with p.connect() as s:
            s.sendall(b"final\n")
            s.shutdown(socket.SHUT_WR)
            p.ask("stats")
            p.tell("exit 0")
            self.assertIn(b"total", s.recv(1 << 20))


class Life(Case):
    def test_fork(self):
        """A child ends without taking its parent's socket along; and is no one of the kind."""
        p = self.program()
        with p.connect() as s:
            s.sendall(b"final\n")
            p.ask("stats")
            self.assertEqual(p.do("fork"), 0)
            self.assertEqual(p.ask("stats")["pid"], p.pid)
            s.setblocking(False)
            with self.assertRaises(BlockingIOError):
                s.recv(1)
        self.assertEqual(self.sockets(), [str(p.pid)])

    def test_exec(self):
        """The same number, and another program: the socket that was left is replaced."""
        p = self.program()
        p.do("touch 2")
        self.assertGreater(p.ask("stats")["total"]["dev_faults"], 0)
        p.tell("exec")
        p.ready()
        self.assertEqual(p.ask("stats")["total"]["dev_faults"], 0)
        self.assertEqual(p.end(), 0)
        self.assertEqual(self.sockets(), [])

    def test_closed(self):
        """A program closes what is not its own, and others get the numbers: those are left alone."""
        p = self.program()
        with p.connect() as s:
            s.sendall(b"final\n")
            p.ask("stats")
            self.assertEqual(p.do("close"), 2)
            for _ in range(10):
                try:
                    o = p.ask("stats")
                    break
                except (AssertionError, ConnectionError):
                    time.sleep(0.05)
            self.assertEqual(o["pid"], p.pid)
        self.assertEqual(p.end(), 0)
        self.assertEqual(self.sockets(), [])

    def test_long_path(self):
        """No room for the name in an address: then in the next directory that there is."""
        long = os.path.join(self.dir, "d" * 90)
        os.mkdir(long)
        p = self.program(env={"XDG_RUNTIME_DIR": long})
        self.assertEqual(os.listdir(long), [])
        self.assertEqual(p.end(), 0)


def main():
    directory = tempfile.mkdtemp(prefix="gmem-test-")
    p = Program(directory, "0")
    status = p.end()
    shutil.rmtree(directory)
    if status == 77:
        print("skipped: gmem cannot be used here")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


if __name__ == "__main__":
    main()
