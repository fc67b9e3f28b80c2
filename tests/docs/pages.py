# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What the tests of the documentation share: the pages, and the examples that are in them.

An example is a block of code. In Markdown it is fenced, and says what it is: c, sh (commands), or
text, which is nothing to run; an indented block is commands. In a manual page it is a display
(.Bd -literal), which is C, or a line ".Dl $ COMMAND". Unless it says otherwise each C example is
a program, compiled and run, and each block of commands is run. A line before the block says otherwise,
as a comment, <!-- KEY: VALUE --> or .\\" KEY: VALUE:

    excerpt: FILE     it is lines of FILE, of the source, as they stand there
    around: FILE      it is a part of the program tests/docs/around/FILE, which includes it
    not run: REASON   the options in these commands are checked, and no more
    not C: REASON     of a display in a manual page
"""
import glob
import os
import re
import sys

KEYS = ("excerpt", "around", "not run", "not C")
failures = []


class Example:
    """Of page, at line: kind (c, sh or text), its text, and what the line before it says."""

    def __init__(self, page, line, kind, text, say):
        self.page, self.line, self.kind, self.text, self.say = page, line, kind, text, say

    def __str__(self):
        return f"{self.page}:{self.line}"


def check(ok, message):
    if not ok:
        print("FAIL: " + message)
        failures.append(message)
    return ok


def end(what):
    print(what)
    sys.exit(1 if failures else 0)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def markdown(source):
    """The pages in Markdown, by their names in the source."""
    names = ["README.md", "traces/README.md"]
    names += [os.path.relpath(p, source) for p in glob.glob(os.path.join(source, "docs", "*.md"))]
    return sorted(names)


def manuals(source):
    return sorted(os.path.relpath(p, source)
                  for p in glob.glob(os.path.join(source, "man", "*.[1-9]")))


def said(page, line, before):
    m = re.fullmatch(r"<!-- ([\w ]+?): (.*) -->|\.\\\" ([\w ]+?): (.*)", before.strip())
    if not m or (m[1] or m[3]).startswith("SPDX"):
        return {}
    key, value = m[1] or m[3], m[2] or m[4]
    check(key in KEYS, f"{page}:{line}: nobody knows what '{key}' says of an example")
    return {key: value}


def in_markdown(page, text):
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        fence = re.match(r"( *)```(.*)$", lines[at])
        begin = at
        if fence:
            at += 1
            while at < len(lines) and lines[at].strip() != "```":
                at += 1
            body, kind = lines[begin + 1:at], fence[2].strip() or "text"
            check(kind in ("c", "sh", "text"), f"{page}:{begin + 1}: a block of '{kind}'")
            check(at < len(lines), f"{page}:{begin + 1}: a block without an end")
        elif lines[at].startswith("    ") and not (at and lines[at - 1].strip()):
            while at < len(lines) and (lines[at].startswith("    ") or
                                       not lines[at].strip() and lines[at + 1:at + 2] and
                                       lines[at + 1].startswith("    ")):
                at += 1
            body, kind = [line[4:] for line in lines[begin:at]], "sh"
        else:
            at += 1
            continue
        # An indented block has an empty line before it.
        say = said(page, begin + 1, lines[begin - 1] or lines[begin - 2] if begin else "")
        yield Example(page, begin + 1, kind, "\n".join(body) + "\n", say)
        at += 1


def plain(text):
    """What mdoc prints for the text of a display, or of a line of it."""
    for escape, char in (("\\&", ""), ("\\(dq", '"'), ("\\-", "-"), ("\\e", "\\")):
        text = text.replace(escape, char)
    return text


def in_manual(page, text):
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        begin = at
        if lines[at].startswith(".Bd -literal"):
            while at < len(lines) and lines[at] != ".Ed":
                at += 1
            say = said(page, begin + 1, lines[begin - 1])
            yield Example(page, begin + 1, "text" if "not C" in say else "c",
                          plain("\n".join(lines[begin + 1:at]) + "\n"), say)
        elif re.match(r"\.Dl [$#] ", lines[at]):
            yield Example(page, begin + 1, "sh", plain(lines[at][6:]) + "\n",
                          said(page, begin + 1, lines[begin - 1]))
        at += 1


def examples(source):
    found = []
    for page in markdown(source):
        found += in_markdown(page, read(source, page))
    for page in manuals(source):
        found += in_manual(page, read(source, page))
    return found
