#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem map: maps that are made up, drawn in text and as pictures; and of a process.

Usage: test_map.py PATH-OF-GMEM [unittest arguments]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree

GMEM = os.path.abspath(sys.argv[1])
SVG = "{http://www.w3.org/2000/svg}"
BASE = 0x7f0000000000
NOWHERE, HOST = -2, -1


def gmem(*args, env=(), **kwargs):
    base = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "GMEM_TRACE")}
    return subprocess.run([GMEM, "map", *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False, env={**base, **dict(env)}, **kwargs)


def a_map(*regions, devices=((1, "sim0"),)):
    return {"version": 1, "pid": 4711, "program": "app", "page": 4096,
            "devices": [{"hnode": n, "name": name} for n, name in devices],
            "regions": [{"as": 1, "addr": BASE + (i << 30),
                         "len": sum(r[1] for r in runs) * 4096, "runs": list(runs)}
                        for i, runs in enumerate(regions)]}


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.file = os.path.join(self.dir, "map.json")

    def write(self, m):
        with open(self.file, "w", encoding="utf-8") as f:
            f.write(m if isinstance(m, str) else json.dumps(m))

    def draw(self, m, *args, **kwargs):
        self.write(m)
        r = gmem(self.file, *args, **kwargs)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout

    def fails(self, status, *args, says=(), **kwargs):
        r = gmem(*args, **kwargs)
        self.assertEqual((r.returncode, r.stdout), (status, ""), r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        for s in says:
            self.assertIn(s, r.stderr)


class Text(Case):
    HALVES = ((0, 512, HOST, 0), (512, 512, 1, 0))

    def bars(self, m, *args, **kwargs):
        return re.findall(r"^0x[0-9a-f]+ +[0-9.]+ \w+\s+([h0-9.!]+)$", self.draw(m, *args, **kwargs),
                          re.M)

    def test_bar(self):
        out = self.draw(a_map(self.HALVES, ((0, 256, NOWHERE, 0),)))
        self.assertEqual(out.splitlines()[0], "app, process 4711: 2 regions")
        bars = self.bars(a_map(self.HALVES, ((0, 256, NOWHERE, 0),)))
        self.assertEqual([len(b) for b in bars], [53, 53])
        self.assertRegex(bars[0], "^h{26,27}1{26,27}$")
        self.assertEqual(bars[1], "." * 53)
        self.assertRegex(out, r"(?m)^  h host +2\.0 MiB$")
        self.assertRegex(out, r"(?m)^  1 hnode 1, sim0 +2\.0 MiB$")
        self.assertRegex(out, r"(?m)^  \. nowhere yet +1\.0 MiB$")
        self.assertNotIn("pinned", out)

    def test_width(self):
        for args, env, width in ((("--width", "100"), {}, 100), ((), {"COLUMNS": "64"}, 64),
                                 ((), {"COLUMNS": "no"}, 80), (("--width", "40"), {}, 40 + 27)):
            self.assertEqual(len(self.bars(a_map(self.HALVES), *args, env=env)[0]), width - 27)
        # Fewer pages than columns: one letter a page.
        self.assertEqual(self.bars(a_map(((0, 2, HOST, 0), (2, 1, 1, 0)))), ["hh1"])

    def test_reserved(self):
        """What was reserved, and is nowhere yet, leaves room for what is there."""
        m = a_map(self.HALVES + ((1024, 1 << 20, NOWHERE, 0),))
        self.assertRegex(self.bars(m)[0], "^h{26,27}1{26,27}$")
        self.assertRegex(self.draw(m), r"(?m)^ +of +4\.0 GiB  whose rest is nowhere yet$")
        self.assertNotIn("rest", self.draw(a_map(self.HALVES + ((1024, 512, NOWHERE, 0),))))

    def test_shares(self):
        """Every fourth page on the device: every fourth letter, nearly."""
        runs = []
        for i in range(0, 4096, 4):
            runs += [(i, 3, HOST, 0), (i + 3, 1, 1, 0)]
        bar, = self.bars(a_map(runs), "--width", "127")
        self.assertEqual(len(bar), 100)
        self.assertIn(bar.count("1"), (24, 25, 26))
        self.assertNotIn("11", bar)

    def test_flags(self):
        out = self.draw(a_map(((0, 512, HOST, 1), (512, 512, HOST, 4))))
        self.assertRegex(out, r"h{26,27}!{26,27}\n")
        self.assertRegex(out, r"(?m)^  ! poisoned +2\.0 MiB$")
        self.assertRegex(out, r"(?m)^    of these pinned +2\.0 MiB$")

    def test_devices(self):
        """One that nobody has named, and as many as there may be."""
        m = a_map(*[((0, 8, n, 0),) for n in range(1, 65)], devices=())
        self.assertIn("hnode 64 ", self.draw(m))
        self.write(a_map(*[((0, 8, n, 0),) for n in range(1, 66)], devices=()))
        self.fails(2, self.file, says=["region 65"])

    def test_color(self):
        if not shutil.which("script"):
            self.skipTest("there is no script(1)")
        self.write(a_map(self.HALVES))
        for no, colors in (("", True), ("1", False)):
            r = subprocess.run(["script", "-qec", f"{GMEM} map {self.file}", "/dev/null"],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               timeout=60, check=False,
                               env={**os.environ, "TERM": "xterm", "NO_COLOR": no})
            self.assertEqual("\033[30;46m" in r.stdout, colors)

    def test_json(self):
        m = a_map(self.HALVES)
        self.assertEqual(json.loads(self.draw(m, "--json")), json.loads(json.dumps(m)))


class Picture(Case):
    def test_svg(self):
        path = os.path.join(self.dir, "map.svg")
        m = a_map(Text.HALVES, ((0, 512, NOWHERE, 0), (512, 1, 1, 4)), devices=((1, "<&\">"),))
        self.assertEqual(self.draw(m, "-o", path), "")
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        rects = [r for r in root.iter(SVG + "rect") if r.find(SVG + "title") is not None]
        self.assertEqual([r.get("class") for r in rects], ["h", "d0", "n", "p"])
        self.assertEqual(sum(int(r.get("width")) for r in rects[:2]), 700)
        self.assertEqual([int(r.get("width")) for r in rects[:2]], [350, 350])
        self.assertEqual(rects[1].find(SVG + "title").text, hex(BASE + (2 << 20)) + ": hnode 1, <&\">")
        texts = ["".join(t.itertext()) for t in root.iter(SVG + "text")]
        self.assertIn("host 2.0 MiB", texts)
        self.assertIn("poisoned 4.0 KiB", texts)
        self.assertIn("app, process 4711", texts)

    def test_png(self):
        path = os.path.join(self.dir, "map.png")
        self.write(a_map(Text.HALVES))
        self.fails(1, self.file, "-o", path, env={"PATH": "/nonexistent"},
                   says=["apt-get install librsvg2-bin"])
        if not shutil.which("rsvg-convert"):
            self.skipTest("there is no rsvg-convert")
        self.assertEqual(self.draw(a_map(Text.HALVES), "-o", path), "")
        with open(path, "rb") as f:
            self.assertEqual(f.read(8), b"\x89PNG\r\n\x1a\n")

    def test_cannot_write(self):
        self.write(a_map(Text.HALVES))
        self.fails(1, self.file, "-o", "/nonexistent/map.svg", says=["cannot write"])
        with open("/dev/full", "w", encoding="ascii") as full:
            for args in ((), ("--json",)):
                r = subprocess.run([GMEM, "map", self.file, *args], stdout=full, text=True,
                                   stderr=subprocess.PIPE, timeout=60, check=False)
                self.assertEqual((r.returncode, len(r.stderr.splitlines())), (1, 1))


class Input(Case):
    def test_damaged(self):
        good = a_map(Text.HALVES)
        for text, says in (("", "no JSON"), (json.dumps(good)[:-30], "cut off"), ("{}", "not a map"),
                           ("[]", "not a map"), (json.dumps({**good, "page": 0}), "not a map"),
                           (json.dumps({**good, "error": 1, "regions": None}), "not a map")):
            self.write(text)
            self.fails(2, self.file, says=[self.file, says])
        for run in ((0, 4097, HOST, 0), (1025, 1, HOST, 0), (0, -1, HOST, 0), (0, 1, -3, 0),
                    (0, 1, HOST), "x", (0, 1, "h", 0), (0, 1, HOST, -1)):
            m = a_map(Text.HALVES)
            m["regions"][0]["runs"][1] = run
            self.write(m)
            self.fails(2, self.file, says=["region 1"])
        for key, value in (("len", 0), ("len", None), ("addr", -1), ("runs", 3)):
            m = a_map(Text.HALVES)
            m["regions"][0][key] = value
            self.write(m)
            self.fails(2, self.file, says=["region 1"])

    def test_misuse(self):
        self.write(a_map(Text.HALVES))
        for args in ((), (self.file, self.file), (self.file, "-o", "x.gif"), (self.file, "-o", ".svg"),
                     (self.file, "--json", "-o", "x.svg"), (self.file, "--width", "5"),
                     ("--frobnicate",), ("/nonexistent/map",), (self.dir,)):
            self.fails(2, *args)
        self.assertIn("Examples:", gmem("--help").stdout)

    def test_process(self):
        """One that is there and uses no gmem, and one that is not there."""
        self.fails(2, str(os.getpid()), says=["does not use gmem"])
        with subprocess.Popen(["true"]) as p:
            p.wait()
        self.fails(2, str(p.pid))


class Live(Case):
    def test_demo(self):
        """All of the data of a demo that runs is somewhere."""
        env = {**os.environ, "XDG_RUNTIME_DIR": self.dir}
        with subprocess.Popen([GMEM, "demo", "kv", "--size", "8M", "--iterations", "3000", "-q"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env) as p:
            try:
                self.look(p, env)
            finally:
                p.kill()

    def look(self, p, env):
        m = {"regions": []}
        for _ in range(200):
            r = gmem(str(p.pid), "--json", env=env)
            if p.poll() is not None:
                self.skipTest("no demo here: " + p.stderr.read().decode())
            if r.returncode == 0:
                m = json.loads(r.stdout)
            if any(run[2] >= 0 for region in m["regions"] for run in region["runs"]):
                break
            threading.Event().wait(0.05)
        region, = m["regions"]
        self.assertEqual(sum(run[1] for run in region["runs"]) * 4096, region["len"])
        self.assertGreaterEqual(region["len"], 8 << 20)
        self.assertEqual(m["devices"][0]["hnode"], max(run[2] for run in region["runs"]))
        out = gmem(str(p.pid), env=env).stdout
        self.assertIn("gmem, process %d: 1 region\n" % p.pid, out)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
