#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Test the kernel host on a kernel of our own, built once from Debian's linux-source-6.1.
#
#	kernel-own.sh debug BUILD-DIR [TEST]	with KASAN, lockdep, kmemleak, UBSAN: all tests
#	kernel-own.sh plain BUILD-DIR		with HMM's test device: what faults cost
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kind=${1:?"usage: $0 debug|plain BUILD-DIR [TEST]"}
build=${2:?"usage: $0 debug|plain BUILD-DIR [TEST]"}
mkdir -p "$build"
build=$(cd "$build" && pwd)
kernel=$build/linux

# The plain kernel is the other without its aids.
config=$build/config
cat "$root/tests/kernel/own.config" >"$config"
[ "$kind" = plain ] || cat "$root/tests/kernel/debug.config" >>"$config"
if ! cmp -s "$config" "$kernel/.built"; then
	if [ ! -f "$kernel/Makefile" ]; then
		archive=/usr/src/linux-source-6.1.tar.xz
		if [ ! -f "$archive" ]; then
			echo "$0: install linux-source-6.1 flex bison libelf-dev libssl-dev bc" >&2
			exit 1
		fi
		mkdir -p "$kernel"
		tar -C "$kernel" --strip-components=1 -xf "$archive"
	fi
	make -C "$kernel" -s allnoconfig
	(cd "$kernel" && scripts/kconfig/merge_config.sh -m .config "$config" >/dev/null)
	make -C "$kernel" -s olddefconfig
	make -C "$kernel" -s -j"$(nproc)" bzImage modules
	cp "$config" "$kernel/.built"
fi

export KERNEL_DIR=$kernel KERNEL_IMAGE=$kernel/arch/x86/boot/bzImage KERNEL_MODULES=
case $kind in
debug)
	# vm_debug=-: with struct pages poisoned on removal 6.1 stumbles over its own poison in
	# clear_hwpoisoned_pages(), once any memory has failed.
	MEMORY=${MEMORY:-640} TIMEOUT=${TIMEOUT:-3600} KERNEL_ARGS="kmemleak=on vm_debug=- kt_slow=8" GM_DEBUG=y \
		"$root/scripts/kernel-test.sh" "$build/test" "${3-}"
	;;
plain)
	SMP=1 QEMU_ARGS="-icount shift=0" KERNEL_ARGS="clocksource=hpet" KERNEL_EXTRA=$kernel/lib/test_hmm.ko \
		"$root/scripts/kernel-test.sh" "$build/test" figures
	;;
*)
	echo "$0: '$kind' is neither debug nor plain" >&2
	exit 2
	;;
esac
