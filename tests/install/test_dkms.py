#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The tree that DKMS builds from is whole, and the modules build from it alone.

Usage: test_dkms.py tree|build SOURCE-DIR

tree   every object that Kbuild lists has its source, every include that is not the kernel's
       is there, no link leads out of it, and dkms.conf names its version and its modules
build  the modules build from a copy of it, for the newest headers installed here; without
       any the exit status is 77: skipped
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

# Where Kbuild's -I flags lead, in their order.
INCLUDES = ("src/host/linux-kernel/shim", "include", "src", "src/drivers/sim",
            "src/host/linux-kernel")
failed = False


def check(ok, message):
    global failed
    if not ok:
        print("FAIL: " + message)
        failed = True


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def make_tree(source, work):
    # A DESTDIR with a space in it, for a quote is soon forgotten.
    dest = os.path.join(work, "dest dir")
    os.mkdir(dest)
    out = subprocess.run([os.path.join(source, "scripts", "kernel-dkms.sh"), dest], check=True,
                         capture_output=True, text=True).stdout
    tree = out.strip()
    check(os.path.dirname(tree) == os.path.join(dest, "usr/src"), f"the tree is at {tree}")
    return tree


def objects(kbuild):
    """Sources of the modules that are always built, from Kbuild's $(addprefix DIR/, a.o b.o)."""
    text = kbuild.replace("\\\n", " ")
    names = []
    for prefix, files in re.findall(r"\$\(addprefix ([^,]+),([^)]*)\)", text):
        names += [prefix + name for name in files.split()]
    return [re.sub(r"\.o$", ".c", name) for name in names]


# In the kernel its guard keeps it empty: kernel/sim_port.h is included before.
USER_ONLY = "src/drivers/sim/sim_port.h"


def check_includes(tree, path):
    if os.path.relpath(path, tree) == USER_ONLY:
        return
    for name in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', read(path), flags=re.M):
        if name.startswith(("linux/", "asm/", "trace/")):
            continue
        places = [os.path.dirname(path)] + [os.path.join(tree, d) for d in INCLUDES]
        check(any(os.path.isfile(os.path.join(p, name)) for p in places),
              f"{os.path.relpath(path, tree)} includes {name}, which is not in the tree")


def test_tree(source, tree):
    sources = objects(read(tree, "Kbuild"))
    check(len(sources) > 30, f"Kbuild lists but {len(sources)} objects")
    for name in sources:
        check(os.path.isfile(os.path.join(tree, name)), name + " is not in the tree")
    found = 0
    for folder, dirs, files in os.walk(tree):
        for name in dirs + files:
            check(not os.path.islink(os.path.join(folder, name)), name + " is a link")
        for name in files:
            if name.endswith((".c", ".h")):
                found += 1
                check_includes(tree, os.path.join(folder, name))
    check(found >= len(sources), "the walk found too little to be true")
    conf = read(tree, "dkms.conf")
    version = re.search(r"^\s*version: '([^']+)'", read(source, "meson.build"), flags=re.M)
    check(f'PACKAGE_VERSION="{version.group(1)}"' in conf, "dkms.conf has another version")
    check(tree.endswith("/gmem-" + version.group(1)), f"the tree is {tree}")
    check(re.findall(r'^BUILT_MODULE_NAME.*="(\w+)"', conf, flags=re.M) ==
          re.findall(r"(\w+)\.o", re.search(r"^obj-m := (.*)$", read(tree, "Kbuild"),
                                            flags=re.M).group(1)),
          "dkms.conf and Kbuild differ on the modules")


def test_build(tree, work):
    headers = [d for d in glob.glob("/usr/src/linux-headers-*-amd64")
               if os.path.isfile(os.path.join(d, "Makefile"))]
    if not headers or not shutil.which("make") or not shutil.which("gcc"):
        print("no kernel headers here")
        sys.exit(77)
    newest = max(headers, key=lambda d: [int(n) for n in re.findall(r"\d+", d)])
    # DKMS builds in a folder of its own; the tree it has copied may be gone by then.
    build = os.path.join(work, "build")
    shutil.move(tree, build)
    # dkms.conf's own commands, with what DKMS sets for them.
    conf = read(build, "dkms.conf")
    for command in re.findall(r'^(?:MAKE\[0\]|CLEAN)="(.*)"$', conf, flags=re.M):
        command = command.replace("${kernel_source_dir}", newest)
        command = command.replace("${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build", build)
        check("$" not in command, "dkms.conf uses a variable that is not known: " + command)
        r = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        if r.returncode:
            check(False, command + "\n" + r.stdout[-4000:] + r.stderr[-4000:])
            return
        built = [os.path.isfile(os.path.join(build, m + ".ko")) for m in ("gmem", "gmem_sim")]
        check(built == [" clean" not in command] * 2, f"after '{command}' there are {built}")
        check("warning:" not in r.stdout + r.stderr, "it builds with warnings:\n" + r.stderr)


def main():
    source = os.path.abspath(sys.argv[2])
    work = tempfile.mkdtemp(prefix="gmem-dkms-")
    try:
        tree = make_tree(source, work)
        if sys.argv[1] == "tree":
            test_tree(source, tree)
        else:
            test_build(tree, work)
    finally:
        shutil.rmtree(work)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
