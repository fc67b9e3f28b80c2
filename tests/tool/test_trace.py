#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem trace: that its file is what the Trace Event Format says, and says what happened.

Usage: test_trace.py PATH-OF-GMEM [unittest arguments]

The rules are those of "Trace Event Format" (JSON Array Format; ph X, i, C, M). Where the kernel
refuses userfaultfd the program is skipped (exit status 77).
"""
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

GMEM = os.path.abspath(sys.argv[1])
TIMEOUT = 300
DEVICE = 1 << 29  # process numbers of devices, from here on
ENV = {k: v for k, v in os.environ.items() if k not in ("GMEM_TRACE", "GMEM_QUIET")}
DEMO = (GMEM, "demo", "kv", "--size", "8M", "--hbm", "2M", "--iterations", "4", "-q", "--json")
NUMBERS = ("as", "object", "offset", "len", "pages", "bytes", "from", "to")
NAMES = {"fault": {"CPU fault", "device fault"}, "evict": {"evict"}, "thrash": {"thrash"},
         "migrate": {"move in", "move home", "prefetch", "move out", "rescue"}}
WHYS = {"CPU fault", "device fault", "prefetch", "evict", "drain", "poison"}


def run(*args, env=(), **kwargs):
    return subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False, env={**ENV, **dict(env)}, **kwargs)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.file = os.path.join(self.dir, "t.json")

    def trace(self, *program, status=0, **kwargs):
        r = run(GMEM, "trace", "-o", self.file, "--", *program, **kwargs)
        self.assertEqual(r.returncode, status, r.stderr)
        return r

    def load(self):
        with open(self.file, encoding="ascii") as f:
            text = f.read()
        self.assertTrue(text.startswith("[\n{") and text.endswith("}\n]\n"))
        return json.loads(text)

    def check_format(self, events):
        """Each event for itself; returns the spans of each track, in order."""
        tracks = collections.defaultdict(list)
        names = {}
        for e in events:
            self.assertIn(e["ph"], "XiCM")
            self.assertIsInstance(e["name"], str)
            self.assertIs(type(e["pid"]), int)
            self.assertTrue(0 < e["pid"] < 1 << 31)
            self.assertIsInstance(e["args"], dict)
            if e["ph"] == "M":
                self.assertIn(e["name"], ("process_name", "thread_name"))
                self.assertEqual(list(e["args"]), ["name"])
                key = (e["name"], e["pid"]) + ((e["tid"],) if e["name"] == "thread_name" else ())
                self.assertNotIn(key, names)
                names[key] = e["args"]["name"]
                continue
            self.assertIsInstance(e["ts"], (int, float))
            self.assertGreaterEqual(e["ts"], 0)
            if e["ph"] == "C":
                for v in e["args"].values():
                    self.assertIs(type(v), int)
                continue
            self.assertIs(type(e["tid"]), int)
            if e["ph"] == "i":
                self.assertIn(e["s"], ("g", "p", "t"))
            else:
                self.assertGreaterEqual(e["dur"], 0)
                tracks[e["pid"], e["tid"]].append(e)
            if e["name"] == "events lost":
                continue
            self.assertIn(("process_name", e["pid"]), names)
            self.assertIn(("thread_name", e["pid"], e["tid"]), names)
            self.check_args(e)
        return tracks

    def check_args(self, e):
        self.assertIn(e["name"], NAMES[e["cat"]])
        for key in NUMBERS:
            self.assertIs(type(e["args"][key]), int, key)
        self.assertRegex(e["args"]["addr"], "^0x[0-9a-f]+$")
        self.assertIn(e["args"]["why"], WHYS)
        if e["cat"] == "fault":
            self.assertIn(e["args"]["access"], ("read", "write", "atomic"))

    def check_nesting(self, spans):
        """In whole nanoseconds: of two spans of a track either ends before the other, or is in it."""
        def ends(e):
            begin = round(e["ts"] * 1000)
            return begin, begin + round(e["dur"] * 1000)
        stack = []
        for begin, end in sorted(map(ends, spans), key=lambda s: (s[0], -s[1])):
            while stack and stack[-1] <= begin:
                stack.pop()
            self.assertTrue(not stack or end <= stack[-1], (begin, end, stack))
            stack.append(end)


class Trace(Case):
    def test_format(self):
        r = self.trace(*DEMO)
        stats = json.loads(r.stdout)
        self.assertRegex(r.stderr, r"^gmem: .*t\.json: [0-9,]+ events.*\n$")
        events = self.load()
        tracks = self.check_format(events)
        for spans in tracks.values():
            self.check_nesting(spans)
        lost = sum(e["args"]["events"] for e in events if e["name"] == "events lost")
        named = collections.Counter(e["name"] for e in events)
        moved = sum(e["args"]["bytes"] for e in events if e["name"] == "move in")
        if not lost:
            evicted = [e for e in events if e["name"] == "evict" and "err" not in e["args"]]
            self.assertEqual(len(evicted), stats["device"]["evictions"])
            self.assertEqual(moved, stats["device"]["bytes_to_dev"])
            last = [e for e in events if e["ph"] == "C"][-1]["args"]
            self.assertEqual(last["to devices"], moved)
        for name in ("CPU fault", "device fault", "move in", "move home", "evict", "move out"):
            self.assertGreater(named[name], 0, name)

    def test_tracks(self):
        """What the CPU touches is on the track of its thread, not on the service thread's."""
        self.trace(*DEMO, "--lanes", "2")
        events = self.load()
        groups = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
        devices = [p for p in groups if p >= DEVICE]
        programs = [p for p in groups if p < DEVICE]
        self.assertEqual((len(devices), len(programs)), (1, 1))
        self.assertEqual(groups[programs[0]], "gmem")
        self.assertRegex(groups[devices[0]], r"^device, hnode \d+ of gmem$")
        faults = {e["tid"] for e in events if e["name"] == "CPU fault"}
        self.assertEqual(faults, {programs[0]}) # the first thread has its process's number
        self.assertTrue(all(e["pid"] == devices[0] for e in events
                            if e["name"] in ("device fault", "evict")))

    def test_inline(self):
        self.trace(*DEMO, "--inline")
        for spans in self.check_format(self.load()).values():
            self.check_nesting(spans)

    def test_several_processes(self):
        """One file, appended to."""
        self.trace("sh", "-c", '"$@" >/dev/null; "$@" >/dev/null & "$@" >/dev/null; wait', "sh",
                   GMEM, "demo", "stream", "--size", "3M", "-q")
        events = self.load()
        self.check_format(events)
        self.assertEqual(len({e["pid"] for e in events if e["pid"] < DEVICE}), 3)

    def test_killed(self):
        """The file is whole, whenever that was."""
        def kill(p):
            p.send_signal(signal.SIGKILL)

        with subprocess.Popen(DEMO + ("--iterations", "3000"), stdout=subprocess.DEVNULL,
                              env={**ENV, "GMEM_TRACE": self.file}) as p:
            while p.poll() is None and not (os.path.exists(self.file) and
                                            os.path.getsize(self.file)):
                threading.Event().wait(0.005)
            kill(p)
        self.assertEqual(p.returncode, -signal.SIGKILL)
        self.assertGreater(len(self.load()), 0)

    def test_status(self):
        self.assertIn("no events", self.trace("sh", "-c", "exit 7", status=7).stderr)
        self.trace("sh", "-c", "kill -TERM $$", status=128 + 15)
        r = self.trace("/nonexistent/program", status=127)
        self.assertIn("cannot run /nonexistent/program", r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1)
        self.assertIn("cannot run " + self.dir, self.trace(self.dir, status=126).stderr)
        self.assertEqual(run(GMEM, "trace", "-q", "-o", self.file, "true").stderr, "")

    def test_signals(self):
        """What would end gmem trace is the program's to act upon."""
        for sig in (signal.SIGTERM, signal.SIGHUP):
            with subprocess.Popen([GMEM, "trace", "-q", "-o", self.file, "--", "sh", "-c",
                                   "trap 'exit 7' TERM HUP; echo ready; while :; do sleep 0.01; done"],
                                  stdout=subprocess.PIPE,
                                  preexec_fn=lambda s=sig: signal.signal(s, signal.SIG_DFL)) as p:
                p.stdout.readline()
                p.send_signal(sig)
                self.assertEqual(p.wait(TIMEOUT), 7)

    def test_misuse(self):
        for args in ((), ("-o", self.file), ("true",), ("-o", "", "true"), ("--frobnicate",),
                     ("-o", self.dir, "true"), ("-o", "/dev/null", "true"),
                     ("-o", "/nonexistent/t.json", "true")):
            with self.subTest(args=args):
                r = run(GMEM, "trace", *args)
                self.assertEqual((r.returncode, r.stdout), (2, ""))
                self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertIn("Examples:", run(GMEM, "trace", "--help").stdout)


class Variable(Case):
    """GMEM_TRACE by itself."""

    def demo(self, path, **kwargs):
        return run(GMEM, "demo", "stream", "--size", "3M", "-q", "--json",
                   env={"GMEM_TRACE": path}, **kwargs)

    def test_append(self):
        for n in (1, 2):
            self.assertEqual(self.demo(self.file).stderr, "")
            events = self.load()
            self.assertEqual(len({e["pid"] for e in events if e["pid"] < DEVICE}), n)

    def test_refused(self):
        """It runs untraced, says why, and what is there stays as it is."""
        for text in ("important", "[important\n", "x]\n", "x\n]\n"):
            with open(self.file, "w", encoding="ascii") as f:
                f.write(text)
            r = self.demo(self.file)
            self.assertEqual(r.returncode, 0)
            self.assertIn("no trace", r.stderr)
            with open(self.file, encoding="ascii") as f:
                self.assertEqual(f.read(), text)
        for path, says in ((self.dir, "directory"), ("/nonexistent/t", "No such file"),
                           ("/dev/null", "Invalid")):
            r = self.demo(path)
            self.assertEqual(r.returncode, 0)
            self.assertIn(says, r.stderr)


def main():
    r = run(*DEMO)
    if r.returncode == 1 and "cannot create an address space" in r.stderr:
        print("skipped: " + r.stderr.strip())
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


if __name__ == "__main__":
    main()
