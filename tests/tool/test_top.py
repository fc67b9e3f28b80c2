#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem top: what it shows in batch and in a terminal, and how it ends.

Usage: test_top.py PATH-OF-GMEM PATH-OF-EXPOSED [unittest arguments]

Skipped (exit status 77) where the kernel refuses userfaultfd.
"""
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

GMEM = os.path.abspath(sys.argv[1])
EXPOSED = os.path.abspath(sys.argv[2])
TIMEOUT = 60
os.environ["GMEM_HOST"] = "user"


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        # A user of its own: whatever else runs on this machine is not looked at, but by root.
        self.env = {**os.environ, "XDG_RUNTIME_DIR": self.dir, "TERM": "xterm"}

    def begin(self, **env):
        p = subprocess.Popen([EXPOSED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             env={**self.env, **env})
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stdin.close)
        self.assertEqual(p.stdout.readline(), "ready\n")
        return p

    @staticmethod
    def tell(p, line):
        p.stdin.write(line + "\n")
        p.stdin.flush()

    def top(self, *args):
        return subprocess.run([GMEM, "top", *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=TIMEOUT, check=False, env=self.env)

    def batch(self, *args):
        r = self.top("-b", "-d", "0.1", *args)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout

    def fails(self, status, *args, says=()):
        r = self.top(*args)
        self.assertEqual((r.returncode, r.stdout), (status, ""), r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertTrue(r.stderr.startswith("gmem: "), r.stderr)
        for text in says:
            self.assertIn(text, r.stderr)


class Batch(Case):
    def test_busy(self):
        """Rates of what is going on, and where."""
        p = self.begin()
        self.tell(p, "touch 1000000")
        out = self.batch("-n", "2", "-p", str(p.pid))
        self.assertEqual(out.count("gmem top - "), 2)
        self.assertRegex(out, r"(?m)^gmem top - [0-9:]{8}, 1 process$")
        self.assertRegex(out, rf'(?m)^ +\d+  small "one" +{p.pid} exposed +'
                         r"\[[| ]{24}\] +[0-9.]+% of 2.0 MiB +0 bytes \w+/\w+$")
        rates = r" +(\d+) +(\d+) +([0-9.]+ \w+) +([0-9.]+ \w+) +(\d+) +(\d+)"
        self.assertRegex(out, rf"(?m)^ +{p.pid}  exposed +user{rates}$")
        self.assertRegex(out, rf"(?m)^ +{p.pid}  exposed +0x[0-9a-f]+ +[1-9]\d* +[0-9.]+ \w+")

    def test_idle(self):
        p = self.begin()
        out = self.batch("-n", "1", "-p", str(p.pid))
        self.assertRegex(out, rf"(?m)^ +{p.pid}  exposed +user +0 +0 +0 bytes +0 bytes +0 +0$")

    def test_several(self):
        """All that there are, as they come and go; what a dead one has left is removed."""
        a, b, c = self.begin(), self.begin(), self.begin(GMEM_EXPOSE="0")
        b.kill()
        b.wait()
        left = os.path.join(self.dir, "gmem", str(b.pid))
        self.assertTrue(os.path.exists(left))
        out = self.batch("-n", "1")
        self.assertRegex(out, rf"(?m)^ +{a.pid}  exposed ")
        self.assertNotRegex(out, rf"(?m)^ +({b.pid}|{c.pid})  exposed ")
        self.assertFalse(os.path.exists(left))

    def test_mute(self):
        """One that hangs is shown as such, and in nobody's way; and answers again."""
        a, b = self.begin(), self.begin()
        w = subprocess.Popen([GMEM, "top", "-b", "-d", "0.1"], stdout=subprocess.PIPE, text=True,
                             env=self.env)
        self.addCleanup(w.wait)
        self.addCleanup(w.kill)
        self.addCleanup(w.stdout.close)

        def until(pid, mute):
            for line in w.stdout:
                words = line.split()
                if words[:2] == [str(pid), "exposed"] and words[2] == "user" and \
                   ("not answer" in line) == mute:
                    return

        until(a.pid, False)
        a.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, a.pid, os.WSTOPPED)  # until it is, it answers
        until(a.pid, True)
        until(b.pid, False)
        a.send_signal(signal.SIGCONT)
        until(a.pid, False)
        self.assertIsNone(w.poll())

    def test_misuse(self):
        self.fails(2, says=["no terminal", "-b"])
        self.fails(2, "-b", "-n", "0", says=["-n 0"])
        for delay in ("0", "0.05", "x", "", "1x", "nan", "-1"):
            self.fails(2, "-b", "-d", delay, says=["-d " + delay])
        self.fails(2, "-b", "-p", "0", says=["-p 0"])
        self.fails(2, "-b", "now", says=["now"])
        self.fails(2, "-b", "--frobnicate", says=["--frobnicate"])
        self.fails(2, "-b", "-p", "2147483647", says=["no process 2147483647"])
        self.fails(2, "-b", "-p", str(os.getpid()), says=["does not use gmem"])
        r = self.top("--help")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("Examples:", r.stdout)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            r = subprocess.run([GMEM, "top", "-b", "-n", "1", "-d", "0.1"], stdout=full,
                               stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False,
                               env=self.env)
        self.assertEqual(r.returncode, 1)
        self.assertIn("cannot write", r.stderr)


class Terminal(Case):
    """Over a pseudo-terminal."""

    def open(self, *args, size=(24, 130)):
        pid, fd = pty.fork()
        if not pid:
            try:
                os.execve(GMEM, [GMEM, "top", *args], self.env)
            finally:
                os._exit(99)
        self.pid, self.fd, self.said = pid, fd, ""
        self.resize(*size)
        self.addCleanup(os.close, fd)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text):
        """Read until it has said that, from here on; or the end, for None."""
        end = time.monotonic() + TIMEOUT
        start = len(self.said)
        while text is None or text not in self.said[start:]:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"waited for {text!r}: {self.said!r}")
            try:
                got = os.read(self.fd, 65536).decode("utf-8", "replace")
            except OSError:
                got = ""
            if not got:
                self.assertIsNone(text, self.said)
                return
            self.said += got

    def status(self):
        self.until(None)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def test_quit(self):
        p = self.begin()
        self.open("-d", "60")
        self.until("exposed")
        os.write(self.fd, b" ") # the next at once
        self.tell(p, "touch 100")
        self.resize(12, 40)
        self.until("gmem top")
        os.write(self.fd, b"xq")
        self.assertEqual(self.status(), 0)

    def test_count(self):
        self.open("-n", "2", "-d", "0.1")
        self.assertEqual(self.status(), 0)
        self.assertIn("gmem top", self.said)

    def test_signal(self):
        """The terminal is given back as it was: the alternate screen is left."""
        for sig in (signal.SIGINT, signal.SIGTERM):
            self.open("-d", "60")
            self.until("HOTTEST")
            os.kill(self.pid, sig)
            self.assertEqual(self.status(), 0)
            self.assertIn("\x1b[?1049l", self.said)

    def test_small(self):
        self.begin()
        self.open("-n", "1", "-d", "0.1", size=(1, 1))
        self.assertEqual(self.status(), 0)

    def test_unknown(self):
        self.env["TERM"] = "no-such-terminal"
        self.open()
        self.assertEqual(self.status(), 1)
        self.assertIn("try -b", self.said)


def main():
    if subprocess.run([EXPOSED, "0"], check=False).returncode == 77:
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)


if __name__ == "__main__":
    main()
