#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""gmem topo: what it measures and prints, and that hwloc reads and draws it.

Usage: test_topo.py PATH-OF-GMEM [unittest arguments]

Figures are not compared with anything but 0, for they are the machine's. Where the kernel
refuses userfaultfd there is no device, and the whole program is skipped (exit status 77).
"""
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

GMEM = os.path.abspath(sys.argv[1])
TIMEOUT = 300
LSTOPO = shutil.which("lstopo-no-graphics")
SMALL = ("--size", "2M", "--repeat", "2")
os.environ["GMEM_QUIET"] = "1"


def gmem(*args, env=(), **kwargs):
    return subprocess.run([GMEM, "topo", *args], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False,
                          env={**os.environ, **dict(env)}, **kwargs)


class Case(unittest.TestCase):
    def runs(self, *args, **kwargs):
        r = gmem(*args, **kwargs)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout

    def fails(self, status, *args, says=(), **kwargs):
        """Nothing on stdout, one line on stderr."""
        r = gmem(*args, **kwargs)
        self.assertEqual((r.returncode, r.stdout), (status, ""), r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertTrue(r.stderr.startswith("gmem: "), r.stderr)
        for text in says:
            self.assertIn(text, r.stderr)


class Topology(Case):
    def test_default(self):
        o = json.loads(self.runs("--json"))
        self.assertEqual((o["host"], o["moved"], o["repeat"]), ("user", 16 << 20, 5))
        self.assertGreaterEqual(len(o["nodes"]), 1)
        for node in o["nodes"]:
            self.assertRegex(node["cpus"], r"^[0-9,-]*$")
            self.assertGreater(node["size"], node.get("free", 0))
        h, = o["hnodes"]
        self.assertGreater(h["hnode"], max(n["node"] for n in o["nodes"]))
        self.assertEqual((h["device"], h["size"], h["free"], h["lanes"]),
                         ("sim0", 64 << 20, 64 << 20, 4))
        self.assertEqual([(k["from"], k["to"]) for k in o["links"]],
                         [(-1, h["hnode"]), (h["hnode"], -1)])

    def test_devices(self):
        """Each of several, and from each to each; one has no link, one large pages, one is small."""
        o = json.loads(self.runs("--device", "sim,memory=32M,lanes=1,engines=1",
                                 "--device", "sim,link=no,page=2M,memory=8M",
                                 "--device", "sim,page=64K,link=no,link=yes,memory=2049K", *SMALL,
                                 "--json"))
        self.assertEqual([h["size"] for h in o["hnodes"]], [32 << 20, 8 << 20, 4 << 20])
        self.assertEqual([h["lanes"] for h in o["hnodes"]], [1, 4, 4])
        places = [-1] + [h["hnode"] for h in o["hnodes"]]
        self.assertEqual(len(set(places)), 4)
        self.assertEqual([(k["from"], k["to"]) for k in o["links"]],
                         [(a, b) for a in places for b in places if a != b])
        for link in o["links"]:
            self.assertGreater(link["bandwidth"], 0)
            self.assertGreater(link["latency"], 0)
        self.assertEqual(o["moved"], 2 << 20)

    def test_text(self):
        """The lines that `numactl -H` has, and a matrix for each figure."""
        out = self.runs("--device", "sim,memory=4M", "--device", "sim,memory=6M", *SMALL)
        nodes = re.search(r"^available: (\d+) nodes, 2 hnodes$", out, re.M)
        self.assertTrue(nodes, out)
        self.assertEqual(len(re.findall(r"^node \d+ cpus:( \d+)*$", out, re.M)),
                         int(nodes.group(1)))
        self.assertEqual(len(re.findall(r"^node \d+ size: \d+ MiB$", out, re.M)),
                         int(nodes.group(1)))
        ids = re.findall(r"^hnode (\d+) device: sim[01], 4 lanes$", out, re.M)
        self.assertEqual(len(ids), 2)
        self.assertEqual(re.findall(r"^hnode \d+ size: (\d+) MiB$", out, re.M), ["4", "6"])
        head = re.findall(r"^node +host +(\d+) +(\d+)$", out, re.M)
        self.assertEqual(head, [tuple(ids)] * 2)
        number = r"\d+(?:\.\d)?"
        for figure in ("bandwidth", "latency"):
            rows = out.split("\n" + figure)[1].splitlines()[2:5]
            for i, row in enumerate(rows):
                cells = [r"-" if j == i else number for j in range(3)]
                self.assertRegex(row, r"^ *(host|\d+): +" + " +".join(cells) + "$")

    def test_not_measured(self):
        out = self.runs("--no-links")
        self.assertNotIn("bandwidth", out)
        o = json.loads(self.runs("--no-links", "--json"))
        self.assertEqual((o["links"], len(o["hnodes"])), ([], 1))

    def test_nodes(self):
        """A machine of hwloc's imagination: two nodes, of which this kernel knows one at most."""
        env = {"HWLOC_SYNTHETIC": "numa:2(memory=1GB) core:2 pu:1"}
        out = self.runs("--no-links", env=env)
        self.assertIn("available: 2 nodes, 1 hnodes", out)
        self.assertIn("node 1 cpus: 2 3\n", out)


class Misuse(Case):
    def test_spec(self):
        for spec, says in (("gpu", "sim"), ("", "sim"), ("sim,memory", "memory"),
                           ("sim,memory=1M", "2M"), ("sim,memory=big", "2M"),
                           ("sim,lanes=0", "256"), ("sim,lanes", "256"), ("sim,lanes=257", "256"),
                           ("sim,engines=65", "64"), ("sim,page=8K", "64K"),
                           ("sim,page", "64K"), ("sim,link=maybe", "yes or no"),
                           ("sim,link", "yes or no"), ("sim,speed=1", "no such key")):
            with self.subTest(spec=spec):
                self.fails(2, "--device", spec, says=["--device " + spec, says])

    def test_arguments(self):
        self.fails(2, "--size", "0", says=["--size 0", "4K"])
        self.fails(2, "--size", "65G", says=["64G"])
        self.fails(2, "--size", "some", says=["some"])
        self.fails(2, "--repeat", "0", says=["1000"])
        self.fails(2, "--frobnicate", says=["--frobnicate"])
        self.fails(2, "now", says=["now"])
        self.fails(2, "--json", "--xml", says=["exclude"])
        self.fails(2, *["--device", "sim"] * 17, says=["at most 16"])

    def test_help(self):
        out = self.runs("--help")
        self.assertIn("Examples:", out)
        self.assertIn("lstopo", out)


class Failure(Case):
    def test_host(self):
        if os.path.exists("/dev/gmem"):
            self.skipTest("here GMEM_HOST=kernel is no mistake")
        self.fails(1, env={"GMEM_HOST": "kernel"}, says=["address space", "gmem check"])

    def test_device(self):
        """More memory than a process may have."""
        def limit():
            resource.setrlimit(resource.RLIMIT_DATA, (256 << 20, 256 << 20))

        if gmem("--no-links", preexec_fn=limit).returncode:
            self.skipTest("a sanitizer has taken that much already")
        self.fails(1, "--device", "sim", "--device", "sim,memory=4G", preexec_fn=limit,
                   says=["cannot create the device sim1"])

    def test_full_disk(self):
        for args in ((), ("--json",), ("--xml",)):
            with open("/dev/full", "w", encoding="ascii") as full:
                r = subprocess.run([GMEM, "topo", "--no-links", *args], stdout=full,
                                   stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
            self.assertEqual(r.returncode, 1)
            self.assertIn("cannot write", r.stderr)

    def test_few_files(self):
        """Wherever descriptors run out, it works or says what does not."""
        said = set()
        for n in range(4, 16):
            r = gmem(*SMALL, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)))
            self.assertIn(r.returncode, (0, 1), r.stderr)
            self.assertEqual(len(r.stderr.splitlines()), r.returncode, r.stderr)
            said.add(r.stderr)
        self.assertIn("", said)
        self.assertTrue(any("cannot" in s for s in said), said)


class Hwloc(Case):
    def topology(self, *args):
        path = os.path.join(self.dir, "topo.xml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.runs(*args, "--xml"))
        return path

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gmem-test-")
        self.addCleanup(shutil.rmtree, self.dir)

    def lstopo(self, *args):
        if not LSTOPO:
            self.skipTest("lstopo-no-graphics is not installed (hwloc-nox)")
        env = {k: v for k, v in os.environ.items() if not k.startswith("HWLOC_")}
        r = subprocess.run([LSTOPO, *args], capture_output=True, text=True, timeout=TIMEOUT,
                           check=False, env=env)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout

    def test_xml(self):
        tree = xml.etree.ElementTree.parse(self.topology("--device", "sim,memory=4M", "--device",
                                                         "sim", *SMALL)).getroot()
        hnodes = [o for o in tree.iter("object") if o.get("subtype") == "hnode"]
        self.assertEqual([(h.get("type"), h.get("name"), h.get("local_memory")) for h in hnodes],
                         [("NUMANode", "sim0", str(4 << 20)), ("NUMANode", "sim1", str(64 << 20))])
        info = {i.get("name"): i.get("value") for i in hnodes[1].iter("info")}
        self.assertEqual(info, {"GmemHost": "user", "GmemDevice": "sim1", "GmemLanes": "4",
                                "GmemFreeMemory": str(64 << 20)})
        ids = [o.get("gp_index") for o in tree.iter("object")]
        self.assertEqual(len(ids), len(set(ids)))
        for name in ("GmemBandwidth", "GmemLatency"):
            d, = [d for d in tree.iter("distances2hetero") if d.get("name") == name]
            values = [int(v) for v in " ".join(t.text for t in d.iter("u64values")).split()]
            self.assertEqual(len(values), 9)
            for i, v in enumerate(values):
                (self.assertEqual if i % 4 == 0 else self.assertGreater)(v, 0)

    def test_lstopo(self):
        """hwloc reads it, and draws it."""
        path = self.topology("--device", "sim,memory=4M", *SMALL)
        self.assertRegex(self.lstopo("-i", path, "--of", "console"),
                         r"NUMANode\(hnode\) L#\d+ \(P#\d+ 4096KB\)")
        out = self.lstopo("-i", path, "--distances")
        self.assertIn("GmemBandwidth", out)
        self.assertIn("GmemLatency", out)
        picture = os.path.join(self.dir, "topo.svg")
        with open(path, "rb") as f:
            r = subprocess.run([LSTOPO, "-i", "-", "--if", "xml", "--of", "svg", picture], stdin=f,
                               capture_output=True, timeout=TIMEOUT, check=False)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(picture, encoding="utf-8") as f:
            self.assertIn("hnode", f.read())

    def test_not_measured(self):
        with open(self.topology("--no-links"), encoding="utf-8") as f:
            text = f.read()
        self.assertIn('subtype="hnode"', text)
        self.assertNotIn("GmemBandwidth", text)

    def test_same_node(self):
        """hwloc has a node already with the id of the hnode's."""
        self.fails(1, "--no-links", "--xml", env={"HWLOC_SYNTHETIC": "numa:4 pu:1"},
                   says=["hwloc has a node", "HWLOC_SYNTHETIC"])

    def test_no_machine(self):
        self.fails(1, "--no-links", env={"HWLOC_XMLFILE": "/dev/null"},
                   says=["hwloc cannot read this machine's topology"])


def main():
    r = gmem("--no-links")
    if r.returncode == 1 and "cannot create an address space" in r.stderr:
        print("skipped: " + r.stderr.strip())
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


if __name__ == "__main__":
    main()
