# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What the tests of installing share: checks that go on, commands that must not fail, and the
examples, built and run as somebody would who has but installed gmem."""
import os
import re
import shutil
import subprocess
import sys

# Each with the last line that it prints, a regular expression.
EXAMPLES = {
    "events": r"16 pages at 0x[0-9a-f]+ went from node -1 to \d+",
    "hello": "42",
    "hints": "sum 2",
    "oversubscribe": "the device's sum 1395913017664, the CPU's 1395913017664",
    "policy": r"twice/dice +\d+ faults, +\d+ pages in, +\d+ evicted",
    "six": r"2499975000\.0",
    "driver/driver": "549755289600",
}
failures = []


def check(ok, message):
    if not ok:
        print("FAIL: " + message)
        failures.append(message)


def status():
    return 1 if failures else 0


def run(*args, **kwargs):
    r = subprocess.run(args, capture_output=True, text=True, check=False, **kwargs)
    if r.returncode:
        print("FAIL: " + " ".join(args) + "\n" + r.stdout + r.stderr)
        sys.exit(1)
    return r.stdout


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def find(root, name):
    return [os.path.join(d, f) for d, _, files in os.walk(root) for f in files if f == name]


def try_examples(folder, env, prefix=(), inside=None):
    """Build and run what is in folder, with what env and prefix say is installed.

    inside: folder's name to what prefix runs, if another.
    """
    inside = inside or folder
    env = dict(env, CFLAGS="-Wall -Wextra -Werror")
    sources = [f for f in os.listdir(folder) if f.endswith(".c")]
    check(sorted(f[:-2] for f in sources) == sorted(e for e in EXAMPLES if "/" not in e),
          f"the examples are {sources}")
    run(*prefix, "make", "-C", inside, env=env)
    project = os.path.join(inside, "driver")
    # As meson's project too, with what that brings of options.
    build = dict(env, CFLAGS="")
    run(*prefix, "meson", "setup", project + "/build", project, "-Dwerror=true", env=build)
    run(*prefix, "ninja", "-C", project + "/build", env=build)
    refused = userfaultfd_refused(env, prefix)
    for name, last in {**EXAMPLES, "driver/build/driver": EXAMPLES["driver/driver"]}.items():
        r = subprocess.run([*prefix, os.path.join(inside, name)], capture_output=True, text=True,
                           env=env, check=False)
        lines = r.stdout.splitlines() or [""]
        if r.returncode == 0 or not refused:
            check(r.returncode == 0 and re.fullmatch(last, lines[-1]),
                  f"{name}: exit status {r.returncode}, it printed {r.stdout!r} {r.stderr!r}")
    run(*prefix, "make", "-C", inside, "clean", env=env)
    shutil.rmtree(os.path.join(folder, "driver", "build"))


def userfaultfd_refused(env, prefix):
    r = subprocess.run([*prefix, "gmem", "demo", "gups", "-q", "--size", "8"], env=env,
                       capture_output=True, text=True, check=False)
    return "cannot create an address space" in r.stderr
