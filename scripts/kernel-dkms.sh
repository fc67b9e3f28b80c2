#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Make the folder that DKMS builds from.
#
#	kernel-dkms.sh [DESTDIR]	make it, DESTDIR/usr/src/gmem-VERSION, and print its name
#	kernel-dkms.sh --install	make it in /usr/src, then have dkms build and install it
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
install=
if [ "${1-}" = --install ]; then
	install=y
	shift
fi
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$root/src/host/linux-kernel/dkms.conf")
to=${1-}/usr/src/gmem-$version

# Of an older one, what is no more must not stay. dkms has a copy of what it has built.
if [ -n "$install" ] && [ -n "$(dkms status -m gmem -v "$version")" ]; then
	dkms remove -m gmem -v "$version" --all
fi
rm -rf "$to"
for dir in include/gmem include/uapi src/core src/core/policy src/host/linux-kernel src/host/linux-kernel/shim \
	src/drivers/sim/kernel; do
	mkdir -p "$to/$dir"
	cp "$root/$dir"/*.[ch] "$to/$dir/"
done
# The rest of the driver is of user space, as these headers are.
rm "$to/include/gmem/libgmem.h" "$to/include/gmem/sim.h"
cp "$root"/src/drivers/sim/sim_mmu.[ch] "$root"/src/drivers/sim/sim_port.h "$to/src/drivers/sim/"
cp "$root/src/host/linux-kernel/Kbuild" "$root/src/host/linux-kernel/dkms.conf" "$to/"
echo "$to"
[ -z "$install" ] || dkms install -m gmem -v "$version"
