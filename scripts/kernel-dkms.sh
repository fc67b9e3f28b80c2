#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Make the folder that DKMS builds from: kernel-dkms.sh [DESTDIR]
# Then: dkms install gmem/0.1.0
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$root/src/host/linux-kernel/dkms.conf")
to=${1-}/usr/src/gmem-$version
for dir in include/gmem include/uapi src/core src/host/linux-kernel src/host/linux-kernel/shim \
	src/drivers/sim src/drivers/sim/kernel; do
	mkdir -p "$to/$dir"
	cp "$root/$dir"/*.[ch] "$to/$dir/"
done
cp "$root/src/host/linux-kernel/Kbuild" "$root/src/host/linux-kernel/dkms.conf" "$to/"
echo "$to"
