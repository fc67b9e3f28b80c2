#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem report: what it makes of traces, which are made up here, and the page.

Usage: test_report.py PATH-OF-GMEM [unittest arguments]
"""
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

GMEM = os.path.abspath(sys.argv[1])
MB = 1 << 20
BLOCK = 2 * MB
BASE = 0x7f0000000000
DEVICE = (1 << 29) | 77 << 6 | 1  # hnode 1 of process 77
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def gmem(*args, **kwargs):
    return subprocess.run([GMEM, "report", *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120, check=False, **kwargs)


class Trace:
    """Events, one millisecond after another."""

    def __init__(self):
        self.now = 1000.0
        self.events = [
            {"name": "process_name", "ph": "M", "pid": 77, "tid": 0, "args": {"name": "app"}},
            {"name": "process_name", "ph": "M", "pid": DEVICE, "tid": 0,
             "args": {"name": "device, hnode 1 of app"}},
            {"name": "thread_name", "ph": "M", "pid": 77, "tid": 77, "args": {"name": "main"}},
            {"name": "thread_name", "ph": "M", "pid": DEVICE, "tid": 78, "args": {"name": "lane"}}]

    def add(self, name, cat, pid, offset, size, source, to, why, **more):
        self.events.append({
            "name": name, "cat": cat, "ph": "X", "ts": self.now, "dur": 500, "pid": pid,
            "tid": 77 if pid == 77 else 78,
            "args": {"addr": hex(BASE + offset), "as": 1, "object": 3, "offset": offset,
                     "len": size or 4096, "pages": size // 4096, "bytes": size, "from": source,
                     "to": to, "why": why, **more}})
        self.now += 1000

    def move_in(self, offset, size=BLOCK, access="read"):
        self.add("move in", "migrate", DEVICE, offset, size, -1, 1, "device fault")
        self.add("device fault", "fault", DEVICE, offset, 0, -1, 1, "device fault", access=access)

    def move_home(self, offset, size=BLOCK, access="read"):
        self.add("move home", "migrate", 77, offset, size, 1, -1, "CPU fault")
        self.add("CPU fault", "fault", 77, offset, 0, 1, -1, "CPU fault", access=access)

    def move_out(self, offset, size=BLOCK):
        self.add("move out", "migrate", DEVICE, offset, size, 1, -1, "evict")
        self.add("evict", "evict", DEVICE, offset, size, 1, -1, "evict")


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.file = os.path.join(self.dir, "t.json")

    def write(self, text):
        with open(self.file, "w", encoding="utf-8") as f:
            f.write(text)

    def report(self, trace):
        self.write(json.dumps(trace.events))
        r = gmem(self.file, "--json")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return json.loads(r.stdout)


class Figures(Case):
    def advice(self, trace):
        return [(a["hint"], a["addr"], a["len"], a["bytes"], a["times"], a["device"])
                for a in self.report(trace)["advice"]]

    def test_pingpong(self):
        """In once, and then 3 times out and in again: 3 * 2 * 2 MiB could have been saved."""
        t = Trace()
        t.move_in(0, access="write")
        for _ in range(3):
            t.move_home(0)
            t.move_in(0, access="write")
        self.assertEqual(self.advice(t),
                         [("GM_PREFERRED_LOCATION", BASE, BLOCK, 12 * MB, 3, 1)])
        self.assertIn("would save 12.0 MiB", self.report(t)["advice"][0]["gain"])

    def test_read_mostly(self):
        t = Trace()
        t.move_in(0)
        for _ in range(2):
            t.move_home(0)
            t.move_in(0)
        self.assertEqual(self.advice(t), [("GM_READ_MOSTLY", BASE, BLOCK, 8 * MB, 2, 1)])

    def test_eviction(self):
        """Two neighbours of which the same is said are one range; clean pages cost one copy."""
        t = Trace()
        for offset in (0, BLOCK):
            t.move_in(offset)
        for _ in range(2):
            for offset in (0, BLOCK):
                t.move_out(offset)
                t.move_in(offset)
        self.assertEqual(self.advice(t), [("GM_PIN", BASE, 2 * BLOCK, 16 * MB, 4, 1)])
        t = Trace()
        t.move_in(0)
        for _ in range(2):
            t.move_out(0)
            t.events[-2]["args"]["bytes"] = 0
            t.move_in(0)
        self.assertEqual(self.advice(t), [("GM_PIN", BASE, BLOCK, 4 * MB, 2, 1)])

    def test_part(self):
        """A quarter of what had left comes back."""
        t = Trace()
        t.move_in(0)
        for _ in range(2):
            t.move_out(0)
            t.move_in(0, BLOCK // 4)
        self.assertEqual(self.advice(t)[0][3], 2 * (BLOCK // 4) + BLOCK // 4 + (2 * BLOCK - BLOCK // 4) // 7)

    def test_prefetch(self):
        t = Trace()
        for i in range(8):
            t.move_in(i * (BLOCK // 8), BLOCK // 8)
        self.assertEqual(self.advice(t), [("GM_PREFETCH", BASE, BLOCK, 2 * MB, 8, 1)])

    def test_none(self):
        t = Trace()
        t.move_in(0)
        t.move_home(0)
        self.assertEqual(self.advice(t), [])

    def test_totals(self):
        t = Trace()
        t.move_in(0)
        t.move_out(0)
        t.move_in(3 * BLOCK, MB)
        t.add("prefetch", "migrate", 77, 5 * BLOCK, 4 * MB, -1, 1, "prefetch")
        t.add("move in", "migrate", DEVICE, 0, MB, -1, 1, "device fault", err=-28)
        t.add("device fault", "fault", DEVICE, 0, 0, -1, 1, "device fault", access="write", err=-5)
        t.events.append({"name": "events lost", "cat": "lost", "ph": "i", "s": "p", "pid": 77,
                         "tid": 77, "ts": 5.0, "args": {"events": 9}})
        t.events.append({"name": "another's", "ph": "X", "ts": 1, "dur": 1, "pid": 1, "tid": 1})
        d = self.report(t)
        self.assertEqual(d["totals"], {
            "events": 9, "lost": 9, "failed": 2, "cpu_faults": 0, "dev_faults": 3,
            "to_device": 7 * MB, "to_host": 2 * MB, "between": 0, "evictions": 1,
            "evicted": 2 * MB, "prefetched": 4 * MB, "thrash": 0})
        self.assertEqual(d["ns"], 8500000)
        self.assertLessEqual(abs(sum(d["bytes"]["to_device"]) - 7 * MB), d["bins"])
        self.assertEqual(sum(d["faults"]["device"]), 3)
        self.assertEqual([(r["addr"], r["len"], r["dev"], r["in"]) for r in d["ranges"]],
                         [(BASE, BLOCK, 2, BLOCK), (BASE + 3 * BLOCK, BLOCK, 1, MB),
                          (BASE + 5 * BLOCK, BLOCK, 0, 4 * MB)])
        self.assertEqual([(k["group"], k["name"], k["device"]) for k in d["tracks"]],
                         [("app", "main", False), ("device, hnode 1 of app", "lane", True)])
        self.assertEqual([k["busy"] for k in d["tracks"]], [500000, 8 * 500000 - 500000 + 500000])

    def test_many_ranges(self):
        """More memory than the map of faults has rows: neighbours share one."""
        t = Trace()
        for i in range(200):
            t.move_in(i * BLOCK)
        d = self.report(t)
        self.assertLessEqual(len(d["ranges"]), 48)
        self.assertEqual(sum(r["dev"] for r in d["ranges"]), 200)
        self.assertEqual(sum(sum(r["heat"]) for r in d["ranges"]), 200)


class Input(Case):
    def fails(self, text, *says):
        self.write(text)
        r = gmem(self.file, "-o", os.path.join(self.dir, "t.html"))
        self.assertEqual((r.returncode, r.stdout), (2, ""))
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        for s in says:
            self.assertIn(s, r.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "t.html")))

    def test_cut_off(self):
        t = Trace()
        t.move_in(0)
        whole = "[\n" + ",\n".join(map(json.dumps, t.events)) + "\n]\n"
        end = whole.rindex("}")
        for text in (whole, whole[:end + 1], whole[:end + 1] + ",\n", '{"traceEvents": ' + whole + "}"):
            self.write(text)
            r = gmem(self.file, "--json")
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            self.assertEqual(json.loads(r.stdout)["totals"]["events"], 2)
        for n in (end, end - 20, whole.index("args")):
            self.fails(whole[:n], "cut off in the middle of event")
        self.fails(whole.replace('"ph"', 'ph', 1), "damaged: event 1")
        self.fails("[1, 2]", "damaged: event 1")

    def test_no_trace(self):
        self.fails("", "not a trace")
        self.fails("\x89GMT\r\n", "not a trace")
        self.fails('{"a": 1}', "not a trace")
        self.fails("[]", "no event")
        self.fails('[{"name": "x", "ph": "X", "ts": -1, "dur": "no"}]', "no event")

    def test_misuse(self):
        for args in ((), ("a", "b"), ("--json", "-o", "x", "a"), ("--frobnicate",),
                     ("/nonexistent/t.json",), (self.dir,)):
            r = gmem(*args)
            self.assertEqual((r.returncode, r.stdout, len(r.stderr.splitlines())), (2, "", 1), args)
        self.assertIn("Examples:", gmem("--help").stdout)

    def test_cannot_write(self):
        t = Trace()
        t.move_in(0)
        self.write(json.dumps(t.events))
        for out in ("/dev/full", "/nonexistent/t.html"):
            r = gmem(self.file, "-o", out)
            self.assertEqual((r.returncode, len(r.stderr.splitlines())), (1, 1), r.stderr)
            self.assertIn("cannot write " + out, r.stderr)
        with open("/dev/full", "w", encoding="ascii") as full:
            r = subprocess.run([GMEM, "report", self.file, "--json"], stdout=full, check=False,
                               stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(r.returncode, 1)


class Parser(html.parser.HTMLParser):
    """Each element ends, and nothing is fetched from elsewhere."""
    VOID = {"meta", "link", "br", "img", "input"}

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links, self.data = [], set(), [], {}

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag, tag

    def handle_data(self, data):
        if self.open:
            self.data[self.open[-1]] = self.data.get(self.open[-1], "") + data


class Page(Case):
    def page(self, name="app"):
        t = Trace()
        t.events[0]["args"]["name"] = name
        for _ in range(4):
            t.move_in(0)
            t.move_home(0)
        self.write(json.dumps(t.events))
        r = gmem(self.file)
        self.assertEqual((r.returncode, r.stdout), (0, ""))
        path = os.path.join(self.dir, "t.html")
        self.assertIn(path, r.stderr)
        with open(path, encoding="utf-8") as f:
            return path, f.read()

    def test_self_contained(self):
        path, text = self.page("</script><b>&")
        p = Parser()
        p.feed(text)
        p.close()
        self.assertEqual((p.open, p.links), ([], []))
        self.assertLessEqual({"style", "script", "noscript"}, p.seen)
        self.assertNotRegex(text, r"@import|url\(|fetch\(|XMLHttp|import\(")
        self.assertEqual(set(re.findall(r"https?://[^\"' ]*", text)), {"http://www.w3.org/2000/svg"})
        data = json.loads(p.data["script", "data"])
        self.assertEqual(data["tracks"][0]["group"], "</script><b>&")
        self.assertIn("prefers-color-scheme: dark", text)
        self.assertIn("width=device-width", text)
        r = gmem(self.file, "-o", "-")
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, text, ""))
        self.assertTrue(os.path.exists(path))

    def test_contrast(self):
        """Text and marks can be told from what is behind them, in light and in dark (WCAG 2.1, AA)."""
        def luminance(color):
            parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
            r, g, b = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
            return 0.2126 * r + 0.7152 * g + 0.0722 * b

        schemes = re.findall(r":root \{(.*?)\}", self.page()[1], re.S)
        self.assertEqual(len(schemes), 2)
        for scheme in schemes:
            colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
            least = {"ink": 4.5, "soft": 4.5, "warn": 4.5, **{f"c{i}": 3 for i in range(8)}}
            for name, want in least.items():
                for behind in ("card", "bg") if want > 3 else ("card",):
                    dark, light = sorted(luminance(colors[c]) for c in (name, behind))
                    self.assertGreaterEqual((light + 0.05) / (dark + 0.05), want, (name, behind))

    def test_browser(self):
        """The script runs to its end, and as wide as a phone nothing sticks out, where there is a browser."""
        if not BROWSER:
            self.skipTest("there is no chromium")
        path, text = self.page()
        look = ("<style>body { width: 390px; }</style><script>draw(); document.body.dataset.wide = "
                "Array.from(document.querySelectorAll('main, main > *')).filter(e => e.scrollWidth > "
                "e.clientWidth).map(e => e.tagName + e.id) + document.querySelector('main').clientWidth;"
                "</script></body>")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("</body>", look))
        r = subprocess.run([BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu",
                            "--window-size=500,900",
                            "--user-data-dir=" + os.path.join(self.dir, "profile"), "--dump-dom",
                            "file://" + path], capture_output=True, text=True, timeout=120,
                           check=False)
        self.assertEqual(r.returncode, 0, r.stderr)
        for what in ("GM_READ_MOSTLY would save", "<canvas", 'aria-label="bandwidth"',
                     'aria-label="timeline"', "<td>2 MiB</td>", "CPU faults", 'data-wide="390"'):
            self.assertIn(what, r.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
