#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The pages name what there is, and what there is stands in a page.

Usage: test_pages.py links|manuals SOURCE-DIR BUILD-DIR

links    links in Markdown lead to files, and to headings, that there are; so do the paths in it, and the
         manual pages of gmem's that it names. Each page of docs/ is linked to from docs/README.md
manuals  each command of gmem has a page, with EXIT STATUS, EXAMPLES and each option that --help has,
         and no other; the functions of a page of section 3 are found by their names once it is
         installed; what the kernel module exports to drivers is in one; .Xr leads somewhere.
         That all of libgmem's and libgmem_sim's functions are in pages tests/install has
"""
import glob
import os
import re
import sys

from pages import check, end, manuals, markdown, read
from test_commands import Options

TOP = ("bench", "debian", "docs", "examples", "include", "man", "scripts", "src", "tests", "tools", "traces")


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors(text):
    """Of its headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", without_code(text), flags=re.M):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-"))
    return found


def names_of(source):
    """Section to the names of gmem's pages, and those that lead to them."""
    names = {}
    for page in manuals(source):
        name, section = os.path.basename(page).rsplit(".", 1)
        names.setdefault(section, set()).add(name)
    for page, more in re.findall(r"'(\w+\.3)': \[(.*?)\]", read(source, "man", "meson.build"),
                                 flags=re.S):
        check(os.path.isfile(os.path.join(source, "man", page)), f"man/meson.build: {page}")
        names["3"] |= set(re.findall(r"'(\w+)'", more))
    return names


def check_link(source, page, target, texts):
    path, _, anchor = target.partition("#")
    if "://" in path:
        return
    path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
    if not check(os.path.exists(os.path.join(source, path)), f"{page}: no file {target}"):
        return
    if anchor and path.endswith(".md"):
        text = texts.get(path) or read(source, path)
        check(anchor in anchors(text), f"{page}: no heading {target}")


def test_links(source, _build):
    texts = {page: read(source, page) for page in markdown(source)}
    known = names_of(source)
    links = 0
    for page, text in texts.items():
        prose = without_code(text)
        found = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|srcset|href)="([^"]+)"', prose)
        for target in found:
            links += 1
            check_link(source, page, target, texts)
        for path in re.findall(r"`([\w./*{},-]+/[\w./*-]*)`", prose):
            if path.split("/")[0] in TOP and not re.search(r"{|NAME", path):
                check(glob.glob(os.path.join(source, path)), f"{page}: no {path}")
        for name, section in re.findall(r"\b(gm\w*(?:-\w+)?|hm\w+|libgmem)\(([1-9])\)", prose):
            check(name in known.get(section, ()), f"{page}: no page {name}({section})")
    index = {os.path.normpath(os.path.join("docs", t))
             for t in re.findall(r"\]\(([^)#\s]+)", texts["docs/README.md"])}
    for page in texts:
        if page.startswith("docs/") and page != "docs/README.md":
            check(page in index, f"docs/README.md does not lead to {page}")
    check(links > 30, "there are too few links to be true")
    end(f"{links} links")


def section_of(text, title):
    m = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", text, flags=re.M | re.S)
    return m[1] if m else ""


def items(text):
    """The options that .It Fl has, with their dashes."""
    found = set()
    for line in re.findall(r"^\.It (Fl .*)$", text, flags=re.M):
        option = False
        for word in line.split():
            if word == "Fl":
                option = True
            elif re.fullmatch(r"[A-Z][a-z]", word):
                option = False
            elif option and word not in ",|":
                found.add("-" + word)
    return found


def test_commands(source, build):
    options = Options(os.path.join(build, "tools", "gmem", "gmem"))
    for command in options.commands:
        path = os.path.join("man", f"gmem-{command}.1")
        own = os.path.isfile(os.path.join(source, path))
        if not own:
            path = os.path.join("man", "gmem.1")
        text = read(source, path)
        if not own:
            check(re.search(rf"^\.(?:Cm|Nm Cm) {command}\b", text, flags=re.M),
                  f"{path} does not have gmem {command}")
        for title in ("EXIT STATUS", "EXAMPLES", "SYNOPSIS", "DESCRIPTION"):
            check(section_of(text, title), f"{path} has no {title}")
        check(re.search(rf"^\.Dl .*gmem {command}\b", section_of(text, "EXAMPLES"), flags=re.M),
              f"{path} has no example of gmem {command}")
        told, have = items(text), set(options.of(command))
        for option in sorted(have - told):
            check(False, f"{path} has no {option} of gmem {command}")
        if own:
            for option in sorted(told - have):
                check(False, f"{path} has {option}, gmem {command} has not")


def test_functions(source):
    mesons = read(source, "man", "meson.build")
    for page in manuals(source):
        if not page.endswith(".3"):
            continue
        text, name = read(source, page), os.path.basename(page)
        listed = re.search(rf"'{re.escape(name)}': \[(.*?)\]", mesons, flags=re.S)
        listed = set(re.findall(r"'(\w+)'", listed[1])) if listed else set()
        synopsis = set(re.findall(r"^\.F[no] \"?(\w+)", section_of(text, "SYNOPSIS"), flags=re.M))
        told = set(re.findall(r"^\.F[no] \"?(\w+)", section_of(text, "DESCRIPTION"), flags=re.M))
        for function in sorted(synopsis - listed - {name[:-2]}):
            check(False, f"man/meson.build does not lead from {function} to {name}")
        for function in sorted(synopsis - told):
            check(False, f"{page} does not describe {function}")
        check(section_of(text, "RETURN VALUES") or section_of(text, "ERRORS"), f"{page} has no RETURN VALUES or ERRORS")


def test_kernel(source):
    exported = set(re.findall(r"^EXPORT_SYMBOL_GPL\((\w+)\);",
                              read(source, "src/host/linux-kernel/export.c"), flags=re.M))
    # By the names that drivers call them by: macros of gmem/kernel.h.
    called = {re.sub(r"^gm_k(dev|as)_", r"gm_\1_", name) for name in exported}
    pages = "".join(read(source, p) for p in manuals(source) if p.endswith(".3"))
    named = set(re.findall(r"^\.(?:Nm|Fn|Fo) \"?(\w+)", pages, flags=re.M))
    check(len(called) > 20, "export.c has too few symbols to be true")
    for name in sorted(called - named):
        check(False, f"{name} is exported by gmem.ko, and in no page of section 3")


def test_manuals(source, build):
    test_commands(source, build)
    test_functions(source)
    test_kernel(source)
    known = names_of(source)
    for page in manuals(source):
        for name, section in re.findall(r"\bXr ([\w-]+) ([1-9])", read(source, page)):
            if re.match(r"gm|hm(?:adv|emc)|libgmem", name):
                check(name in known.get(section, ()), f"{page}: no page {name}({section})")
    end(f"{len(manuals(source))} pages")


if __name__ == "__main__":
    {"links": test_links, "manuals": test_manuals}[sys.argv[1]](
        *(os.path.abspath(p) for p in sys.argv[2:4]))
