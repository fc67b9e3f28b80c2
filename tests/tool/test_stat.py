#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem stat: what it counts of programs and of processes, and what it says where it cannot.

Usage: test_stat.py PATH-OF-GMEM PATH-OF-EXPOSED [unittest arguments]

Skipped (exit status 77) where the kernel refuses userfaultfd.
"""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

GMEM = os.path.abspath(sys.argv[1])
EXPOSED = os.path.abspath(sys.argv[2])
TIMEOUT = 60
os.environ["GMEM_HOST"] = "user"


def stat(*args, **kwargs):
    return subprocess.run([GMEM, "stat", *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False, **kwargs)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        old = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = self.dir
        self.addCleanup(lambda: os.environ.pop("XDG_RUNTIME_DIR") if old is None
                        else os.environ.update(XDG_RUNTIME_DIR=old))

    def runs(self, *args, status=0, said=""):
        """The last object of --json; what the program said is its own."""
        path = os.path.join(self.dir, "stat.json")
        r = stat("--json", "-o", path, *args)
        self.assertEqual((r.returncode, r.stderr, r.stdout), (status, "", said))
        with open(path, encoding="utf-8") as f:
            self.lines = [json.loads(line) for line in f]
        return self.lines[-1]

    def fails(self, status, *args, says=()):
        r = stat(*args)
        self.assertEqual((r.returncode, r.stdout), (status, ""), r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertTrue(r.stderr.startswith("gmem: "), r.stderr)
        for text in says:
            self.assertIn(text, r.stderr)


class Program(Case):
    def test_one(self):
        o = self.runs("--", EXPOSED, "20")
        p, = o["processes"]
        self.assertEqual((o["command"], o["status"]), ([EXPOSED, "20"], 0))
        self.assertEqual((p["program"], p["host"], p["cut"]), ("exposed", "user", False))
        self.assertEqual(p["total"], o["total"])
        d, = o["devices"]
        self.assertEqual(d["name"], 'small "one"')
        for key in ("dev_faults", "bytes_to_dev", "bytes_to_host"):
            self.assertGreater(o["total"][key], 0)
            self.assertEqual(d["stats"][key], o["total"][key])
        self.assertGreater(o["seconds"], 0)
        # Nothing is left behind.
        self.assertEqual(os.listdir(os.path.join(self.dir, "gmem")), [])

    def test_several(self):
        """All that come of a program; one that is killed, and one that does not say good-bye."""
        one = self.runs(EXPOSED, "3", "exit 0")
        self.assertFalse(one["processes"][0]["cut"])
        o = self.runs("--", "sh", "-c", f"{EXPOSED} 3; {EXPOSED} 3 kill 2>/dev/null; "
                      f"{EXPOSED} 3 _exit; echo out; exit 7", status=7, said="out\n")
        self.assertEqual(o["status"], 7)
        self.assertEqual([p["cut"] for p in o["processes"]], [False, True, True])
        self.assertEqual(o["total"]["dev_faults"],
                         sum(p["total"]["dev_faults"] for p in o["processes"]))
        self.assertEqual(len(o["devices"]), 1)

    def test_outlives(self):
        """A process that lives on when the program has ended is not waited for."""
        o = self.runs("sh", "-c", f"mkfifo {self.dir}/in {self.dir}/out; "
                      f"{EXPOSED} <{self.dir}/in >{self.dir}/out & "
                      f"exec 9>{self.dir}/in; read line <{self.dir}/out")
        p, = o["processes"]
        self.assertFalse(p["cut"])

    def test_text(self):
        r = stat("--", EXPOSED, "3")
        self.assertEqual((r.returncode, r.stdout), (0, ""))
        self.assertRegex(r.stderr, r"\n +\d+  device faults +[0-9.]+ us each\n")
        self.assertRegex(r.stderr, r"\n  hnode +device +CPU faults")
        self.assertRegex(r.stderr, r"\n +[0-9.]+  seconds elapsed\n")
        self.assertNotIn("processes", r.stderr)
        r = stat("sh", "-c", f"{EXPOSED} 3; {EXPOSED} 3 _exit")
        self.assertEqual(r.returncode, 3)
        self.assertRegex(r.stderr, r"\n +2  processes\n")
        self.assertRegex(r.stderr, r"\n +1  of them did not end by exit")

    def test_interval(self):
        self.runs("-I", "20", "--", EXPOSED, "200")
        parts = [o for o in self.lines if "interval" in o]
        self.assertGreaterEqual(len(parts), 1)
        self.assertGreater(parts[0]["at"], 0.019)
        for key in ("dev_faults", "bytes_to_dev"):
            self.assertEqual(sum(o["interval"].get(key, 0) for o in parts),
                             self.lines[-1]["total"][key])
        r = stat("-I", "20", "--", EXPOSED, "200")
        self.assertIn("   seconds   CPU faults", r.stderr)

    def test_no_gmem(self):
        o = self.runs("true")
        self.assertEqual((o["processes"], o["total"], o["devices"]), ([], {}, []))
        self.assertIn("no process of it had an address space", stat("true").stderr)

    def test_status(self):
        self.assertEqual(self.runs(EXPOSED, "1", "exit 5", status=5)["status"], 5)
        self.assertEqual(self.runs("sh", "-c", "kill -9 $$", status=137)["status"], 137)

    def test_signal(self):
        """What would end us is the program's to answer."""
        p = subprocess.Popen([GMEM, "stat", "sh", "-c",
                              "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(p.stdout.readline(), "ready\n")
        p.send_signal(signal.SIGINT)
        p.send_signal(signal.SIGTERM)
        _, err = p.communicate(timeout=TIMEOUT)
        self.assertEqual(p.returncode, 9)
        self.assertIn("seconds elapsed", err)


class Process(Case):
    def begin(self, **kwargs):
        p = subprocess.Popen([EXPOSED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             **kwargs)
        self.assertEqual(p.stdout.readline(), "ready\n")
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stdin.close)
        return p

    def do(self, p, line):
        p.stdin.write(line + "\n")
        p.stdin.flush()

    def watch(self, p, *args):
        w = subprocess.Popen([GMEM, "stat", "--json", "-I", "10", *args, str(p.pid)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        w.stderr.readline() # it has begun
        return w

    def test_end(self):
        """Until it ends; what was before does not count."""
        p = self.begin()
        self.do(p, "touch 5")
        p.stdout.readline()
        w = self.watch(p)
        self.do(p, "touch 1")
        p.stdout.readline()
        p.stdin.close()
        _, err = w.communicate(timeout=TIMEOUT)
        o = json.loads(err.splitlines()[-1])
        self.assertEqual((w.returncode, o["pid"], o["processes"][0]["cut"]), (0, p.pid, False))
        self.assertGreater(o["total"]["bytes_to_dev"], 0)
        self.assertLessEqual(o["total"]["bytes_to_dev"], 2 << 20)
        self.assertEqual(o["devices"][0]["stats"]["bytes_to_dev"], o["total"]["bytes_to_dev"])

    def test_interrupt(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            p = self.begin()
            w = self.watch(p)
            w.send_signal(sig)
            _, err = w.communicate(timeout=TIMEOUT)
            self.assertEqual(w.returncode, 0)
            self.assertFalse(json.loads(err.splitlines()[-1])["processes"][0]["cut"])
            p.stdin.close()
            self.assertEqual(p.wait(TIMEOUT), 0)

    def test_duration(self):
        p = self.begin()
        o = self.runs("-d", "1", str(p.pid))
        self.assertGreaterEqual(o["seconds"], 1)
        p.stdin.close()

    def test_killed(self):
        p = self.begin()
        w = self.watch(p)
        p.kill()
        _, err = w.communicate(timeout=TIMEOUT)
        self.assertEqual(w.returncode, 0)
        self.assertTrue(json.loads(err.splitlines()[-1])["processes"][0]["cut"])
        p.wait()
        self.fails(125, str(p.pid), says=["no process"])

    def test_none(self):
        self.fails(125, str(os.getpid()), says=["does not use gmem", str(os.getpid())])
        self.fails(125, "2147483647", says=["there is no process 2147483647"])
        p = self.begin(env={**os.environ, "GMEM_EXPOSE": "0"})
        self.fails(125, str(p.pid), says=["GMEM_EXPOSE"])
        p.stdin.close()

    def test_name_of_anothers(self):
        """A socket with the process's number that another process has, and one that nobody has."""
        p = self.begin(env={**os.environ, "GMEM_EXPOSE": "0"})
        os.mkdir(os.path.join(self.dir, "gmem"), 0o700)
        path = os.path.join(self.dir, "gmem", str(p.pid))
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
            s.listen()
            self.fails(125, str(p.pid), says=["does not use gmem"])
        self.fails(125, str(p.pid), says=["does not use gmem"])
        self.assertTrue(os.path.exists(path)) # the process is there: it may be about to listen
        p.stdin.close()

    def test_hangs(self):
        """One that answers nothing."""
        p = self.begin()
        p.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, p.pid, os.WSTOPPED)  # until it is, it answers
        self.fails(125, str(p.pid), says=["does not answer"])
        p.send_signal(signal.SIGCONT)
        p.stdin.close()

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_not_ours(self):
        p = self.begin()
        tree = os.path.join(os.path.dirname(GMEM), "..", "..", "src")
        with tempfile.TemporaryDirectory(prefix="gmem-test-") as d:
            os.chmod(d, 0o755)  # others may not come to where it was built
            for f in (GMEM, *glob.glob(os.path.join(tree, "lib*.so*"))):
                if os.path.isfile(f):
                    shutil.copy(f, d)
            r = subprocess.run([os.path.join(d, os.path.basename(GMEM)), "stat", str(p.pid)],
                               capture_output=True, text=True, timeout=TIMEOUT, check=False,
                               env=os.environ | {"LD_LIBRARY_PATH": d}, user=65534, group=65534)
        self.assertEqual(r.returncode, 125)
        self.assertIn("another user's", r.stderr)
        p.stdin.close()


class Misuse(Case):
    def test_options(self):
        self.fails(125, says=["of what"])
        self.fails(125, "0", says=["no number of a process"])
        self.fails(125, "99999999999999", says=["no number of a process"])
        self.fails(125, "1", "true", says=["'true'"])
        self.fails(125, "-I", "9", "true", says=["-I 9"])
        self.fails(125, "-I", "x", "true", says=["-I x"])
        self.fails(125, "-d", "0", "1", says=["-d 0"])
        self.fails(125, "-d", "1", "true", says=["-d is for a process"])
        self.fails(125, "--frobnicate", says=["--frobnicate"])
        self.fails(125, "-o", "/nonexistent/file", "true", says=["/nonexistent/file"])
        self.fails(127, "--", "12345", says=["cannot run 12345"])
        self.fails(127, "no-such-program", says=["no-such-program"])
        self.fails(126, "/", says=["cannot run /"])
        r = stat("--help")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("Examples:", r.stdout)

    def test_full_disk(self):
        self.fails(125, "-o", "/dev/full", "true", says=["cannot write"])


def main():
    if subprocess.run([EXPOSED, "0"], check=False).returncode == 77:
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)


if __name__ == "__main__":
    main()
