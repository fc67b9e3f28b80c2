#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The picture at the end of gmem demo, in terminals, in pipes and in files.

Usage: test_demo_picture.py PATH-OF-GMEM [unittest arguments]

Every case runs the real command. Where the kernel refuses userfaultfd nothing can run on
an accelerator, and the whole program is skipped (exit status 77).
"""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

GMEM = os.path.abspath(sys.argv[1])
TIMEOUT = 300
SVG = "{http://www.w3.org/2000/svg}"
RUN = ("demo", "stream", "-q", "--size", "6M", "--hbm", "2M", "--iterations", "1")
os.environ["GMEM_QUIET"] = "1"  # the library's warnings, of what the kernel does not allow


def gmem(*args, **kwargs):
    return subprocess.run([GMEM, *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False, **kwargs)


class Picture(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)

    def env(self, **changes):
        env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "LC_ALL")}
        return {**env, "LANG": "C.UTF-8", "TERM": "xterm", **changes}

    def text(self, **changes):
        r = gmem(*RUN, env=self.env(**changes))
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout

    def json(self, *more):
        r = gmem(*RUN, "--json", *more)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return json.loads(r.stdout)

    def test_pipe(self):
        """No terminal: ASCII, no escapes, 80 columns; at the end is the verdict."""
        out = self.text()
        self.assertTrue(out.isascii())
        self.assertNotIn("\033", out)
        self.assertTrue(out.endswith("\nVerified: equal to the plain run.\n"))
        rows = {name.strip(): size for name, size in
                re.findall(r"(?m)^  ([a-z ]{20})[ .:=+*#@|-]{48} *([0-9.]+ \w+)$", out)}
        self.assertEqual(list(rows), ["on the accelerator", "to the accelerator", "to the host",
                                      "used in place"])
        self.assertIn(rows["to the accelerator"] + " ", out[:out.index("Time")])
        self.assertLessEqual(max(len(line) for line in out[out.index("What moved"):].splitlines()),
                             80)
        places = re.findall(r"(?m)^  [h1.] [a-z][a-z0-9, ]+ ([0-9.]+) (\w+)$", out)
        scale = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20}
        self.assertAlmostEqual(sum(float(n) * scale[unit] for n, unit in places), 6 << 20,
                               delta=200 << 10)

    def test_width(self):
        for width in (20, 52, 100):
            lines = self.text(COLUMNS=str(width)).splitlines()
            lines = lines[lines.index("Over time") + 2:]
            bars = [line for line in lines if "|" in line or re.fullmatch("  [h1.]+", line)]
            self.assertEqual(len(bars), 5)
            for line in bars:
                self.assertIn(len(line), range(width - 1, width + 1) if line != bars[-1] else
                              range(min(width, 6 * 256 + 2), width + 1))

    def test_terminal(self):
        try:
            leader, follower = pty.openpty()
        except OSError as e:
            self.skipTest(f"no terminal can be made here: {e}")
        for changes, color, blocks in (({}, True, True), ({"NO_COLOR": "1"}, False, False),
                                       ({"TERM": "dumb"}, False, False),
                                       ({"LANG": "C"}, True, False)):
            with self.subTest(env=changes), subprocess.Popen(
                    [GMEM, *RUN], stdin=subprocess.DEVNULL, stdout=follower,
                    stderr=subprocess.DEVNULL, env=self.env(**changes)) as p:
                out = b""
                while not out.endswith(b"plain run.\r\n"):
                    self.assertTrue(select.select([leader], [], [], TIMEOUT)[0], out)
                    out += os.read(leader, 1 << 16)
                self.assertEqual(p.wait(TIMEOUT), 0)
                self.assertEqual(b"\033[36m" in out, color)
                self.assertEqual(b"\033" in out, color)
                self.assertEqual("\u2588".encode() in out, blocks)
                self.assertEqual(out.isascii(), not blocks)
        os.close(follower)
        os.close(leader)

    def test_file(self):
        """What is drawn is what was counted; JSON does not know of it."""
        path = os.path.join(self.dir, "a.svg")
        plain, o = (self.json(*more) for more in ((), ("--picture", path)))
        self.assertEqual(o.keys(), plain.keys())
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        sums = {"to the accelerator": 0, "to the host": 0, "used in place": 0}
        cells = 0
        for rect in root.iter(SVG + "rect"):
            title = rect.findtext(SVG + "title")
            m = re.fullmatch(r"[0-9.]+ m?s to [0-9.]+ m?s: ([0-9,]+) bytes (.*)", title or "")
            if m and m[2] == "on the accelerator":
                self.assertLessEqual(int(m[1].replace(",", "")), o["device_bytes"])
            elif m:
                sums[m[2]] += int(m[1].replace(",", ""))
            elif title:
                cells += int(rect.get("width"))
            self.assertGreaterEqual(float(rect.get("height")), 0)
        c = o["address_space"]
        self.assertEqual(sums["to the accelerator"], c["bytes_to_dev"])
        self.assertEqual(sums["used in place"], c["remote_bytes"])
        # What is evicted in the background may be so after the last look.
        self.assertLessEqual(sums["to the host"], c["bytes_to_host"])
        self.assertGreater(sums["to the host"], 0)
        self.assertEqual(cells, 700)
        texts = ["".join(t.itertext()) for t in root.iter(SVG + "text")]
        self.assertIn("gmem demo: stream", texts)
        self.assertIn("6.0 MiB of data, 2.0 MiB of device memory", " ".join(texts))

    def test_last_line(self):
        path = os.path.join(self.dir, "a.svg")
        r = gmem(*RUN, "--picture", path)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertEqual(r.stdout.splitlines()[-1], "Picture: " + path)

    def test_png(self):
        path = os.path.join(self.dir, "a.png")
        r = gmem(*RUN, "--picture", path, env=self.env(PATH="/nonexistent"))
        self.assertEqual(r.returncode, 1)
        self.assertIn("apt-get install librsvg2-bin", r.stderr)
        if not shutil.which("rsvg-convert"):
            self.skipTest("there is no rsvg-convert")
        self.assertEqual(gmem(*RUN, "--picture", path).returncode, 0)
        with open(path, "rb") as f:
            self.assertEqual(f.read(8), b"\x89PNG\r\n\x1a\n")

    def test_cannot_write(self):
        """The result is there all the same."""
        full = os.path.join(self.dir, "full.svg")
        os.symlink("/dev/full", full)
        for path, why in ((full, "No space left"), ("/nonexistent/a.svg", "No such file")):
            for json_too in ((), ("--json",)):
                r = gmem(*RUN, "--picture", path, *json_too)
                self.assertEqual(r.returncode, 1)
                self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
                self.assertIn(f"gmem: cannot write {path}: {why}", r.stderr)
                if json_too:
                    self.assertIs(json.loads(r.stdout)["verified"], True)
                else:
                    self.assertTrue(r.stdout.endswith("Verified: equal to the plain run.\n"))


def main():
    r = gmem("demo", "gups", "--quiet", "--size", "8")
    if r.returncode == 1 and "cannot create an address space" in r.stderr:
        print("skipped: " + r.stderr.strip())
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


if __name__ == "__main__":
    main()
