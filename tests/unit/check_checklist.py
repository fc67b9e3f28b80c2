#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Is docs/checklist.md true?

Every test that it names must exist, and be run: as a cmocka test, an entry of a table of
tests/kernel, or a function or argument of a test in Python. Every row must name one, or say
that it is policy, not there, does not arise, or OPEN(what is being built).

    check_checklist.py [--open | --no-open] [CHECKLIST]

--open lists the rows that are open; --no-open fails if one is.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent / '../..'
EXCUSES = ('policy', 'not there', 'does not arise', 'OPEN(')


def find(name):
    """The file that a row means by unit/test_x, kernel/vma, install/test_y.py or bench/z.c."""
    for path in (TOP / 'tests' / name, TOP / 'tests' / (name + '.c'), TOP / name):
        if path.is_file():
            return path
    return None


def is_run(path, text, test):
    word = re.escape(test)
    if path.suffix == '.py':
        return re.search(rf"def {word}\(|'{word}'", text)
    if path.parent.name == 'kernel':
        return re.search(rf'\{{ "{word}", \w+,', text)
    return (re.search(rf'^static void {word}\(', text, re.M) and
            re.search(rf'\b(cmocka_unit_test\w*|CF_TEST\w*|TEST|T|T_ALONE)\(\s*{word}\b', text))


def check_tests(row):
    """Complaints about the tests that a row names; and how many it names."""
    bad, count = [], 0
    for name, tests in re.findall(r'`([\w./]+/[\w.]+)(?:: ([\w, ]+))?`', row):
        path = find(name)
        if not path:
            bad.append(f'there is no {name}')
            continue
        text = path.read_text(encoding='utf-8')
        count += 1
        bad += [f'{name} has no test {test}' for test in tests.split(', ')
                if test and not is_run(path, text, test)]
    return bad, count


def main():
    args = [a for a in sys.argv[1:] if not a.startswith('--')]
    checklist = pathlib.Path(args[0]) if args else TOP / 'docs/checklist.md'
    bad = rows = tests = 0
    still_open = []
    for n, line in enumerate(checklist.read_text(encoding='utf-8').split('\n'), 1):
        if not line.startswith('| ') or line.startswith('| ---'):
            continue
        cells = [c.strip() for c in re.split(r'(?<!\\)\|', line)[1:-1]]
        if cells[-1] == 'proved by':
            continue
        rows += 1
        complaints, count = check_tests(cells[-1])
        tests += count
        if not count and not any(e in cells[-1] for e in EXCUSES):
            complaints.append('no test, and no reason for it')
        if 'OPEN(' in line:
            still_open.append(f'{checklist.name}:{n}: {cells[0]}: {cells[-1]}')
        for complaint in complaints:
            print(f'{checklist.name}:{n}: {cells[0]}: {complaint}')
        bad += len(complaints)
    if '--open' in sys.argv or '--no-open' in sys.argv:
        print('\n'.join(still_open))
    print(f'{rows} rows, {tests} files of tests named, {len(still_open)} rows open')
    return 1 if bad or not tests or ('--no-open' in sys.argv and still_open) else 0


if __name__ == '__main__':
    sys.exit(main())
