#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Build gmem.ko and gmem_sim.ko.
#
#	kernel-build.sh BUILD-DIR [KERNEL-DIR] [MAKE-ARGUMENTS...]
#
# KERNEL-DIR is a prepared kernel tree, or the headers of a distribution's; by default the
# newest headers that are installed here. Nothing is written outside BUILD-DIR.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?"usage: $0 BUILD-DIR [KERNEL-DIR] [MAKE-ARGUMENTS...]"}
kernel=${2-}
shift $(($# < 2 ? $# : 2))

if [ -z "$kernel" ]; then
	kernel=$(printf '%s\n' /usr/src/linux-headers-*-amd64 | sort -V | tail -n 1)
fi
if [ ! -f "$kernel/Makefile" ]; then
	echo "$0: no kernel headers at $kernel: install linux-headers-amd64" >&2
	exit 1
fi

# The compiler writes beside what it compiles, so it gets a tree of links of its own.
# -iquote paths of the sources stay as they are, for a link's own folder counts.
mkdir -p "$build"
build=$(cd "$build" && pwd)
for dir in include/gmem include/uapi src/core src/core/policy src/host/linux-kernel src/host/linux-kernel/shim \
	src/drivers/sim src/drivers/sim/kernel tests/kernel/module; do
	mkdir -p "$build/$dir"
	find "$build/$dir" -maxdepth 1 -type l -delete
	for file in "$root/$dir"/*.[ch]; do
		[ -f "$file" ] && ln -s "$file" "$build/$dir/"
	done
done
ln -sf "$root/src/host/linux-kernel/Kbuild" "$build/Kbuild"
exec make -C "$kernel" M="$build" "$@" modules
