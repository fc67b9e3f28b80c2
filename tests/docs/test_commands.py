#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Every command in the documentation can be given as it stands.

Usage: test_commands.py SOURCE-DIR BUILD-DIR

Its options are those that --help has, its make targets are in the Makefile, and its scripts are
there; so it is where a sentence names it. A block of commands is run, unless the page says that
it is not, and why: each block of Markdown as a script, and the lines of a manual page one after
another. They are run in a folder with ./program and ./app, which use gmem, and some files; process
4711 is one that uses gmem, and so is the app that pidof knows. What fails in a block fails the test.
So that a page cannot do harm to whoever runs the tests, what is not among HARMLESS is never run: the
page has to say that it is not.
"""
import concurrent.futures
import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from pages import check, end, examples, markdown, read

# Pages whose text is made by scripts, or takes longer to run than a test may.
NOT_RUN = {
    "docs/policy-results.md": "minutes",
}
# Commands that may be run, beside those of the folder; and they write to files of the folder alone.
HARMLESS = {"gmem", "gcc", "jq", "sort", "lstopo", "cat", "cmp", "head", "sleep", "grep", "seq",
            "make", "cd", "cp", "echo", "kill", "wait", "ls"}
PARTS = {"|", "||", "&&", ";", "&", "|&"}


class Options:
    """The options of gmem's commands, as --help prints them."""

    def __init__(self, gmem):
        self.gmem = gmem
        self.known = {}
        self.commands = re.findall(r"^  (\w+)  ", self.help(), flags=re.M)
        check(len(self.commands) > 8, f"gmem --help has but the commands {self.commands}")

    def help(self, *command):
        r = subprocess.run([self.gmem, *command, "--help"], capture_output=True, text=True,
                           check=False)
        check(r.returncode == 0, f"gmem {' '.join(command)} --help: {r.stderr}")
        return r.stdout

    def of(self, command):
        """Option to whether it has an argument."""
        if command not in self.known:
            options = {}
            for line in self.help(*([command] if command else [])).splitlines():
                m = re.match(r" +(?:(-\w), )?(--[\w-]+)(=)?", line)
                if m and len(line) - len(line.lstrip()) <= 6:
                    for name in filter(None, m.groups()[:2]):
                        options[name] = bool(m[3])
            self.known[command] = options
        return self.known[command]

    def check(self, where, words):
        """words: what follows gmem. What follows the program of run, stat or trace is its own."""
        command = words.pop(0) if words and not words[0].startswith("-") else ""
        if command and not check(command in self.commands, f"{where}: no command '{command}'"):
            return []
        options = self.of(command)
        while words:
            word = words.pop(0)
            if word == "--":
                return words
            if word.startswith("--"):
                name, _, value = word.partition("=")
                check(name in options, f"{where}: gmem {command} has no option {name}")
                if options.get(name) and not value:
                    words[:1] = []
            elif re.match(r"-\w", word):
                check(word[:2] in options, f"{where}: gmem {command} has no option {word[:2]}")
                if options.get(word[:2]) and len(word) == 2:
                    words[:1] = []
            elif command in ("run", "trace"):
                return [word] + words
        return []


def commands(text):
    """The words of each simple command in a script."""
    text = text.replace("\\\n", " ")
    for line in text.split("\n"):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        command = []
        for word in lexer:
            if word in PARTS:
                yield command
                command = []
            else:
                command.append(word)
        yield command


def harmless(text):
    for words in commands(text):
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        name = words[0] if words else "echo"
        if name not in HARMLESS and not re.match(r"\./[\w/]+$", name) or name == "make" and \
           words[1:2] != ["-C"]:
            return False
        if any(w.startswith(("/", "~", "..")) for w in words if w not in ("/dev/null",)):
            return False
    return True


def check_words(where, source, makefile, options, words):
    """One simple command, and what it runs in its turn."""
    while words and re.match(r"\w+=", words[0]):
        words.pop(0)
    if not words:
        return
    name = words[0]
    if os.path.basename(name) == "gmem" and "insmod" not in words:
        check_words(where, source, makefile, options, options.check(where, words[1:]))
    elif name == "make":
        in_examples = "-C" in words
        for word in words[1:]:
            if re.fullmatch(r"[\w-]+", word) and word.islower() and not in_examples:
                check(re.search(rf"^{word}:", makefile, flags=re.M), f"{where}: no target {word}")
    elif name.startswith("scripts/"):
        check(os.access(os.path.join(source, name), os.X_OK), f"{where}: there is no {name}")


def furnish(source, build, work):
    """The folder that commands are run in a copy of."""
    example = os.path.join(build, "examples", "oversubscribe")
    for name in ("program", "app"):
        shutil.copy(example, os.path.join(work, name))
    shutil.copy(os.path.join(source, "examples", "hello.c"), work)
    numbers = [i * 7919 % 9999991 for i in range(1 << 18)]
    with open(os.path.join(work, "big.txt"), "w", encoding="ascii") as f:
        f.writelines(f"{n:07}\n" for n in numbers)
    with gzip.open(os.path.join(work, "web-Google.txt.gz"), "wt") as f:
        f.writelines(f"{n % 1000}\t{n % 997}\n" for n in numbers[:8000])
    for name in ("examples", "traces"):
        shutil.copytree(os.path.join(source, name), os.path.join(work, name))


def environment(build, work):
    path = os.path.join(build, "tools", "gmem") + ":" + os.environ["PATH"]
    return dict(os.environ, PATH=path, GMEM_HOST="user", LD_LIBRARY_PATH=os.path.join(build, "src"),
                PKG_CONFIG_PATH=os.path.join(build, "meson-uninstalled"), HOME=work, LC_ALL="C")


def run(where, text, work, env, exposed):
    """exposed: a program that uses gmem until its input ends."""
    process = None
    if "4711" in text or "$(pidof app)" in text:
        process = subprocess.Popen([exposed], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, env=env)
        process.stdout.readline()
        text = text.replace("$(pidof app)", "4711").replace("4711", str(process.pid))
    try:
        script(where, text, work, env)
    finally:
        if process:
            process.communicate()


def script(where, text, work, env):
    try:
        r = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", text], cwd=work, env=env,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           errors="replace", timeout=120, check=False)
    except subprocess.TimeoutExpired:
        check(False, f"{where} does not end:\n{text}")
        return
    check(r.returncode == 0,
          f"{where}: exit status {r.returncode}\n{text}{r.stdout[-2000:]}{r.stderr[-2000:]}")


def look(source, build, folder, options, makefile, page, blocks):
    """How many commands there are on a page, and how many blocks were run."""
    checked = ran = 0
    exposed = os.path.join(build, "tests", "tool", "exposed")
    with tempfile.TemporaryDirectory(prefix="gmem-docs-") as work:
        env = environment(build, work)
        shutil.copytree(folder, work, dirs_exist_ok=True)
        for example in blocks:
            for words in commands(example.text):
                check_words(example, source, makefile, options, words)
                checked += 1
            if page in NOT_RUN or "not run" in example.say:
                continue
            if check(harmless(example.text), f"{example} may not be run, and does not say so"):
                run(example, example.text, work, env, exposed)
                ran += 1
    return checked, ran


def main():
    source, build = (os.path.abspath(p) for p in sys.argv[1:3])
    options = Options(os.path.join(build, "tools", "gmem", "gmem"))
    makefile = read(source, "Makefile")
    pages = {}
    for example in examples(source):
        if example.kind == "sh":
            pages.setdefault(example.page, []).append(example)
    for page in markdown(source):
        for text in re.findall(r"(?<!`)`((?:gmem|make|scripts/[\w.-]+) [^`\n]*)`(?!`)", read(source, page)):
            for words in commands(text.replace("...", "")):
                check_words(f"{page}: {text}", source, makefile, options, words)
    # Some do nothing but wait.
    with tempfile.TemporaryDirectory(prefix="gmem-docs-") as folder, \
            concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        furnish(source, build, folder)
        sums = list(pool.map(lambda item: look(source, build, folder, options, makefile, *item),
                             pages.items()))
    checked, ran = (sum(column) for column in zip(*sums))
    check(ran >= 15, f"but {ran} blocks of commands were run: too few to be true")
    end(f"{checked} commands looked at, {ran} blocks of them run")


if __name__ == "__main__":
    main()
