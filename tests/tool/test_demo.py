#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The gmem command, as whoever runs it sees it: output, messages and exit statuses.

Usage: test_demo.py PATH-OF-GMEM [unittest arguments]

Every case runs the real command. Where the kernel refuses userfaultfd nothing can run on
an accelerator, and the whole program is skipped (exit status 77).
"""
import bz2
import gzip
import hashlib
import json
import lzma
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import unittest

GMEM = os.path.abspath(sys.argv[1])
TIMEOUT = 300
os.environ["GMEM_QUIET"] = "1"  # the library's warnings, of what the kernel does not allow

PACKAGES = """\
Package: app
Version: 1:2.0-1
Architecture: amd64
Depends: libc (>= 2.36), mailer | other-mailer (<< 3), python3:any,
 tool
Pre-Depends: init
Description: an application
 with a description of several lines
 .
 Depends: not a field

Package: libc
Version: 2.36-9

Package: exim
Provides: mailer, mailer-server (= 4)
Depends: libc, nobody-has-this, mailer

Package: postfix
Provides: mailer
Depends: libc

Package: python3
Depends: libc [amd64], libc

Package: tool

Package: app
Version: 1.0
Depends: postfix

Package: init
"""
# app: libc, exim and postfix (for mailer), python3, tool, init; exim: libc, postfix (it is a
# mailer itself); postfix: libc; python3: libc
PACKAGES_NODES, PACKAGES_EDGES = 7, 10


def gmem(*args, **kwargs):
    return subprocess.run([GMEM, *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False, **kwargs)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)

    def file(self, name, data):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        return path

    def refused(self, *args, says=()):
        """Misuse: exit status 2, nothing on stdout, one line on stderr."""
        r = gmem(*args)
        self.assertEqual(r.returncode, 2, r.stderr)
        self.assertEqual(r.stdout, "")
        lines = r.stderr.splitlines()
        self.assertEqual(len(lines), 1, r.stderr)
        self.assertTrue(lines[0].startswith("gmem: "), lines[0])
        for text in says:
            self.assertIn(text, lines[0])

    def runs(self, *args):
        """A good run with --json: returns the object."""
        r = gmem("demo", "--json", "--quiet", *args)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(r.stderr, "")
        o = json.loads(r.stdout)
        self.assertIs(o["verified"], True)
        return o


class Misuse(Case):
    def test_command(self):
        self.refused(says=["gmem demo", "--help"])
        self.refused("dmeo", says=["dmeo", "--help"])
        self.refused("--frobnicate", says=["--frobnicate", "--help"])

    def test_workload(self):
        self.refused("demo", "linpack", says=["linpack", "--help"])
        self.refused("demo", "stream", "gups", says=["gups", "one workload"])

    def test_option(self):
        self.refused("demo", "--frobnicate", says=["--frobnicate", "--help"])
        self.refused("demo", "-x", says=["-x", "--help"])
        self.refused("demo", "-xq", says=["--help"])
        self.refused("demo", "--hbm", says=["--hbm", "argument"])

    def test_hbm(self):
        self.refused("demo", "--hbm", "1M", says=["--hbm 1M", "2M"])
        self.refused("demo", "--hbm", "0", says=["2M"])
        self.refused("demo", "--hbm", "2097151", says=["2M"])
        for size in ("", "M", "-1", "12x", "1.5G", "1MM", "99999999999999999999", "17000000T"):
            self.refused("demo", "--hbm", size, says=["--hbm " + size])
        self.refused("demo", "--hbm", "65T", says=["too much"])

    def test_picture(self):
        for name in ("", "picture", "picture.gif", ".svg", "svg"):
            self.refused("demo", "--picture", name, says=["--picture " + name, ".svg or .png"])

    def test_numbers(self):
        for lanes in ("0", "257", "-1", "four", ""):
            self.refused("demo", "--lanes", lanes, says=["--lanes", "1 to 256"])
        self.refused("demo", "--iterations", "0", says=["--iterations"])
        self.refused("demo", "gups", "--seed", "x", says=["--seed"])
        self.refused("demo", "stream", "--size", "0", says=["--size"])
        self.refused("demo", "stream", "--size", "65T", says=["--size"])

    def test_too_small(self):
        for workload, size in (("stream", "12287"), ("gups", "7"), ("gemm", "98303")):
            self.refused("demo", workload, "--quiet", "--size", size, says=["at least"])

    def test_no_use(self):
        self.refused("demo", "--size", "3M", says=["--size"])
        self.refused("demo", "--seed", "3", says=["--seed"])
        self.refused("demo", "gemm", "--iterations", "3", says=["--iterations"])
        self.refused("demo", "gups", "--input", "x", says=["--input"])
        self.refused("demo", "--root", "/", "--input", "x", says=["give one"])


class EdgeList(Case):
    def bad(self, data, *says, name="edges"):
        path = self.file(name, data)
        self.refused("demo", "--quiet", "--input", path, says=[path, *says])

    def test_no_file(self):
        path = os.path.join(self.dir, "nothing")
        self.refused("demo", "--quiet", "--input", path, says=[path, "cannot open"])
        self.refused("demo", "--quiet", "--input", self.dir, says=[self.dir, "directory"])

    def test_empty(self):
        self.bad("", "line 1", "edge")
        self.bad("# only\n\n# comments\n", "line 3", "edge")
        self.bad(gzip.compress(b""), "line 1", "edge")

    def test_bad_line(self):
        for line in ("3", "3 4 5", "a b", "3 b", "-1 2", "3,4", "1.5 2", "0x10 2", "3 4;",
                     "18446744073709551616 1", "1 99999999999999999999999", "3 \x00 4"):
            self.bad("# c\n1 2\n" + line + "\n5 6\n", "line 3", "expected", "from<TAB>to")

    def test_damaged_gzip(self):
        text = "".join(f"{i}\t{i * 7 % 1000}\n" for i in range(20000)).encode()
        data = gzip.compress(text)
        self.bad(data[:len(data) // 2], "line ", "damaged gzip", "expected")
        self.bad(data[:-1], "line ", "damaged gzip", "expected")
        self.bad(data[:20], "line 1", "damaged", "expected")
        self.bad(data + data, "damaged gzip", "several files")
        self.bad(data[:-8] + bytes([data[-8] ^ 1]) + data[-7:], "checksum")
        self.bad(data[:-4] + bytes([data[-4] ^ 1]) + data[-3:], "checksum")

    def test_flipped_bits(self):
        """Whatever bit of the compressed text is wrong, the file is not taken."""
        text = "".join(f"{i}\t{i * 7 % 1000}\n" for i in range(2000)).encode()
        data = gzip.compress(text)
        for at in range(12, len(data), len(data) // 40):
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            self.bad(bytes(flipped), "line ", "expected")

    def test_forms(self):
        """Blanks, line ends, leading zeros, repeated edges, the largest id."""
        o = self.runs("--input", self.file("e", "# c\r\n1 2\r\n  3\t 18446744073709551615 \n"
                                                "\n007 1\n7 2\n1 2\n2\t2"))
        self.assertEqual((o["result"]["nodes"], o["result"]["edges"]), (5, 5))
        self.assertEqual(o["result"]["top"][0]["name"], "2")

    def test_compressed(self):
        text = b"".join(b"%d %d\n" % (i, i * i % 97) for i in range(500))
        plain = self.runs("--input", self.file("plain", text))["result"]
        for name, data in (("e.gz", gzip.compress(text)), ("e.bz2", bz2.compress(text)),
                           ("e.xz", lzma.compress(text))):
            self.assertEqual(self.runs("--input", self.file(name, data))["result"], plain)

    def test_known_ranks(self):
        """A ring: every rank is the same. A star: by hand."""
        n = 10
        ring = self.runs("--input", self.file("r", "".join(f"{i} {(i + 1) % n}\n"
                                                           for i in range(n))))
        for top in ring["result"]["top"]:
            self.assertAlmostEqual(top["rank"], 1 / n, places=12)
        star = self.runs("--input", self.file("s", "1 0\n2 0\n3 0\n"), "--iterations", "1")
        # After one pass from 1/4 each: the leaves get only what node 0 loses.
        leaf = (1 - 0.85) / 4 + 0.85 * 0.25 / 4
        ranks = {t["name"]: t["rank"] for t in star["result"]["top"]}
        self.assertAlmostEqual(ranks["1"], leaf, places=12)
        self.assertAlmostEqual(ranks["0"], leaf + 0.85 * 0.75, places=12)

    def test_larger_than_the_device(self):
        """Enough edges that a 2 MiB device must evict; the result does not depend on lanes."""
        text = "".join(f"{i} {(i * 7919 + k * k * 31) % 30000}\n"
                       for i in range(30000) for k in range(1, 5))
        path = self.file("big", text)
        one = self.runs("--input", path, "--hbm", "2M", "--iterations", "2", "--lanes", "1")
        many = self.runs("--input", path, "--hbm", "2M", "--iterations", "2", "--lanes", "5",
                         "--inline")
        self.assertEqual(one["device_bytes"], 2 << 20)
        self.assertGreater(one["data_bytes"], 2 * one["device_bytes"])
        self.assertEqual(one["result"]["top"], many["result"]["top"])
        self.assertEqual((one["delivery"], many["delivery"]), ("thread", "inline"))
        for o in (one, many):
            c = o["address_space"]
            self.assertGreater(c["evictions"], 0)
            self.assertGreater(c["dev_faults"], 0)
            self.assertGreater(c["cpu_faults"], 0)
            self.assertGreater(c["tlb_invls"], 0)
            self.assertEqual(c["bytes_to_dev"], 4096 * c["pages_to_dev"])
            self.assertGreaterEqual(c["pages_to_host"], c["pages_evicted"])


class Debian(Case):
    LISTS = "var/lib/apt/lists/"

    def test_packages(self):
        self.file(self.LISTS + "x_main_binary-amd64_Packages", PACKAGES)
        self.file(self.LISTS + "x_InRelease", "not read\n")
        o = self.runs("--root", self.dir)["result"]
        self.assertEqual((o["nodes"], o["edges"], o["files"]),
                         (PACKAGES_NODES, PACKAGES_EDGES, 1))
        top = {t["name"]: t for t in o["top"]}
        self.assertEqual(o["top"][0]["name"], "libc")
        self.assertEqual(top["libc"]["needed_by"], 4)
        self.assertEqual(top["app"]["needs"], 6)
        self.assertEqual(top["app"]["version"], "1:2.0-1")
        self.assertEqual(top["exim"]["needs"], 2)

    def test_several_lists(self):
        """Lists in whatever compression are one graph; the first stanza of a name counts."""
        self.file(self.LISTS + "a_Packages.gz", gzip.compress(PACKAGES.encode()))
        self.file(self.LISTS + "b_Packages.xz", lzma.compress(b"Package: extra\nDepends: app\n"))
        self.file(self.LISTS + "c_Packages.bz2",
                  bz2.compress(b"Package: libc\nVersion: 9\nDepends: extra\n"))
        self.file(self.LISTS + "d_Packages.diff_Index", "not read\n")
        o = self.runs("--root", self.dir)["result"]
        self.assertEqual((o["nodes"], o["edges"], o["files"]),
                         (PACKAGES_NODES + 1, PACKAGES_EDGES + 1, 3))

    def test_lz4_and_zstd(self):
        tools = [(t, e) for t, e in (("lz4", ".lz4"), ("zstd", ".zst")) if shutil.which(t)]
        if not tools:
            self.skipTest("neither lz4 nor zstd is installed")
        for tool, ending in tools:
            data = subprocess.run([tool, "-c"], input=PACKAGES.encode(), capture_output=True,
                                  check=True).stdout
            path = self.file(self.LISTS + "x_Packages" + ending, data)
            o = self.runs("--root", self.dir)["result"]
            self.assertEqual((o["nodes"], o["edges"]), (PACKAGES_NODES, PACKAGES_EDGES))
            os.unlink(path)

    def test_status(self):
        """Without lists it is what is installed."""
        self.file("var/lib/dpkg/status",
                  "Package: a\nStatus: install ok installed\nDepends: b, c\n\n"
                  "Package: b\nStatus: install ok installed\n\n"
                  "Package: c\nStatus: deinstall ok config-files\n")
        o = self.runs("--root", self.dir)["result"]
        self.assertEqual((o["nodes"], o["edges"]), (2, 1))

    def test_nothing(self):
        self.refused("demo", "--quiet", "--root", self.dir, says=["apt-get update", "--input"])

    def test_damaged(self):
        path = self.file(self.LISTS + "x_Packages", "Package: a\nDepends: b\n\nwhat is this\n")
        self.refused("demo", "--quiet", "--root", self.dir, says=[path, "line 4", "Field: value"])
        os.unlink(path)
        path = self.file(self.LISTS + "x_Packages.xz", lzma.compress(PACKAGES.encode())[:-40])
        self.refused("demo", "--quiet", "--root", self.dir, says=[path, "damaged"])


class Workloads(Case):
    SIZES = {"stream": ("--size", "3M", "--iterations", "1"),
             "gups": ("--size", "4M", "--iterations", "1"),
             "gemm": ("--size", "3M"),
             "join": ("--size", "3M"),
             "chase": ("--size", "3M"),
             "sort": ("--size", "5M"),
             "kv": ("--size", "3M", "--iterations", "2")}

    def test_each(self):
        for workload, args in self.SIZES.items():
            for inline in ((), ("--inline",)):
                with self.subTest(workload=workload, inline=inline):
                    o = self.runs(workload, "--hbm", "2M", *args, *inline)
                    self.assertEqual(o["workload"], workload)
                    self.assertEqual(o["result"]["wrong"], 0)
                    self.assertGreater(o["ratio"], 0)
                    self.assertGreater(o["address_space"]["dev_faults"], 0)

    def test_quarter(self):
        o = self.runs("stream", "--size", "24M", "--iterations", "1")
        self.assertEqual(o["data_bytes"], 24 << 20)
        self.assertEqual(o["device_bytes"], 6 << 20)
        o = self.runs("gups", "--size", "17M", "--iterations", "1", "--hbm", "3M")
        self.assertEqual(o["device_bytes"], 4 << 20)

    def test_in_place(self):
        """What is used little stays where it is; not in what is recorded."""
        args = ("gups", "--size", "8M", "--hbm", "2M", "--iterations", "16")
        c = self.runs(*args)["address_space"]
        self.assertGreater(c["remote_maps"], 0)
        self.assertLess(c["bytes_to_dev"], 8 << 20)
        c = self.runs(*args, "-o", os.path.join(self.dir, "t"))["address_space"]
        self.assertEqual((c["remote_maps"], c["remote_bytes"]), (0, 0))
        self.assertGreater(c["bytes_to_dev"], 8 << 20)
        args = ("sort", "--size", "8M", "--hbm", "2M", "-q")
        self.assertRegex(gmem("demo", *args).stdout,
                         r"(?m)^  [0-9.]+ \w+ +used in host memory, in place: too little of it")
        r = gmem("record", *args, "-o", os.path.join(self.dir, "t"))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertNotIn("in place", r.stdout[:r.stdout.index("Time")])

    def test_seed(self):
        a, b, c = (self.runs("gemm", "--size", "300K", "--seed", s) for s in ("5", "5", "6"))
        self.assertEqual(a["result"], b["result"])
        self.assertEqual(c["result"]["wrong"], 0)


class Record(Case):
    BEGIN, END = b"\x89GMT\r\n\x1a\n", b"GMTEND\r\n"

    def whole(self, path):
        with open(path, "rb") as f:
            data = f.read()
        self.assertEqual((data[:8], data[-8:]), (self.BEGIN, self.END))
        return data

    def test_same(self):
        """One lane: the same run gives the same trace, and nothing of the device's size is in it."""
        traces = []
        for more in ((), (), ("--hbm", "2M")):
            path = os.path.join(self.dir, "t")
            r = gmem("record", "sort", "--size", "4M", "-q", "--json", "-o", path, *more)
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            o = json.loads(r.stdout)
            self.assertEqual(o["lanes"], 1)
            self.assertEqual(o["trace"]["pages"], 1024)
            # 512 runs of a page are made, then merged in nine passes, from one array to the other
            self.assertEqual(o["trace"]["accesses"], 10 * 1024)
            data = self.whole(path)
            self.assertEqual(o["trace"]["bytes"], len(data))
            traces.append(data)
            self.assertEqual(o["address_space"]["evictions"] > 0, bool(more))
        self.assertEqual(traces[0], traces[1])

    def test_demo(self):
        path = os.path.join(self.dir, "t")
        o = self.runs("kv", "--size", "2M", "--iterations", "1", "--lanes", "3", "-o", path)
        self.assertGreater(o["trace"]["accesses"], 1000)
        self.whole(path)
        r = gmem("record", "gups", "--size", "1M", "--iterations", "1", "-q", "-o", path)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertRegex(r.stdout, r"[\d,]+ accesses to \d+ pages, in [\d,]+ records")

    def test_kept(self):
        """The traces that are kept are what their table says, and are made by what it says."""
        traces = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "traces")
        with open(os.path.join(traces, "README.md"), encoding="ascii") as f:
            rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]]
                    for line in f if re.match(r"\| \w+ \| `\w+ --", line)]
        self.assertEqual(len(rows), 8)
        for name, options, data, touched, accesses, size, digest in rows:
            with self.subTest(trace=name):
                kept = self.whole(os.path.join(traces, name + ".gmt"))
                self.assertEqual(int(size.replace(",", "")), len(kept))
                self.assertEqual(hashlib.sha256(kept).hexdigest()[:16], digest)
            if name != "chase":  # it takes no time, with a sanitizer too
                continue
            with self.subTest(again=name):
                path = os.path.join(self.dir, "t")
                o = self.runs(*options.split(), "--lanes", "1", "-o", path)
                self.assertEqual([f"{n:,}" for n in (o["data_bytes"] // 4096,
                                                     o["trace"]["pages"], o["trace"]["accesses"])],
                                 [data, touched, accesses])

    def test_environment(self):
        path = os.path.join(self.dir, "t")
        r = gmem("demo", "gups", "--size", "1M", "--iterations", "1", "-q",
                 env={**os.environ, "GMEM_RECORD": path})
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.whole(path)
        env = {k: v for k, v in os.environ.items() if k != "GMEM_QUIET"}
        for path, says in (("/dev/full", "not whole"), ("/nonexistent/t", "cannot record")):
            r = gmem("demo", "gups", "--size", "1M", "--iterations", "1", "-q",
                     env={**env, "GMEM_RECORD": path})
            self.assertEqual(r.returncode, 0)
            self.assertIn(says, r.stderr)

    def test_refused(self):
        self.refused("record", "gups", says=("-o FILE",))
        self.refused("record", "gups", "-o", "", says=("--record",))
        for path, says in (("/dev/full", "cannot write all of /dev/full: No space"),
                           ("/nonexistent/t", "cannot record to /nonexistent/t: No such")):
            r = gmem("record", "gups", "--size", "1M", "--iterations", "1", "-q", "-o", path)
            self.assertEqual(r.returncode, 1)
            self.assertEqual(r.stdout, "")
            self.assertIn(says, r.stderr)


class Output(Case):
    def test_help(self):
        for args in (("--help",), ("demo", "--help")):
            r = gmem(*args)
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            self.assertIn("Examples:", r.stdout)
            self.assertIn("Exit status:", r.stdout)
            for workload in ("pagerank", *Workloads.SIZES) if args[0] == "demo" else ():
                self.assertIn(workload, r.stdout)

    def test_version(self):
        r = gmem("--version")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertRegex(r.stdout, r"^gmem \d+\.\d+\.\d+\n$")

    def test_text(self):
        r = gmem("demo", "--input", self.file("e", "1 2\n3 2\n"))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("Verified", r.stdout)
        self.assertIn("times the plain run", r.stdout)
        # Progress as plain lines: no terminal is here.
        self.assertIn("accelerator", r.stderr)
        self.assertNotIn("\033", r.stderr)
        r = gmem("demo", "--quiet", "--input", self.file("e", "1 2\n3 2\n"))
        self.assertEqual((r.returncode, r.stderr), (0, ""))

    def test_terminal(self):
        """On a terminal there is one line that updates itself, and none is left behind."""
        try:
            leader, follower = pty.openpty()
        except OSError as e:
            self.skipTest(f"no terminal can be made here: {e}")
        r = subprocess.run([GMEM, "demo", "gups", "--size", "1M"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=follower, timeout=TIMEOUT, check=False)
        shown = ""  # it comes in pieces
        while not shown.endswith("\r\033[K") and select.select([leader], [], [], 30)[0]:
            shown += os.read(leader, 1 << 16).decode()
        os.close(leader)
        os.close(follower)
        self.assertEqual(r.returncode, 0, shown)
        self.assertIn("accelerator", shown)
        self.assertNotIn("\n", shown)
        self.assertTrue(shown.endswith("\r\033[K"), repr(shown))

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            for json_too in ((), ("--json",)):
                r = subprocess.run([GMEM, "demo", "-q", "--input", self.file("e", "1 2\n"),
                                    *json_too], stdout=full, stderr=subprocess.PIPE, text=True,
                                   timeout=TIMEOUT, check=False)
                self.assertEqual(r.returncode, 1)
                self.assertIn("cannot write", r.stderr)


def main():
    r = gmem("demo", "gups", "--quiet", "--size", "8")
    if r.returncode == 1 and "cannot create an address space" in r.stderr:
        print("skipped: " + r.stderr.strip())
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


if __name__ == "__main__":
    main()
