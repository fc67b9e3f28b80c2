#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""`gmem run`: what it refuses, whose exit status it is, and what a program may do with its heap.

Usage: test_edges.py PATH-OF-GMEM PATH-OF-PROGRAM PATH-OF-STATIC-PROGRAM [unittest arguments]
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

GMEM = os.path.abspath(sys.argv[1])
PROGRAM = os.path.abspath(sys.argv[2])
STATIC = os.path.abspath(sys.argv[3])
LIMIT_MIB = 16


def run(*words, env=None, **kwargs):
    return subprocess.run([GMEM, "run", *words], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300, check=False,
                          env={**os.environ, **(env or {})}, **kwargs)


class Refused(unittest.TestCase):
    def refused(self, status, say, *words, **kwargs):
        r = run(*words, **kwargs)
        self.assertEqual((r.returncode, r.stdout), (status, ""), r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertTrue(r.stderr.startswith("gmem: "))
        self.assertIn(say, r.stderr)

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.dir)

    def file(self, name, text, mode=0o755):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def test_misuse(self):
        self.refused(125, "which program", )
        self.refused(125, "--nonsense", "--nonsense", "true")
        self.refused(125, "--host-limit", "--host-limit")
        for size in ("4M", "x", "-1", "8388607", ""):
            self.refused(125, "from 8M up", "--host-limit", size, "true")
        self.refused(125, "unknown kind of device", "--device", "gpu", "true")
        self.refused(125, "no such key", "--device", "sim,speed=3", "true")
        self.refused(125, "memory", "--device", "sim,memory=1", "true")
        self.refused(125, "dir", "--device", "sim,dir=/nonexistent", "true")
        self.refused(125, "no file can be made", "--device", "sim,dir=/proc", "--host-limit", "16M",
                     "true")
        self.refused(125, "no file can be made", "--host-limit", "16M", "true",
                     env={"TMPDIR": "/nonexistent"})
        self.refused(125, "GMEM_HOST=kernel", "true", env={"GMEM_HOST": "kernel"})

    def test_program(self):
        self.refused(127, "no such program", "no-such-program")
        self.refused(127, "no such program", "")
        self.refused(127, "no such program", "/nonexistent/program")
        self.refused(127, "no such program", PROGRAM + "/x")
        self.refused(126, "cannot be run", self.dir)
        self.refused(126, "cannot be run", self.file("plain", b"#!/bin/sh\n", 0o644))
        self.refused(126, "static", STATIC)
        self.refused(126, "static", self.file("script", b"#! " + STATIC.encode() + b" x\n"))
        self.refused(126, "neither", self.file("text", b"exit 0\n"))
        self.refused(126, "neither", self.file("empty", b""))
        self.refused(126, "neither", self.file("loop", b"#!" + self.dir.encode() + b"/loop\n"))
        self.refused(126, "neither", self.file("noone", b"#!\n"))
        with open(PROGRAM, "rb") as f:
            elf = bytearray(f.read())
        self.refused(126, "damaged", self.file("cut", elf[:64]))
        elf[18] = 0xb7
        self.refused(126, "another machine", self.file("arm", elf))
        elf[18] = 0x3e
        loader = elf.index(b"/lib64/ld-linux-x86-64.so.2")
        elf[loader + 1] = ord("x")
        self.refused(126, "another dynamic linker", self.file("musl", elf))

    @unittest.skipUnless(os.geteuid() == 0, "only root makes another's setuid program")
    def test_setuid(self):
        path = self.file("setuid", b"")
        shutil.copyfile(PROGRAM, path)
        os.chown(path, 1, 1)
        os.chmod(path, 0o4755)
        self.refused(126, "setuid", path)
        os.chmod(path, 0o2755)
        self.refused(126, "setgid", path)

    def test_library_missing(self):
        alone = os.path.join(self.dir, "gmem")
        shutil.copyfile(GMEM, alone)
        os.chmod(alone, 0o755)
        lib = os.path.join(os.path.dirname(GMEM), "../../src")
        r = subprocess.run([alone, "run", "true"], capture_output=True, text=True, check=False,
                           env={**os.environ, "LD_LIBRARY_PATH": lib})
        if os.path.exists("/usr/local/lib/x86_64-linux-gnu/gmem/libgmem_preload.so"):
            self.skipTest("it is installed")
        self.assertEqual(r.returncode, 125, r.stderr)
        self.assertIn("libgmem_preload.so", r.stderr)


class Statuses(unittest.TestCase):
    def test_exit(self):
        for status in (0, 1, 42, 125, 255):
            self.assertEqual(run("--", "sh", "-c", "exit %d" % status).returncode, status)

    def test_signal(self):
        self.assertEqual(run("sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)
        self.assertEqual(subprocess.run(["sh", "-c", '"$0" run sh -c "kill -9 \\$\\$"; exit $?', GMEM],
                                        stderr=subprocess.DEVNULL, check=False).returncode, 137)

    def test_words(self):
        """What is behind the program's name is the program's."""
        r = run("printf", "%s|", "--host-limit", "-x", "--", "a b")
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, "--host-limit|-x|--|a b|", ""))

    def test_help(self):
        r = run("--help")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        for word in ("--device=SPEC", "--host-limit=SIZE", "PROGRAM", "125"):
            self.assertIn(word, r.stdout)

    def test_preload_kept(self):
        """What the user preloads comes along."""
        r = run("sh", "-c", "echo $LD_PRELOAD", env={"LD_PRELOAD": "libc.so.6"})
        self.assertRegex(r.stdout, r"^/.*/libgmem_preload\.so:libc\.so\.6\n$")

    def test_damaged_environment(self):
        """A program far down, to which something else was handed on: it runs, and a line says so."""
        library = run("sh", "-c", "echo $LD_PRELOAD").stdout.strip()
        for text in ("", "1:2", "x", "1:2:3:4:5:6"):
            r = subprocess.run(["true"], capture_output=True, text=True, check=False,
                               env={"LD_PRELOAD": library, "GMEM_RUN": text})
            self.assertEqual(r.returncode, 0)
            self.assertRegex(r.stderr, "^gmem: run: true goes on with plain memory: .*\n$")
        r = subprocess.run(["true"], capture_output=True, text=True, check=False,
                           env={"LD_PRELOAD": library,
                                "GMEM_RUN": "16777216:67108864:0:0:0:0:/nonexistent"})
        self.assertEqual((r.returncode, r.stderr.count("\n")), (0, 1), r.stderr)


class Heap(unittest.TestCase):
    """Each with far less host memory than it uses, and without a limit."""

    def both(self, *words):
        for limit in ((), ("--host-limit", "%dM" % LIMIT_MIB)):
            r = run(*limit, "--", PROGRAM, *words)
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, "", ""), limit)

    def test_within(self):
        r = run("--host-limit", "%dM" % LIMIT_MIB, PROGRAM, "within", str(LIMIT_MIB << 10))
        self.assertEqual((r.returncode, r.stderr), (0, ""))

    def test_address_space(self):
        """A process that may not have much of it gets a smaller range, or a line that says no."""
        r = run("sh", "-c", "ulimit -v 2000000; exec %s calls" % PROGRAM)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        r = run("sh", "-c", "ulimit -v 400000; exec %s calls" % PROGRAM)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("goes on with plain memory", r.stderr)

    def test_device_full(self):
        """Then the limit is not kept, and nothing is lost."""
        r = run("--host-limit", "8M", "--device", "sim,memory=8M", PROGRAM, "calls")
        self.assertEqual((r.returncode, r.stderr),
                         (0, "gmem: run: device memory is full: the limit is not kept\n"))

    def test_devices(self):
        for device in ("sim,memory=256M,page=2M", "sim,memory=256M,lanes=1,engines=2,dir=/var/tmp"):
            r = run("--host-limit", "16M", "--device", device, PROGRAM, "calls")
            self.assertEqual((r.returncode, r.stderr), (0, ""))


for name in ("forks", "execs", "threads", "signals", "calls", "files", "maps"):
    setattr(Heap, "test_" + name, lambda self, name=name: self.both(name))

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
