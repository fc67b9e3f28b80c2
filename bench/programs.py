#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What `gmem run` costs real programs, and what it gives where memory is scarce.

Each program (those of tests/run) runs in all ways in turn, round by round, and the median of the
rounds is printed, with its ratio to the way that is its measure:

  plain          as it is
  run            gmem run, without a limit                                        to plain: <= 1.1
  stat           the same under gmem stat                                         to run: <= 1.02
  limit          gmem run --host-limit, half of what the program needs
  limit, trace   the same under gmem trace                                        to limit: <= 1.2
  cgroup, zram   no gmem: a memory cgroup of the same size, which swaps to zram   to limit: >= 1
  cgroup, file   the same, which swaps to a file                                  to limit: > 1

The last two take root, a version 1 memory controller, and zram, and are left out where one is missing;
swap space that is in use already would be used too, so there must be none.
"""
import argparse
import ctypes
import glob
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "run"))

CGROUP = "/sys/fs/cgroup/memory/gmem-bench"
ENTER = 'echo $$ >"$0"/cgroup.procs && exec "$@"'
SAMPLE = 0.01  # seconds
PR_SET_CHILD_SUBREAPER = 36


def read(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


class Swap:
    """Swap space, for as long as it is entered."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.device = self.make()
        subprocess.run(["mkswap", self.device], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["swapon", self.device], check=True)

    def __exit__(self, *_):
        subprocess.run(["swapoff", self.device], check=True)
        self.unmake()


class FileSwap(Swap):
    def make(self):
        fd, path = tempfile.mkstemp(prefix="gmem-swap-", dir="/var/tmp")
        os.posix_fallocate(fd, 0, self.size)
        os.close(fd)
        return path

    def unmake(self):
        os.unlink(self.device)


class ZramSwap(Swap):
    def make(self):
        self.number = read("/sys/class/zram-control/hot_add").strip()
        write("/sys/block/zram%s/disksize" % self.number, str(self.size))
        return "/dev/zram" + self.number

    def unmake(self):
        write("/sys/class/zram-control/hot_remove", self.number)


def no_cgroup():
    """Why the comparison with swapping cannot be made; None if it can."""
    if os.geteuid():
        return "not root"
    if not os.path.isdir(os.path.dirname(CGROUP)):
        return "no memory controller of version 1"
    if not os.path.exists("/sys/class/zram-control/hot_add"):
        return "no zram"
    if len(read("/proc/swaps").splitlines()) > 1:
        return "there is swap space already"
    return None


class Peak(threading.Thread):
    """The most anonymous memory that one of our descendants' processes has had, by looking."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes = 0
        self.ended = threading.Event()

    def run(self):
        me = os.getpid()
        while not self.ended.wait(SAMPLE):
            todo = [me]
            while todo:
                pid = todo.pop()
                try:
                    for path in glob.glob("/proc/%d/task/*/children" % pid):
                        todo += map(int, read(path).split())
                    anon = re.search(r"RssAnon:\s+(\d+)", read("/proc/%d/status" % pid))
                except OSError:
                    continue
                if pid != me and anon:
                    self.bytes = max(self.bytes, int(anon.group(1)) * 1024)


class Rescue(threading.Thread):
    """Who is out of memory in the cgroup goes on with a little more, which is taken back at once.

    Kernels have been seen to find nothing to reclaim in a cgroup full of active pages, and to kill,
    with swap space free; here they wait instead, until the limit is raised.
    """

    STEP = 1 << 20
    POLL = 0.001

    def __init__(self, limit):
        super().__init__(daemon=True)
        self.limit, self.times = limit, 0
        self.ended = threading.Event()

    def __enter__(self):
        write(CGROUP + "/memory.oom_control", "1")
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def set(self, limit):
        try:
            write(CGROUP + "/memory.limit_in_bytes", str(limit))
        except OSError:
            pass  # busy: it is tried again at the next

    def run(self):
        while not self.ended.wait(self.POLL):
            if "under_oom 1" in read(CGROUP + "/memory.oom_control"):
                self.times += 1
                self.set(self.limit + self.STEP)
                self.set(self.limit)


def end_orphans():
    """What a program that was given up has left."""
    me = os.getpid()
    for pid in map(int, read("/proc/%d/task/%d/children" % (me, me)).split()):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Run:
    """One run of a program, one way."""

    def __init__(self, w, prefix):
        watch = Peak()
        watch.start()
        cpu, begin = self.cpu(), time.monotonic()
        try:
            self.out = w.run(prefix)
        except subprocess.TimeoutExpired:
            self.out = None  # it took longer than it may
            end_orphans()
        finally:
            self.seconds = time.monotonic() - begin
            self.cpu_seconds = self.cpu() - cpu
            watch.ended.set()
            watch.join()
        self.peak = watch.bytes
        self.rescued = 0

    @staticmethod
    def cpu():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


class Ways:
    """The ways that programs are run."""

    def __init__(self, gmem, scratch, swap):
        self.gmem, self.scratch, self.swap = gmem, scratch, swap

    def all(self, need):
        limit = max(need // 2, 8 << 20)
        run = (self.gmem, "run", "--")
        limited = (self.gmem, "run", "--host-limit", str(limit), "--")
        trace = (self.gmem, "trace", "-q", "-o", os.path.join(self.scratch, "trace.json"), "--")
        stat = (self.gmem, "stat", "-o", os.path.join(self.scratch, "stat.txt"), "--")
        yield "plain", None, None, lambda w: Run(w, ())
        yield "run", "plain", 1.1, lambda w: Run(w, run)
        yield "stat", "run", 1.02, lambda w: Run(w, stat + run)
        yield "limit", None, None, lambda w: Run(w, limited)
        yield "limit, trace", "limit", 1.2, lambda w: Run(w, trace + limited)
        if self.swap:
            yield "cgroup, zram", "limit", None, lambda w: self.swapped(w, limit, ZramSwap)
            yield "cgroup, file", "limit", None, lambda w: self.swapped(w, limit, FileSwap)

    @staticmethod
    def swapped(w, limit, kind):
        os.mkdir(CGROUP)
        try:
            write(CGROUP + "/memory.limit_in_bytes", str(limit))
            with kind(8 * limit), Rescue(limit) as rescue:
                r = Run(w, ("/bin/sh", "-c", ENTER, CGROUP))
                r.rescued = rescue.times
                write(CGROUP + "/memory.force_empty", "0")
                return r
        finally:
            os.rmdir(CGROUP)


def need(w):
    """Bytes of memory at its peak, of the largest of its processes."""
    pid = os.fork()
    if not pid:
        w.run(())
        write(w.path("need"), str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        sys.exit("programs: %s cannot be run" % type(w).__name__)
    return int(read(w.path("need")))


def median(runs, what):
    return statistics.median(getattr(r, what) for r in runs)


def measure(w, ways, rounds, progress):
    size = need(w)
    todo = list(ways.all(size))
    runs = {name: [] for name, *_ in todo}
    for i in range(rounds):
        for name, to, goal, run in todo:
            if goal and runs[to] and runs[to][-1].out is None:
                continue
            if progress:
                print("\r\033[K%s: round %d of %d: %s" % (type(w).__name__.lower(), i + 1, rounds, name),
                      end="", file=sys.stderr, flush=True)
            runs[name].append(run(w))
            if runs[name][-1].out not in (runs["plain"][0].out, None):
                sys.exit("programs: %s: %s gives other output" % (type(w).__name__, name))
    if progress:
        print("\r\033[K", end="", file=sys.stderr)
    for name, to, goal, _ in todo:
        if not runs[name]:
            continue
        row = {"program": type(w).__name__.lower(), "need": size, "way": name,
               "seconds": median(runs[name], "seconds"), "cpu": median(runs[name], "cpu_seconds"),
               "peak": median(runs[name], "peak"), "rescued": median(runs[name], "rescued"),
               "gave_up": sum(r.out is None for r in runs[name])}
        if to:
            pairs = zip(runs[name], runs[to])
            ratios = [a.seconds / b.seconds for a, b in pairs]
            row |= {"to": to, "ratio": statistics.median(ratios),
                    "ratio_cpu": statistics.median(a.cpu_seconds / b.cpu_seconds
                                                   for a, b in zip(runs[name], runs[to])),
                    "least": min(ratios), "most": max(ratios), "goal": goal}
        yield row


def show(row):
    line = "%-8s %6d MiB  %-14s %8.2f s %8.2f s %6.0f MiB" % (
        row["program"], row["need"] >> 20, row["way"], row["seconds"], row["cpu"], row["peak"] / (1 << 20))
    if "to" in row:
        line += "  %5.2f of %-6s (%.2f to %.2f, CPU %.2f)" % (
            row["ratio"], row["to"], row["least"], row["most"], row["ratio_cpu"])
    if row["rescued"]:
        line += ", out of memory %d times" % row["rescued"]
    if row["gave_up"]:
        line += ", %d given up" % row["gave_up"]
    print(line, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("gmem", help="the gmem command to measure, such as build/tools/gmem/gmem")
    p.add_argument("program", nargs="*", help="sort, xz, sqlite, python, gcc, redis; default: all")
    p.add_argument("--scale", type=int, default=8, help="times as much data as in the tests (%(default)s)")
    p.add_argument("--rounds", type=int, default=3, help="runs of each (%(default)s)")
    p.add_argument("--timeout", type=int, default=100, help="seconds that a run may take (%(default)s)")
    p.add_argument("--json", action="store_true", help="print JSON, a line for each row")
    opt = p.parse_args()
    os.environ["GMEM_RUN_SCALE"] = str(opt.scale)
    import workloads

    workloads.TIMEOUT = opt.timeout
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # no swap space is left behind
    kinds = {k.__name__.lower(): k for k in workloads.ALL}
    for name in opt.program:
        if name not in kinds:
            p.error("no such program: %s; there are %s" % (name, ", ".join(kinds)))
    why = no_cgroup()
    if why:
        print("programs: no comparison with swapping: %s" % why, file=sys.stderr)
    if not opt.json:
        print("%-8s %10s  %-14s %10s %10s %10s  %s" %
              ("program", "needs", "way", "time", "CPU", "peak", "ratio of times (least, most)"))
    for name in opt.program or kinds:
        missing = [c for c in kinds[name].programs if not shutil.which(c)]
        if missing:
            print("programs: %s: not installed: %s" % (name, " ".join(missing)), file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="gmem-bench-", dir="/var/tmp") as scratch:
            w = kinds[name](scratch)
            w.prepare()
            for row in measure(w, Ways(os.path.abspath(opt.gmem), scratch, not why), opt.rounds,
                               sys.stderr.isatty()):
                print(json.dumps(row)) if opt.json else show(row)


if __name__ == "__main__":
    main()
