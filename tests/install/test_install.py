#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What is installed can be used, and is what the headers promise.

Usage: test_install.py install|headers|symbols|readme SOURCE-DIR BUILD-DIR

install  `meson install` into an empty directory; a program outside the tree builds with
         the flags of pkg-config, runs, and prints what it should
headers  each public header compiles on its own, as C11 and as C++17
symbols  the libraries export exactly what the headers declare GM_API, src/gmem.map lists
         exactly that, and every name stands in a man page
readme   README.md shows examples/hello.c as it is, and what it links to exists
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HEADERS = ("gmem.h", "driver.h", "policy.h", "sim.h")
failed = False


def check(ok, message):
    global failed
    if not ok:
        print("FAIL: " + message)
        failed = True


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


def test_install(source, build, work):
    dest = os.path.join(work, "dest")
    run("meson", "install", "-C", build, "--no-rebuild", "--destdir", dest)
    for name in ("gmem", "libgmem.so", "libgmem_sim.so", *HEADERS, "gmem.1", "gmem.4", "gmem.7",
                 "hmadvise.3", "gm_sim.3"):
        check([p for d, _, files in os.walk(dest) for p in files if p == name],
              name + " is not installed")
    pc = find(dest, "gmem.pc")
    if len(pc) != 1:
        check(False, f"gmem.pc is installed {len(pc)} times")
        return
    env = dict(os.environ, PKG_CONFIG_LIBDIR=os.path.dirname(pc[0]), PKG_CONFIG_SYSROOT_DIR=dest)
    flags = run("pkg-config", "--cflags", "--libs", "gmem-sim", env=env).split()
    shutil.copy(os.path.join(source, "examples", "hello.c"), work)
    # Only what was installed is to be found.
    run("gcc", "-Wall", "-Wextra", "-Werror", "-o", "hello", "hello.c", *flags, cwd=work)
    lib = os.path.dirname(find(dest, "libgmem.so")[0])
    env = dict(os.environ, LD_LIBRARY_PATH=lib)
    r = subprocess.run([os.path.join(work, "hello")], capture_output=True, text=True, env=env,
                       check=False)
    if r.returncode == 0 or not userfaultfd_refused(dest, env):
        check((r.returncode, r.stdout) == (0, "42\n"),
              f"hello: exit status {r.returncode}, it printed {r.stdout!r} {r.stderr!r}")
    r = run(find(dest, "gmem")[0], "--version", env=env)
    version = run("pkg-config", "--modversion", "gmem",
                  env=dict(os.environ, PKG_CONFIG_LIBDIR=os.path.dirname(pc[0]))).strip()
    check(r == f"gmem {version}\n", f"gmem --version says {r!r}, gmem.pc says {version!r}")


def userfaultfd_refused(dest, env):
    r = subprocess.run([find(dest, "gmem")[0], "demo", "gups", "-q", "--size", "8"], env=env,
                       capture_output=True, text=True, check=False)
    return "cannot create an address space" in r.stderr


def test_headers(source, _build, work):
    include = os.path.join(source, "include")
    strict = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only")
    compilers = [("cc", "c", "c11"), ("c++", "c++", "c++17")]
    compilers = [c for c in compilers if shutil.which(c[0])]
    check(len(compilers) == 2, "a C or a C++ compiler is missing")
    for header in HEADERS:
        path = os.path.join(work, "one.x")
        with open(path, "w", encoding="ascii") as f:
            # Twice: the guard holds.
            f.write(f"#include <gmem/{header}>\n" * 2 + "int main(void) { return 0; }\n")
        for cc, language, std in compilers:
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
    api = declared(source, "gmem.h", "driver.h", "policy.h")
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
    for name in sorted((api | sim) - named):
        check(False, name + " is in no man page of section 3")
    for name in sorted(n for n in named if n.startswith(("gm_", "hm")) and n not in api | sim):
        check(name in PAGES, name + " is in a man page, but in no header")


def test_readme(source, _build, _work):
    text = read(source, "README.md")
    code = re.search(r"^```c\n(.*?)^```", text, flags=re.M | re.S)
    hello = read(source, "examples", "hello.c").split("\n", 1)[1]  # without the licence
    check(code and code.group(1) == hello, "README.md does not show examples/hello.c as it is")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in link:
            check(os.path.exists(os.path.join(source, link)), f"README.md: no file {link}")


# Pages that are named after an object, not after a function.
PAGES = {"gm_as", "gm_object", "gm_stats", "gm_record", "gm_retain", "gm_driver", "gm_sim"}


def main():
    test = {"install": test_install, "headers": test_headers, "symbols": test_symbols,
            "readme": test_readme}[sys.argv[1]]
    work = tempfile.mkdtemp(prefix="gmem-install-")
    try:
        test(os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3]), work)
    finally:
        shutil.rmtree(work)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
