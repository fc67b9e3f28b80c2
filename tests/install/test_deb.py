#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The Debian packages build, install, can be used, and leave nothing when they are purged.

Usage: test_deb.py SOURCE-DIR

Whoever is root installs them by dpkg in a copy of this machine: an overlay over its root in a
mount namespace of the test's own, whose changes are in memory and go with it. So the packages
meet the real dpkg, ldconfig and dkms and this machine's real dependencies, and a gmem that is
installed here stays what it is. In the copy it is purged first.

Where there may be no such namespace the packages are only unpacked, and used from there.
Without debhelper the exit status is 77: skipped.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from common import check, find, read, run, status, try_examples

PACKAGES = ("libgmem0", "libgmem-dev", "gmem-tools", "gmem-dkms")
# Where packages, and what runs when they are configured, put files.
SYSTEM = ("etc", "usr", "lib/modules", "opt", "var/lib/dkms", "var/lib/dpkg/info")
# What those who are told of a package keep for themselves: depmod, ldconfig; dkms has the key
# that it signs with from its first module on.
INDEXES = re.compile(r"^(usr/)?lib/modules/[^/]+/modules\.|^etc/ld\.so\.cache|"
                     r"^var/lib/dkms/mok\.")
# The maintainer's address is for whoever distributes the packages to supply.
NOT_OURS = "bogus-mail-host,bogus-mail-host-in-debian-changelog"


def build(source, work):
    debs = run(os.path.join(source, "scripts", "deb.sh"), os.path.join(work, "deb"),
               env=dict(os.environ, DEB_BUILD_OPTIONS="nocheck")).split()
    version = re.search(r"^\s*version: '([^']+)'", read(source, "meson.build"),
                        flags=re.M).group(1)
    found = {}
    for deb in debs:
        name, its, depends = run("dpkg-deb", "-f", deb, "Package", "Version", "Depends",
                                 ).split("\n", 2)
        check(its == "Version: " + version, f"{deb} is of {its}")
        found[name.split()[1]] = deb
    for name in PACKAGES:
        check(name in found, f"there is no package {name}")
    depends = run("dpkg-deb", "-f", found["gmem-tools"], "Depends")
    check("libgmem0 (>= " in depends, "gmem-tools depends on " + depends)
    symbols = run("dpkg-deb", "-I", found["libgmem0"], "symbols")
    check("gm_alloc@GMEM_0.1 0.1.0" in symbols and "gm_sim_create@Base 0.1.0" in symbols,
          "libgmem0 does not say since when it has what\n" + symbols)
    if shutil.which("lintian"):
        changes = glob.glob(os.path.join(work, "deb", "*.changes"))
        r = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning",
                            "--suppress-tags", NOT_OURS, *changes],
                           capture_output=True, text=True, check=False)
        check(r.returncode == 0, "lintian: " + r.stdout + r.stderr)
    else:
        print("no lintian here: what it has to say is not known")
    return [found[name] for name in PACKAGES]


def files(root):
    found = set()
    for top in SYSTEM:
        for folder, dirs, names in os.walk(os.path.join(root, top)):
            folder = os.path.relpath(folder, root)
            found.update(os.path.join(folder, name) for name in dirs + names)
    return {name for name in found if not INDEXES.match(name)}


def mount_copy(work):
    """This machine's root, to be changed at will; None: there may be no such thing here."""
    top = os.path.join(work, "copy")
    os.mkdir(top)
    root = os.path.join(top, "root")
    steps = [["mount", "-t", "tmpfs", "tmpfs", top],
             ["mkdir", os.path.join(top, "upper"), os.path.join(top, "work"), root],
             ["mount", "-t", "overlay", "overlay", "-o",
              f"lowerdir=/,upperdir={top}/upper,workdir={top}/work", root],
             ["mount", "-t", "proc", "proc", os.path.join(root, "proc")],
             ["mount", "--rbind", "/dev", os.path.join(root, "dev")],
             ["mount", "-t", "tmpfs", "tmpfs", os.path.join(root, "tmp")],
             ["chroot", root, "dpkg", "--version"]]
    for step in steps:
        r = subprocess.run(step, capture_output=True, text=True, check=False)
        if r.returncode:
            print(f"no copy of this machine: {' '.join(step)}: {r.stderr.strip()}")
            return None
    return root


def installed(root):
    out = subprocess.run(["chroot", root, "dpkg-query", "-W", "-f", "${Package} ${Status}\n",
                          "*gmem*"], capture_output=True, text=True, check=False).stdout
    return [line.split()[0] for line in out.splitlines() if not line.endswith("not-installed")]


def modules(root):
    return sorted(os.path.basename(f) for f in
                  glob.glob(os.path.join(root, "lib/modules/*/updates/dkms/gmem*.ko*")))


def check_modules(root):
    """dkms builds them for each kernel 6.1 that has its headers here."""
    kernels = [d for d in os.listdir(os.path.join(root, "lib/modules"))
               if os.path.exists(os.path.join(root, "lib/modules", d, "build", "include"))] \
        if os.path.isdir(os.path.join(root, "lib/modules")) else []
    fit = [k for k in kernels if k.startswith("6.1.")]
    out = run("chroot", root, "dkms", "status", "-m", "gmem")
    for kernel in fit:
        check(re.search(rf"{re.escape(kernel)}, x86_64: installed", out),
              f"no module for {kernel}: {out!r}")
    check(len(modules(root)) == 2 * len(fit), f"for {fit} there are {modules(root)}")
    if not fit:
        print("no headers of a kernel 6.1 here: no module was built")


def test_copy(root, debs):
    env = dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive",
               PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    there = installed(root)
    if there:
        run("chroot", root, "dpkg", "-P", *there, env=env)
    # What somebody put there by make install would be found first.
    run("chroot", root, "find", "/usr/local", "-name", "*gmem*", "-delete", env=env)
    before = files(root)

    for deb in debs:
        shutil.copy(deb, os.path.join(root, "tmp"))
    run("chroot", root, "dpkg", "-i", *("/tmp/" + os.path.basename(d) for d in debs), env=env)
    check(sorted(installed(root)) == sorted(PACKAGES), f"installed are {installed(root)}")
    check("libgmem.so.0 " in run("chroot", root, "/sbin/ldconfig", "-p", env=env),
          "ldconfig was not run")
    check_modules(root)
    shutil.copytree(os.path.join(root, "usr/share/doc/libgmem-dev/examples"),
                    os.path.join(root, "tmp/examples"))
    try_examples(os.path.join(root, "tmp/examples"), env, ("chroot", root), "/tmp/examples")
    for page in ("gmem.1", "gmem.4", "gmem.7", "gm_alloc.3"):
        check(glob.glob(os.path.join(root, "usr/share/man/man?", page + ".gz")),
              page + " is not there")

    run("chroot", root, "dpkg", "-P", *PACKAGES, env=env)
    check(not installed(root), f"dpkg still knows {installed(root)}")
    after = files(root)
    check(after == before, f"left behind: {sorted(after - before)[:20]}, "
          f"taken along: {sorted(before - after)[:20]}")
    check(not modules(root), f"modules stay: {modules(root)}")


def test_unpacked(work, debs):
    root = os.path.join(work, "unpacked")
    for deb in debs:
        run("dpkg-deb", "-x", deb, root)
    lib = os.path.dirname(find(root, "libgmem.so.0")[0])
    env = dict(os.environ, PKG_CONFIG_LIBDIR=os.path.join(lib, "pkgconfig"),
               PKG_CONFIG_SYSROOT_DIR=root, LD_LIBRARY_PATH=lib,
               PATH=os.path.join(root, "usr/bin") + ":" + os.environ["PATH"])
    examples = os.path.join(work, "examples")
    shutil.copytree(os.path.join(root, "usr/share/doc/libgmem-dev/examples"), examples)
    try_examples(examples, env)
    check(find(root, "dkms.conf"), "there is no dkms.conf")


def main():
    if len(sys.argv) > 2:  # in the namespace: SOURCE-DIR WORK-DIR DEB...
        root = mount_copy(sys.argv[2])
        if root:
            test_copy(root, sys.argv[3:])
        else:
            test_unpacked(sys.argv[2], sys.argv[3:])
        sys.exit(status())
    if not shutil.which("dpkg-buildpackage") or not shutil.which("dh_dkms"):
        print("neither dpkg-dev nor debhelper here")
        sys.exit(77)
    source = os.path.abspath(sys.argv[1])
    work = tempfile.mkdtemp(prefix="gmem-deb-")
    try:
        debs = build(source, work)
        inside = [sys.executable, os.path.abspath(__file__), source, work, *debs]
        probe = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
        if os.geteuid() == 0 and probe.returncode == 0 and shutil.which("dkms"):
            r = subprocess.run(["unshare", "--mount", "--propagation", "private", *inside],
                               check=False)
            check(r.returncode == 0, "the packages, installed")
        else:
            print("not root, or no dkms here: the packages are unpacked and no more")
            test_unpacked(work, debs)
    finally:
        shutil.rmtree(work)
    sys.exit(status())


if __name__ == "__main__":
    main()
