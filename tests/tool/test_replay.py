#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""`gmem replay`, as whoever runs it sees it: results, messages and exit statuses.

Usage: test_replay.py PATH-OF-GMEM PATH-OF-MAKE-TRACE [unittest arguments]
"""
import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import unittest

GMEM = os.path.abspath(sys.argv[1])
MAKE_TRACE = os.path.abspath(sys.argv[2])
TIMEOUT = 300
PAGE = 4096
BASELINE = "fixed:2m/lru-2m"
SOME = ("-p", "density/lru-2m,fixed:4k/lru-2m")


def replay(*args, **kwargs):
    kwargs.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([GMEM, "replay", *args], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False,
                          **kwargs)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)

    def trace(self, pattern, pages=2048, accesses=4000, seed=1):
        path = os.path.join(self.dir, pattern + ".gmt")
        subprocess.run([MAKE_TRACE, path, pattern, str(pages), str(accesses), str(seed)],
                       check=True)
        return path

    def good(self, *args):
        run = replay("-q", *args)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return run.stdout

    def bad(self, status, text, *args, **kwargs):
        run = replay("-q", *args, **kwargs)
        self.assertEqual(run.returncode, status, run.stderr)
        self.assertEqual(run.stderr.count("\n"), 1, run.stderr)
        self.assertTrue(run.stderr.startswith("gmem: "), run.stderr)
        self.assertIn(text, run.stderr)
        return run

    def cells(self, *args):
        return json.loads(self.good("--json", *args))


class Results(Case):
    def test_loop(self):
        """Round and round, a page more than there is room for: known to the page."""
        pages, frames, rounds = 2048, 1024, 10
        path = self.trace("loop", pages, pages * rounds)
        cell, = self.cells(*SOME, "-m", "50%", path)["cells"]
        self.assertEqual((cell["memory_pages"], cell["footprint_pages"], cell["accesses"]),
                         (frames, pages, pages * rounds))
        score = {r["policy"]: r for r in cell["results"]}
        for name in ("lru", "lfu", "fixed:4k/lru-2m"):
            self.assertEqual(score[name]["dev_faults"], pages * rounds, name)
            self.assertEqual(score[name]["pages_in"] + score[name]["pages_zeroed"],
                             pages * rounds, name)
        # Of the pages that are not there, all but one are missed once a round.
        misses = frames + sum((pages - frames) * pages // (pages - 1) for _ in range(rounds - 1))
        self.assertAlmostEqual(score["optimum"]["dev_faults"], pages - frames + misses, delta=rounds)
        self.assertEqual(score["mru"]["dev_faults"], score["optimum"]["dev_faults"])
        self.assertEqual(cell["best_online"], "mru")

    def test_room_for_all(self):
        """All policies that there are."""
        path = self.trace("random", 1024, 2000)
        cell, = self.cells("-m", "8M", path)["cells"]
        for result in cell["results"]:
            with self.subTest(result["policy"]):
                self.assertEqual(result["evictions"], 0)
                if result["kind"] != "gmem":
                    self.assertEqual(result["to_optimum"], 1)

    def test_ratios(self):
        """What is derived follows from what is counted; the optimum misses least."""
        paths = [self.trace(p) for p in ("random", "skewed", "pair")]
        out = self.cells(*SOME, "-m", "50%,90%,1M", *paths)
        self.assertEqual([(c["trace"], c["memory"]) for c in out["cells"]],
                         [(os.path.basename(p), m) for p in paths for m in ("50%", "90%", "1M")])
        sums = {}
        for cell in out["cells"]:
            score = {r["policy"]: r for r in cell["results"]}
            moved = {name: r["pages_in"] + r["pages_out"] for name, r in score.items()}
            online = [n for n, r in score.items() if r["kind"] == "online"]
            self.assertEqual(moved[cell["best_online"]], min(moved[n] for n in online))
            for name, r in score.items():
                self.assertEqual(r["remote_bytes"], 0)
                self.assertEqual(r["bytes"], moved[name] * PAGE)
                self.assertAlmostEqual(r["to_optimum"], moved[name] / moved["optimum"], 6)
                self.assertAlmostEqual(r["to_baseline"], moved[name] / moved[BASELINE], 6)
                sums.setdefault(name, []).append((r["to_optimum"], r["to_baseline"]))
            for name in online + ["fixed:4k/lru-2m"]:
                self.assertGreaterEqual(score[name]["dev_faults"], score["optimum"]["dev_faults"])
            best = score[cell["best_online"]]
            sums.setdefault("best online of each", []).append(
                (best["to_optimum"], best["to_baseline"]))
        self.assertEqual({m["policy"] for m in out["means"]}, set(sums))
        for mean in out["means"]:
            values = sums[mean["policy"]]
            self.assertAlmostEqual(mean["to_optimum"], sum(v[0] for v in values) / len(values), 5)
            self.assertAlmostEqual(mean["to_baseline"], sum(v[1] for v in values) / len(values), 5)

    def test_same_again(self):
        """The same bytes twice, however many runs there are at once."""
        paths = [self.trace(p, 1024, 2000) for p in ("random", "pair", "loop")]
        for form in ([], ["--csv"], ["--json"], ["--markdown"]):
            with self.subTest(form):
                one = self.good(*SOME, "-j", "1", *form, *paths)
                self.assertEqual(one, self.good(*SOME, "-j", "7", *form, *paths))
        self.assertEqual(one, self.good(*SOME, "-j", "1", *form, *paths))
        self.assertEqual(one, self.good(*SOME, *form, *paths))

    def test_csv(self):
        path = self.trace("skewed")
        os.rename(path, os.path.join(self.dir, 'a "b",c.gmt'))
        path = os.path.join(self.dir, 'a "b",c.gmt')
        rows = list(csv.DictReader(io.StringIO(self.good(*SOME, "--csv", path))))
        cells = self.cells(*SOME, path)["cells"]
        want = [(c, r) for c in cells for r in c["results"]]
        self.assertEqual(len(rows), len(want))
        for row, (cell, result) in zip(rows, want):
            for key in ("trace", "memory", "footprint_pages", "memory_pages", "accesses"):
                self.assertEqual(row[key], str(cell[key]))
            for key, value in result.items():
                if key.startswith("to_"):
                    self.assertAlmostEqual(float(row[key]), value, 5)
                else:
                    self.assertEqual(row[key], str(value))

    def test_text(self):
        path = self.trace("skewed")
        text = self.good("-p", "density/lru-2m", "-m", "75%", path)
        cell, = self.cells("-p", "density/lru-2m", "-m", "75%", path)["cells"]
        for result in cell["results"]:
            self.assertIn(f"{result['pages_in']:,}", text)
            self.assertIn(f"{result['pages_out']:,}", text)
        self.assertIn("Bytes moved, mean over 1 cell\n", text)
        self.assertIn(f"best online: {cell['best_online']}", text)

    def test_markdown(self):
        path = self.trace("skewed")
        out = self.cells(*SOME, path)
        names = [r["policy"] for r in out["cells"][0]["results"] if r["kind"] == "gmem"]
        lines = [[field.strip() for field in line.strip("|").split("|")]
                 for line in self.good(*SOME, "--markdown", path).splitlines()]
        self.assertEqual(lines[0][3:-1], names)
        self.assertEqual(len(lines), 2 + 3 + 2)
        for line, cell in zip(lines[2:], out["cells"]):
            score = {r["policy"]: r for r in cell["results"]}
            self.assertEqual(line[:2], [cell["trace"], cell["memory"]])
            self.assertEqual(line[3:-1], [f"{score[n]['to_optimum']:.3f}" for n in names])
            self.assertIn(cell["best_online"], line[-1])
        means = {m["policy"]: m for m in out["means"]}
        for line, key in zip(lines[-2:], ("to_optimum", "to_baseline")):
            self.assertEqual(line[3:], [f"{means[n][key]:.3f}"
                                        for n in names + ["best online of each"]])

    def test_costs(self):
        """Faults cost what they are said to cost, and nothing else does."""
        path = self.trace("random", 1024, 2000)
        free = ["--bandwidth", "1024T", "--zero-bandwidth", "1024T", "--latency", "0",
                "--invalidation", "0", "--cpu-fault", "0", "-m", "50%", path]
        for result in self.cells("--fault", "1000000", *free)["cells"][0]["results"]:
            faults = result["dev_faults"] + result["soft_faults"]
            self.assertEqual(round(result["ns"] / 1000000), faults, result["policy"])

    def test_background(self):
        path = self.trace("skewed")
        args = ("-p", "fixed:64k/lru-2m", "-m", "75%", path)
        plain, ahead = (self.cells(*a, *args)["cells"][0]["results"][0]
                        for a in ([], ["--background"]))
        self.assertNotEqual(plain["ns"], ahead["ns"])
        self.assertGreater(ahead["evictions"], 0)

    def test_in_place(self):
        """Of a page at random a line: that is less than even the optimum moves."""
        path = self.trace("random", 4096, 20000)
        args = ("-p", "auto/rrip", "-m", "50%", path)
        plain, here = (self.cells(*a, *args) for a in ([], ["--in-place"]))
        self.assertEqual((plain["in_place"], here["in_place"]), (False, True))
        first, second = (c["cells"][0]["results"] for c in (plain, here))
        self.assertEqual(first[1:], second[1:]) # these leave nothing in place
        score = second[0]
        self.assertGreater(score["remote_bytes"], 0)
        self.assertEqual(score["remote_bytes"] % 64, 0)
        self.assertEqual(score["bytes"], (score["pages_in"] + score["pages_out"]) * PAGE
                         + score["remote_bytes"])
        self.assertGreater(first[0]["to_optimum"], 1)
        self.assertLess(score["to_optimum"], 1)
        self.assertIn("in place", self.good("--in-place", *args))

    def test_policies(self):
        """The baseline is there once, be it asked for or not."""
        path = self.trace("loop")
        for names, want in (("density/lru-2m", ["density/lru-2m", BASELINE]),
                            (BASELINE, [BASELINE]),
                            ("fixed:4k/lru-2m," + BASELINE, ["fixed:4k/lru-2m", BASELINE]),
                            ("fixed:4k/lru-2m,fixed:4k/lru-2m", ["fixed:4k/lru-2m", BASELINE])):
            results = self.cells("-p", names, "-m", "50%", path)["cells"][0]["results"]
            self.assertEqual([r["policy"] for r in results if r["kind"] == "gmem"], want)


class Mistakes(Case):
    def test_options(self):
        path = self.trace("loop", 64, 64)
        for text, *args in (
                ("which trace?",),
                ("--no-such: unknown option", "--no-such", path),
                ("--policy nobody/lru-2m: there is no such policy of moving", "-p",
                 "nobody/lru-2m", path),
                ("--policy density/nobody: there is no such policy of eviction", "-p",
                 "density/nobody", path),
                ("--policy density", "-p", "density", path),
                ("--policy fixed:3k/lru-2m", "-p", "fixed:3k/lru-2m", path),
                ("--memory 0%", "-m", "0%", path), ("--memory 1001%", "-m", "50%,1001%", path),
                ("--memory x", "-m", "x", path), ("--memory 4095", "-m", "4095", path),
                ("--memory", "-m", "", path),
                ("--jobs 0", "-j", "0", path), ("--latency -1", "--latency=-1", path),
                ("--fault 2s", "--fault", "2s", path),
                ("--bandwidth 0", "--bandwidth", "0", path),
                ("exclude each other", "--csv", "--json", path)):
            with self.subTest(args):
                run = self.bad(2, text, *args)
                self.assertEqual(run.stdout, "")

    def test_help(self):
        text = self.good("--help")
        for word in ("Examples:", "Exit status:", "--memory", "density/lru-2m", BASELINE,
                     "optimum", "s3-fifo", "gmem replay traces/*.gmt"):
            self.assertIn(word, text)

    def test_no_trace(self):
        self.bad(2, "No such file", os.path.join(self.dir, "none.gmt"))
        self.bad(2, self.dir, self.dir)
        for data in (b"", b"hello, this is no trace but some other file of the user's\n" * 9):
            path = os.path.join(self.dir, "other")
            with open(path, "wb") as f:
                f.write(data)
            self.bad(2, path + ": at byte ", path)

    def test_damaged(self):
        path = self.trace("random", 64, 500)
        with open(path, "rb") as f:
            data = f.read()
        broken = os.path.join(self.dir, "broken.gmt")
        for i in range(0, len(data), max(1, len(data) // 12)):
            for name, new in (("flipped", data[:i] + bytes([data[i] ^ 0x55]) + data[i + 1:]),
                              ("cut", data[:i])):
                with self.subTest(f"{name} at {i}"):
                    with open(broken, "wb") as f:
                        f.write(new)
                    # Nothing is printed of the sound one either.
                    self.assertEqual(self.bad(2, broken + ": at byte ", *SOME, "-m", "50%",
                                              path, broken).stdout, "")

    def test_nothing_to_do(self):
        self.bad(2, "nothing to replay", self.trace("loop", 64, 0))

    def test_run_fails(self):
        path = self.trace("pinned", 2048, 5000)
        self.bad(1, "memory 4M: operation ", *SOME, "-m", "4M", path)
        self.good(*SOME, "-m", "6M", path)
        # What cannot be pinned is not, and the rest goes on.
        cell, = self.cells(*SOME, "-m", "3M", path)["cells"]
        for result in cell["results"]:
            self.assertEqual(result["hints_failed"], result["kind"] == "gmem")

    def test_output_fails(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            for form in ([], ["--csv"], ["--json"]):
                self.bad(1, "cannot write the result", *form, self.trace("loop", 64, 64),
                         stdout=full)


class Progress(Case):
    def test_terminal(self):
        path = self.trace("random", 512, 1000)
        main, other = pty.openpty()
        run = subprocess.run([GMEM, "replay", *SOME, path], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=other, timeout=TIMEOUT, check=False)
        os.close(other)
        shown = os.read(main, 1 << 16)
        os.close(main)
        self.assertEqual(run.returncode, 0)
        self.assertIn(b"replay", shown)
        self.assertTrue(shown.endswith(b"\r\x1b[K"), shown)  # and wiped


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
