#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Count what a driver costs outside its MMU functions: lines, and lines that call gmem.

driver.c of the simulated accelerator is all of that, in user space and in the kernel. To
keep the count honest no other file of the driver may call gmem, but for what an MMU function
needs: gm_dev_data() and gm_fence_signal(); and what the device hands on to programs that test
gmem: in sim_window.c, in the kernel, where everything is a request, anywhere. What a device with
access counters adds, one call, is in sim_count.c.

What the driver guide quotes of it tests/docs compares.
"""
import pathlib
import re
import sys

MAX_LINES = 70
MAX_CALLS = 30
CALL = re.compile(r'\b(gm_(?:dev|as|context|object|fence)_\w+|gm_alloc|hmadvise|hmemcpy)\s*\(')
FREE = {'gm_dev_data', 'gm_fence_signal'}
TESTED = {'gm_dev_stats', 'gm_dev_tune', 'gm_dev_poison', 'gm_as_lookup', 'gm_context_set_mode',
          'gm_context_as'}


def code_lines(path):
    text = path.read_text(encoding='utf-8')
    text = re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group().count('\n'), text, flags=re.S)
    text = re.sub(r'//[^\n]*', '', text)
    return [(n, line) for n, line in enumerate(text.split('\n'), 1) if line.strip()]


def main():
    here = pathlib.Path(__file__).resolve().parent
    sim = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / '../../src/drivers/sim'
    bad = False
    for name in ('driver.c', 'kernel/driver.c'):
        lines = code_lines(sim / name)
        calls = [line for _, line in lines if CALL.search(line)]
        print(f'{name}: {len(lines)} lines (under {MAX_LINES}), '
              f'{len(calls)} of them call gmem (under {MAX_CALLS})')
        bad |= len(lines) >= MAX_LINES or not 0 < len(calls) < MAX_CALLS

    for path in sorted([*sim.glob('*.[ch]'), *sim.glob('kernel/*.[ch]')]):
        if path.name == 'driver.c':
            continue
        handed_on = path.parent.name == 'kernel' or path.name == 'sim_window.c'
        free = FREE | TESTED if handed_on else FREE
        if path.name == 'sim_count.c':
            free = FREE | {'gm_dev_accessed'}
        for n, line in code_lines(path):
            for name in CALL.findall(line):
                if name not in free:
                    print(f'{path.name}:{n}: calls {name}(): that belongs in driver.c')
                    bad = True

    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
