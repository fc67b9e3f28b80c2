#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem bench: its forms and its errors; not its figures, which are the machine's.

Usage: test_bench.py PATH-OF-GMEM [unittest arguments]

Skipped (exit status 77) where the kernel refuses userfaultfd.
"""
import csv
import io
import json
import os
import subprocess
import sys
import unittest

GMEM = os.path.abspath(sys.argv[1])
NAMES = ["row", "gmem", "bare", "unit", "ratio", "goal", "met"]


def bench(*args, stdout=subprocess.PIPE):
    return subprocess.run([GMEM, "bench", *args], stdin=subprocess.DEVNULL, stdout=stdout,
                          stderr=subprocess.PIPE, text=True, timeout=240, check=False)


class Forms(unittest.TestCase):
    def measured(self, *args):
        r = bench(*args, "peer")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout

    def test_json(self):
        o = json.loads(self.measured("--json"))
        self.assertIn("CPUs, Linux", o["machine"])
        self.assertGreater(len(o["rows"]), 0)
        for r in o["rows"]:
            self.assertEqual(list(r), NAMES)
            self.assertGreaterEqual(r["gmem"], 0)
            self.assertIn(r["met"], (True, False) if r["goal"] else (None,))

    def test_csv(self):
        rows = list(csv.reader(io.StringIO(self.measured("--csv"))))
        self.assertEqual(rows[0], NAMES)
        self.assertGreater(len(rows), 1)
        for r in rows[1:]:
            self.assertEqual(len(r), len(NAMES))
            self.assertGreaterEqual(float(r[1]), 0)
            self.assertIn(r[6], ("met", "MISSED") if r[5] else ("",))

    def test_text(self):
        lines = self.measured().splitlines()
        self.assertIn("CPUs, Linux", lines[0])
        self.assertEqual(lines[1].split(), ["gmem", "bare", "ratio", "goal"])
        self.assertRegex(lines[2], r"[0-9.]+ +[0-9.]+ +\S+ +[0-9.]+")

    def test_groups(self):
        self.assertIn(" metadata ", bench("--help").stdout)


class Misuse(unittest.TestCase):
    def fails(self, status, *args, says, **kwargs):
        r = bench(*args, **kwargs)
        self.assertEqual(r.returncode, status)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertIn(says, r.stderr)

    def test_options(self):
        self.fails(2, "metadat", says="'metadat'")
        self.fails(2, "--csv", "--json", says="exclude each other")
        self.fails(2, "--frobnicate", says="--frobnicate")

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            for form in ("--json", "-q"):
                self.fails(1, form, "peer", says="cannot write", stdout=full)


if __name__ == "__main__":
    if "not permitted" in bench("peer").stderr:
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
