#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem check on this machine, as it is and with less of it.

Usage: test_check.py PATH-OF-GMEM [unittest arguments]

Whatever the machine is like, output and exit status must agree. What a process can take from
itself is taken: descriptors, the right to userfaultfd, the system call. All other verdicts are
test_check_unit.c's.
"""
import ctypes
import json
import os
import pty
import resource
import struct
import subprocess
import sys
import unittest

GMEM = os.path.abspath(sys.argv[1])
TIMEOUT = 120
NOBODY = 65534
STATUS = ("ready", "works", "unusable")


def gmem(*args, env=(), **kwargs):
    return subprocess.run([GMEM, "check", *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False,
                          env={**os.environ, **dict(env)}, **kwargs)


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def forbid_userfaultfd():
    """A filter as containers have it: the system call fails with EPERM."""
    program = b"".join(struct.pack("HBBI", *i) for i in (
        (0x20, 0, 0, 0),                 # load the number of the call
        (0x15, 0, 1, 323),               # userfaultfd?
        (0x06, 0, 0, 0x00050000 | 1),    # EPERM
        (0x06, 0, 0, 0x7fff0000)))       # allowed
    buf = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buf))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, fprog, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


class Case(unittest.TestCase):
    def looks(self, **kwargs):
        """One run with --json: the object, and its checks by name."""
        r = gmem("--json", **kwargs)
        self.assertEqual(r.stderr, "")
        o = json.loads(r.stdout)
        checks = {c["name"]: c for c in o["checks"]}
        self.assertEqual(len(checks), len(o["checks"]))
        self.assertEqual(o["status"], STATUS[r.returncode])
        bad = [c for c in o["checks"] if c["state"] in ("warn", "fail")]
        self.assertEqual(o["missing"], len(bad))
        self.assertEqual(r.returncode == 0, not bad)
        for c in o["checks"]:
            self.assertIn(c["state"], ("ok", "note", "warn", "fail"))
            self.assertTrue(c["found"])
            self.assertEqual("without" in c, c["state"] != "ok", c)
        return o, checks

    def as_nobody(self, preexec):
        if os.geteuid() or os.uname().machine != "x86_64":
            self.skipTest("it takes root, on x86-64")
        try:
            subprocess.run([GMEM, "--version"], preexec_fn=become_nobody, check=True,
                           capture_output=True, timeout=TIMEOUT)
        except (PermissionError, subprocess.CalledProcessError) as e:
            self.skipTest(f"nobody cannot run it: {e}")
        return self.looks(preexec_fn=preexec)


class Machine(Case):
    def test_json(self):
        o, checks = self.looks()
        self.assertRegex(o["version"], r"^\d+\.\d+\.\d+$")
        self.assertIn(os.uname().release, checks["kernel"]["found"])
        if o["status"] != "unusable":
            self.assertEqual(checks["trial"]["state"], "ok")
            self.assertEqual(checks["host"]["found"], o["host"])
            self.assertTrue(o[o["host"] + "_host"])

    def test_text(self):
        r = gmem()
        o, _ = self.looks()
        self.assertEqual(r.returncode, STATUS.index(o["status"]))
        lines = r.stdout.splitlines()
        for c in o["checks"]:
            self.assertTrue(any(c["name"] in line and c["found"] in line for line in lines), c)
            if "mend" in c:
                self.assertTrue(any(line.endswith(": " + c["mend"]) for line in lines), c)
        self.assertRegex(lines[-1], ("^Ready", "^Works", "^Not ready")[r.returncode])
        self.assertNotIn("\033", r.stdout)

    def test_environment(self):
        o, checks = self.looks(env={"GMEM_HOST": "moon"})
        self.assertEqual((o["status"], checks["host"]["mend"]), ("unusable", "unset GMEM_HOST"))
        if not os.path.exists("/dev/gmem"):
            o, checks = self.looks(env={"GMEM_HOST": "kernel"})
            self.assertEqual(o["status"], "unusable")


class Less(Case):
    def test_few_files(self):
        o, checks = self.looks(preexec_fn=few_files)
        self.assertNotEqual(o["status"], "ready")
        self.assertEqual(checks["open files"]["state"], "warn")
        self.assertEqual(checks["open files"]["mend"], "prlimit --nofile=1024:1024 --pid $$")

    def test_hardly_any_files(self):
        """Wherever descriptors run out, what is said is true of the trial."""
        seen = set()
        for n in range(4, 16):
            def limit():
                resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

            o, checks = self.looks(preexec_fn=limit)
            seen.add(o["status"])
            self.assertEqual(o["status"] != "unusable",
                             checks.get("trial", {}).get("state") == "ok")
        self.assertIn("unusable", seen)

    def test_nobody(self):
        """Without privilege it is the sysctl and the device that decide."""
        _, checks = self.as_nobody(become_nobody)
        with open("/proc/sys/vm/unprivileged_userfaultfd", encoding="ascii") as f:
            allowed = f.read().strip() == "1"
        try:
            allowed |= bool(os.stat("/dev/userfaultfd").st_mode & 0o006 == 0o006)
        except FileNotFoundError:
            pass
        c = checks["userfaultfd"]
        if allowed:
            self.assertEqual(c["state"], "ok")
        else:
            self.assertEqual((c["state"], c["mend"], c["root"]),
                             ("warn", "sysctl vm.unprivileged_userfaultfd=1", True))
            self.assertIn("EFAULT", c["without"])

    def test_container(self):
        """A filter forbids the system call, and there is no right to the device."""
        if os.path.exists("/dev/userfaultfd") and os.stat("/dev/userfaultfd").st_mode & 0o006:
            self.skipTest("/dev/userfaultfd is everybody's here")

        def both():
            become_nobody()
            forbid_userfaultfd()

        o, checks = self.as_nobody(both)
        c = checks["userfaultfd"]
        self.assertEqual((c["state"], c["mend"]),
                         ("fail", "docker run --device /dev/userfaultfd ..."))
        self.assertFalse(o["user_host"])
        if not o["kernel_host"]:
            self.assertEqual(o["status"], "unusable")

    def test_by_the_device(self):
        if not os.access("/dev/userfaultfd", os.R_OK | os.W_OK) or os.uname().machine != "x86_64":
            self.skipTest("it takes the right to /dev/userfaultfd, on x86-64")
        _, checks = self.looks(preexec_fn=forbid_userfaultfd)
        self.assertEqual((checks["userfaultfd"]["state"], checks["userfaultfd"]["found"]),
                         ("ok", "by /dev/userfaultfd"))


class Output(unittest.TestCase):
    def test_misuse(self):
        for args, says in ((("--frobnicate",), "--frobnicate"), (("now",), "now")):
            r = gmem(*args)
            self.assertEqual((r.returncode, r.stdout), (2, ""))
            self.assertEqual(len(r.stderr.splitlines()), 1)
            self.assertIn(says, r.stderr)

    def test_help(self):
        r = gmem("--help")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("Examples:", r.stdout)
        self.assertIn("Exit status:", r.stdout)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            for args in ((), ("--json",)):
                r = subprocess.run([GMEM, "check", *args], stdout=full, stderr=subprocess.PIPE,
                                   text=True, timeout=TIMEOUT, check=False)
                self.assertEqual(r.returncode, 1)
                self.assertIn("cannot write", r.stderr)

    def terminal(self, env):
        try:
            leader, follower = pty.openpty()
        except OSError as e:
            self.skipTest(f"no terminal can be made here: {e}")
        shown = b""
        with subprocess.Popen([GMEM, "check"], stdin=subprocess.DEVNULL, stdout=follower,
                              env={**os.environ, "TERM": "xterm", **env}) as p:
            os.close(follower)
            try:
                while data := os.read(leader, 1 << 16):
                    shown += data
            except OSError:  # its end has gone
                pass
        os.close(leader)
        self.assertIn(p.returncode, (0, 1, 2))
        return shown.decode()

    def test_color(self):
        self.assertIn("\033[32mok", self.terminal({}))
        self.assertNotIn("\033", self.terminal({"NO_COLOR": "1"}))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
