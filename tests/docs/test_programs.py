#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Every C example of the documentation is what it says it is, compiles and runs.

Usage: test_programs.py SOURCE-DIR BUILD-DIR

pages.py says how an example says what it is. A program has to end with exit status 0, so it is to
check its own result.
"""
import os
import re
import subprocess
import sys
import tempfile

from pages import check, end, examples, read


def lines_of(text):
    """Without what differs between a tab and blanks, in front of a line and within."""
    return [re.sub(r"(\S)\s+", r"\1 ", line.expandtabs(8)).rstrip() for line in text.split("\n")]


def is_excerpt(source, example, path):
    whole, part = lines_of(read(source, path)), lines_of(example.text)[:-1]
    # A manual page may be indented less, by the same for all lines.
    return any(whole[at:at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def compiled(source, build, work, program, where):
    out = os.path.join(work, "program")
    src = os.path.join(build, "src")
    r = subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", out, program,
                        "-I", work, "-I", os.path.join(source, "include"), "-L", src,
                        "-Wl,-rpath," + src, "-lgmem_sim", "-lgmem", "-pthread"],
                       capture_output=True, text=True, check=False)
    return out if check(r.returncode == 0, f"{where} does not compile:\n{r.stderr}") else None


def run(program, work, where):
    env = dict(os.environ, GMEM_HOST="user")
    try:
        r = subprocess.run([program], cwd=work, env=env, capture_output=True, text=True, timeout=60,
                           check=False)
    except subprocess.TimeoutExpired:
        check(False, f"{where} does not end")
        return
    check(r.returncode == 0, f"{where}: exit status {r.returncode}\n{r.stdout}{r.stderr}")


def main():
    source, build = (os.path.abspath(p) for p in sys.argv[1:3])
    programs = excerpts = 0
    around = os.path.join(source, "tests", "docs", "around")
    left = set(os.listdir(around))
    for example in examples(source):
        path = example.say.get("excerpt")
        if path:
            excerpts += 1
            check(os.path.isfile(os.path.join(source, path)) and is_excerpt(source, example, path),
                  f"{example} is not in {path} as it stands")
        if example.kind != "c":
            continue
        frame = example.say.get("around")
        if frame:
            left.discard(frame)
        elif "int main(" not in example.text:
            check(path, f"{example} is no program, and does not say what it is a part of")
            continue
        with tempfile.TemporaryDirectory(prefix="gmem-docs-") as work:
            text = os.path.join(work, "example.c" if not frame else "example.h")
            with open(text, "w", encoding="utf-8") as f:
                f.write(example.text)
            program = os.path.join(around, frame) if frame else text
            program = compiled(source, build, work, program, example)
            if program:
                programs += 1
                run(program, work, example)
    for name in sorted(left):
        check(False, f"tests/docs/around/{name} is around nothing")
    check(programs >= 3 and excerpts >= 5, "there is too little to be true")
    end(f"{programs} programs, {excerpts} excerpts")


if __name__ == "__main__":
    main()
