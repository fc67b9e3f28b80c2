#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What is installed can be used, and is what the headers promise.

Usage: test_install.py install|headers|symbols|version SOURCE-DIR BUILD-DIR

install  `make install`'s steps, into an empty directory; the examples build outside the tree
         with the flags of pkg-config, run, and print what they should; `make uninstall` leaves
         nothing
headers  each public header is installed, and compiles on its own, as C11 and as C++17, with gcc
         and with clang
version  all that tells the version tells meson.build's
symbols  the libraries export exactly what the headers declare GM_API, src/gmem.map lists
         exactly that, and every name stands in a man page, those of libgmem.h too
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from common import check, find, read, run, status, try_examples

# Of the kernel, whose headers it includes.
NO_PROGRAM = {"kernel.h"}


def public_headers(source):
    return sorted(set(os.listdir(os.path.join(source, "include", "gmem"))) - NO_PROGRAM)


def test_install(source, build, work):
    dest = os.path.join(work, "dest dir")
    run("meson", "install", "-C", build, "--no-rebuild", "--destdir", dest)
    for name in ("gmem", "libgmem.so", "libgmem_sim.so", "gmem.1", "gmem.4", "gmem.7",
                 "gmem-check.1", "gmem-run.1", "gmem-topo.1", "libgmem_preload.so", "hmadvise.3", "gm_sim.3", "gmem-sim.pc"):
        check(find(dest, name), name + " is not installed")
    check(any("/bash-completion/completions/" in p for p in find(dest, "gmem")),
          "bash's completion is not installed")
    pc = find(dest, "gmem.pc")
    if len(pc) != 1:
        check(False, f"gmem.pc is installed {len(pc)} times")
        return
    include = find(dest, "driver.h")
    check(len(include) == 1 and set(os.listdir(os.path.dirname(include[0]))) ==
          {*public_headers(source), "uapi"}, "the headers that are installed are others")
    # pkg-config has no way to say a space in a path.
    plain = os.path.join(work, "dest")
    os.symlink(dest, plain)
    lib = os.path.dirname(find(dest, "libgmem.so")[0]).replace(dest, plain)
    tool = os.path.dirname(next(p for p in find(dest, "gmem") if "/bin/" in p))
    env = dict(os.environ, PKG_CONFIG_LIBDIR=os.path.join(lib, "pkgconfig"),
               PKG_CONFIG_SYSROOT_DIR=plain, LD_LIBRARY_PATH=lib,
               PATH=tool + ":" + os.environ["PATH"])
    examples = os.path.join(work, "examples")
    shutil.copytree(os.path.join(source, "examples"), examples)
    os.remove(os.path.join(examples, "meson.build"))
    try_examples(examples, env)
    out = run("gmem", "--version", env=env)
    version = run("pkg-config", "--modversion", "gmem", env=env).strip()
    check(out == f"gmem {version}\n", f"gmem --version says {out!r}, gmem.pc says {version!r}")
    run("make", "-C", source, "uninstall", "BUILD=" + build, "DESTDIR=" + dest)
    check(not os.path.exists(dest), "make uninstall leaves something behind")


def test_headers(source, build, work):
    include = os.path.join(source, "include")
    strict = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only")
    compilers = (("gcc", "c", "c11"), ("g++", "c++", "c++17"), ("clang", "c", "c11"),
                 ("clang++", "c++", "c++17"))
    for cc, _, _ in compilers:
        check(shutil.which(cc), cc + " is missing")
    headers = ["gmem/" + h for h in public_headers(source)]
    headers += ["uapi/" + h for h in sorted(os.listdir(os.path.join(include, "uapi")))]
    for header in headers:
        path = os.path.join(work, "one.x")
        with open(path, "w", encoding="ascii") as f:
            # Twice: the guard holds.
            f.write(f"#include <{header}>\n" * 2 + "int main(void) { return 0; }\n")
        for cc, language, std in compilers:
            if shutil.which(cc):
                run(cc, "-x", language, "-std=" + std, *strict, "-I", include, path)


def declared(source, *headers):
    names = set()
    for header in headers:
        text = read(source, "include", "gmem", header)
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        text = re.sub(r"^#.*$", "", text, flags=re.M)
        for declaration in re.findall(r"\bGM_API\b([^;]*);", text):
            # A function, or a variable.
            names.add(re.search(r"(\w+)\s*(?:\(|$)", declaration).group(1))
    return names


def exported(build, library):
    found = find(build, library)
    if not found:
        check(False, library + " is not built")
        return set()
    out = run("nm", "-D", "--defined-only", os.path.realpath(found[0]))
    names = {line.split()[2].split("@")[0] for line in out.splitlines() if line.split()[1] != "A"}
    return names - {"_init", "_fini", "_edata", "_end", "__bss_start"}


def same(what, have, where, want):
    for name in sorted(have - want):
        check(False, f"{name} is {what}, but not {where}")
    for name in sorted(want - have):
        check(False, f"{name} is {where}, but not {what}")


def test_symbols(source, build, _work):
    api = declared(source, "gmem.h", "driver.h", "events.h", "policy.h")
    sim = declared(source, "sim.h")
    check(len(api) > 30 and len(sim) > 20, "the headers declare too little to be true")
    same("exported by libgmem.so", exported(build, "libgmem.so"), "GM_API in its headers", api)
    same("exported by libgmem_sim.so", exported(build, "libgmem_sim.so"), "GM_API in sim.h", sim)
    text = re.sub(r"/\*.*?\*/", "", read(source, "src", "gmem.map"), flags=re.S)
    listed = set(re.findall(r"\b(\w+);", text.split("local:")[0]))
    same("in src/gmem.map", listed, "GM_API in its headers", api)
    pages = ""
    for name in os.listdir(os.path.join(source, "man")):
        if name.endswith(".3"):
            pages += read(source, "man", name)
    named = set(re.findall(r"^\.(?:Nm|Fn|Fo) (?:\")?(\w+)", pages, flags=re.M))
    six = set(re.findall(r"^(?:/\*\*| \*) (gmem\w+) - ", read(source, "include", "gmem", "libgmem.h"),
                         flags=re.M))
    check(len(six) == 8, f"libgmem.h has {sorted(six)}")
    for name in sorted((api | sim | six) - named):
        check(False, name + " is in no man page of section 3")
    kernel = set(re.findall(r"^\w+ (gm_\w+)\(", read(source, "include", "gmem", "kernel.h"), flags=re.M))
    every = api | sim | kernel
    for name in sorted(n for n in named if n.startswith(("gm_", "hm")) and n not in every):
        check(name in PAGES, name + " is in a man page, but in no header")


def test_version(source, _build, _work):
    version = re.search(r"^\s*version: '([^']+)'", read(source, "meson.build"),
                        flags=re.M).group(1)
    for path, pattern in (("src/host/linux-kernel/dkms.conf", r'^PACKAGE_VERSION="(.*)"'),
                          ("src/host/linux-kernel/main.c", r'^MODULE_VERSION\("(.*)"\)'),
                          ("src/drivers/sim/kernel/chardev.c", r'^MODULE_VERSION\("(.*)"\)'),
                          ("docs/kernel.md", r"dkms remove gmem/([^ ]+) ")):
        found = re.findall(pattern, read(source, path), flags=re.M)
        check(found == [version], f"meson.build says {version}, {path} says {found}")


# Pages that are named after an object, not after a function.
PAGES = {"gm_as", "gm_object", "gm_stats", "gm_record", "gm_retain", "gm_driver", "gm_sim"}


def main():
    test = {"install": test_install, "headers": test_headers, "symbols": test_symbols,
            "version": test_version}[sys.argv[1]]
    work = tempfile.mkdtemp(prefix="gmem-install-")
    try:
        test(os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3]), work)
    finally:
        shutil.rmtree(work)
    sys.exit(status())


if __name__ == "__main__":
    main()
