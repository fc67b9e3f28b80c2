#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Programs under `gmem run`: they print what they print without it, be it with a limit at half and at
a tenth of the memory that they need.

Usage: test_run.py PATH-OF-GMEM [unittest arguments]
GMEM_RUN_SCALE=N: N times as much data. GMEM_RUN_TIMES=1: print how long each run took.
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import workloads

GMEM = os.path.abspath(sys.argv[1])
SMALLEST = 8 << 20


class Programs(unittest.TestCase):
    def timed(self, w, what, prefix):
        begin = time.monotonic()
        out = w.run(prefix)
        seconds = time.monotonic() - begin
        if os.environ.get("GMEM_RUN_TIMES"):
            print("%-10s %-12s %6.2f s" % (type(w).__name__, what, seconds), file=sys.stderr)
        return out

    def need(self, w):
        """Bytes of memory at its peak, of the largest of its processes."""
        pid = os.fork()
        if not pid:
            w.run(())
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            with open(w.path("need"), "w", encoding="ascii") as f:
                f.write(str(peak * 1024))
            os._exit(0)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        with open(w.path("need"), encoding="ascii") as f:
            return int(f.read())

    def try_all(self, kind):
        missing = [p for p in kind.programs if not shutil.which(p)]
        if missing:
            self.skipTest("not installed: " + " ".join(missing))
        directory = tempfile.mkdtemp(prefix="gmem-test-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, directory)
        w = kind(directory)
        w.prepare()
        need = self.need(w)
        plain = self.timed(w, "plain", ())
        self.assertEqual(self.timed(w, "no limit", (GMEM, "run", "--")), plain)
        for part in (2, 10):
            limit = max(need // part, SMALLEST)
            out = self.timed(w, "%d MiB" % (limit >> 20),
                             (GMEM, "run", "--host-limit", str(limit), "--"))
            self.assertEqual(out, plain, "limit %d of %d" % (limit, need))


for workload in workloads.ALL:
    setattr(Programs, "test_" + workload.__name__.lower(),
            lambda self, kind=workload: self.try_all(kind))

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
