#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Completion in bash, by the file that is installed, of the command that was built.

Usage: test_completion.py PATH-OF-GMEM COMPLETION-FILE [unittest arguments]
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

GMEM = os.path.abspath(sys.argv[1])
FILE = os.path.abspath(sys.argv[2])
# What bash does on TAB: the words, and which of them the cursor is at the end of.
SCRIPT = """
source "$1"
shift
complete -p gmem >/dev/null || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_gmem
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""


class Completion(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        for name in ("graph.gz", "grapes"):
            with open(os.path.join(self.dir, name), "w", encoding="ascii"):
                pass
        os.mkdir(os.path.join(self.dir, "groot"))

    def complete(self, *words):
        r = subprocess.run(["bash", "--norc", "-c", SCRIPT, "bash", FILE, GMEM, *words],
                           cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=60, check=False)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout.split("\n")[:-1]

    def test_commands(self):
        self.assertLessEqual({"check", "demo", "topo"}, set(self.complete("")))
        self.assertEqual(self.complete("dem"), ["demo"])
        self.assertEqual(self.complete("xyz"), [])
        self.assertEqual(self.complete("--v"), ["--version"])
        self.assertEqual(self.complete("--help", "chec"), ["check"])

    def test_every_command_has_help(self):
        """It is what completion lives on."""
        for command in self.complete(""):
            self.assertIn("--help", self.complete(command, "--"), command)

    def test_options(self):
        self.assertEqual(self.complete("check", "--j"), ["--json"])
        self.assertLessEqual({"--hbm", "--lanes", "--input", "--picture", "--quiet"},
                             set(self.complete("demo", "--")))
        self.assertEqual(self.complete("demo", "stream", "--lan"), ["--lanes"])
        self.assertEqual(self.complete("topo", "--json", "--x"), ["--xml"])

    def test_words(self):
        self.assertEqual(self.complete("demo", ""),
                         ["pagerank", "stream", "gups", "gemm", "join", "chase", "sort", "kv"])
        self.assertEqual(self.complete("demo", "--quiet", "g"), ["gups", "gemm"])
        self.assertEqual(self.complete("check", ""), [])
        self.assertEqual(self.complete("nonsense", ""), [])

    def test_arguments(self):
        self.assertEqual(sorted(self.complete("demo", "--input", "gra")), ["grapes", "graph.gz"])
        self.assertEqual(sorted(self.complete("demo", "--picture", "gra")), ["grapes", "graph.gz"])
        self.assertEqual(self.complete("demo", "--root", "g"), ["groot"])
        self.assertEqual(self.complete("demo", "--hbm", ""), [])
        self.assertEqual(self.complete("topo", "--device", ""), ["sim"])
        # Bash breaks words at =.
        self.assertEqual(sorted(self.complete("demo", "--input", "=", "gra")),
                         ["grapes", "graph.gz"])
        self.assertEqual(self.complete("demo", "--root", "="), ["groot"])

    def test_program(self):
        """After -- it is another program's turn."""
        self.assertIn("bash", self.complete("demo", "--", "bas"))
        self.assertIn("bash", self.complete("run", "bas"))
        self.assertEqual(self.complete("run", "--host"), ["--host-limit"])
        self.assertEqual(self.complete("run", "--device", ""), ["sim"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
