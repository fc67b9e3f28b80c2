#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Test the kernel host: build the modules, boot the stock kernel with them in QEMU, by
# emulation, and run tests/kernel there; and with them programs of user space, the
# conformance suite among them.
#
#	kernel-test.sh BUILD-DIR [TEST]		only tests whose name begins with TEST
#
# The kernel is unpacked into BUILD-DIR, never installed. For another one set
#	KERNEL_DIR	its build tree or headers
#	KERNEL_IMAGE	its bzImage
#	KERNEL_MODULES	where its modules are, or empty: it has a virtio disk built in
#	KERNEL_EXTRA	files of further modules
#	GM_DEBUG	y: with the core's own checks, and tests that need a debug build
# QEMU_ARGS are added to QEMU's; MEMORY (MiB), SMP and TIMEOUT (s) say what the machine is
# like. The exit status is 0 if every test passed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?"usage: $0 BUILD-DIR [TEST]"}
only=${2-}
mkdir -p "$build"
build=$(cd "$build" && pwd)

# Headers and image of one version.
if [ -z "${KERNEL_DIR-}" ]; then
	KERNEL_DIR=$(printf '%s\n' /usr/src/linux-headers-*-amd64 | sort -V | tail -n 1)
fi
if [ -z "${KERNEL_IMAGE-}" ]; then
	release=${KERNEL_DIR##*/linux-headers-}
	KERNEL_IMAGE=$build/image/boot/vmlinuz-$release
	KERNEL_MODULES=$build/image/lib/modules/$release
	if [ ! -f "$KERNEL_IMAGE" ]; then
		version=$(dpkg-query -W -f '${Version}' "linux-headers-$release")
		mkdir -p "$build/package"
		(cd "$build/package" && apt-get download -q "linux-image-$release=$version")
		dpkg -x "$build"/package/linux-image-"$release"_*.deb "$build/image"
	fi
fi

"$root/scripts/kernel-build.sh" "$build/modules" "$KERNEL_DIR" -s GM_KT=m

# The example of a driver, as somebody would build it who has but built gmem.
rm -rf "$build/adder"
cp -r "$root/examples/kernel-driver" "$build/adder"
make -s -C "$build/adder" KERNEL="$KERNEL_DIR" GMEM="$root" GMEM_BUILD="$build/modules"

# The file system: an init that is all there is, and modules.
fs=$build/initramfs
rm -rf "$fs"
mkdir -p "$fs/lib"
${CC:-gcc} -std=gnu11 -O2 -g -Wall -Wextra -Wno-missing-field-initializers -Werror \
	-static -pthread -I"$root/include" \
	-o "$fs/init" "$root"/tests/kernel/*.c
cp "$build/modules/gmem.ko" "$build/modules/gmem_sim.ko" "$build/adder/adder.ko" "$fs/lib/"
cp "$build"/modules/tests/kernel/module/gmem_{kt,fail}.ko "$fs/lib/"

# Programs of user space, with the libraries they need; a stripped copy of each.
if [ ! -f "$build/user/build.ninja" ]; then
	meson setup "$build/user" "$root" >"$build/user.log" 2>&1 || {
		cat "$build/user.log" >&2
		exit 1
	}
fi
programs=(tests/conformance/conformance tests/model/model_lib tests/compat/test_libgmem
	examples/{hello,hints,oversubscribe,six,use-adder} tools/gmem/gmem)
ninja -C "$build/user" "${programs[@]}" >"$build/user.log" 2>&1 || {
	cat "$build/user.log" >&2
	exit 1
}
mkdir -p "$fs/prog"
for program in "${programs[@]}"; do
	strip -o "$fs/prog/${program##*/}" "$build/user/$program"
	ldd "$build/user/$program" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p'
done | sort -u | while read -r library; do
	strip -o "$fs/prog/${library##*/}" "$library"
done
loader=$(readelf -l "$build/user/${programs[0]}" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
mkdir -p "$fs${loader%/*}"
cp -L "$loader" "$fs$loader"
if [ -n "${KERNEL_MODULES-}" ]; then
	for module in virtio/virtio virtio/virtio_ring virtio/virtio_pci_modern_dev \
		virtio/virtio_pci_legacy_dev virtio/virtio_pci block/virtio_blk; do
		cp "$KERNEL_MODULES/kernel/drivers/$module.ko" "$fs/lib/"
	done
fi
for module in ${KERNEL_EXTRA-}; do
	cp "$module" "$fs/lib/"
done
(cd "$fs" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$build/initramfs.gz"
truncate -s 0 "$build/disk" # for swap
truncate -s "$((${MEMORY:-512} + 64))M" "$build/disk"

aperture="32M\$0xa000000" # RAM that the kernel leaves alone, for apertures: tests/kernel/aperture.c
# The emulated time stamp counters agree; the timer that the kernel would read instead takes a
# lock of QEMU's each time, and a loaded machine may then do nothing but read it.
clock="tsc=reliable"
log=$build/console.log
status=0
timeout --foreground "${TIMEOUT:-1200}" qemu-system-x86_64 -accel tcg -cpu max -machine q35 \
	-smp "${SMP:-2}" -m "${MEMORY:-512}" -display none -no-reboot -nodefaults \
	-kernel "$KERNEL_IMAGE" -initrd "$build/initramfs.gz" \
	-append "console=ttyS0 quiet panic=-1 oops=panic mitigations=off $clock memmap=$aperture ${only:+kt=$only} ${KERNEL_ARGS-}" \
	-drive "file=$build/disk,if=none,id=disk,format=raw" -device virtio-blk-pci,drive=disk \
	${QEMU_ARGS-} -serial stdio </dev/null | tee "$log" || status=$?

last=$(grep -a '^kernel tests: .* passed' "$log" | tail -n 1 | tr -d '\r')
[ "$status" -eq 0 ] || echo "kernel-test: the machine ended with $status" >&2
case "$last" in
"kernel tests: 0 passed"*) ;;
*" 0 failed") [ "$status" -eq 0 ] && exit 0 ;;
esac
echo "kernel-test: failed" >&2
exit 1
