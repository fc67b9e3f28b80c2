# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# A thin front to Meson. What each target needs is installed from Debian when it is
# missing (scripts/install-deps.sh).

BUILD ?= build
prefix ?= /usr/local
DESTDIR ?=

SOURCES = $(shell find bench examples include src tests tools -name '*.[ch]')

.PHONY: all demo check check-user check-kernel check-kernel-debug dkms bench deb format check-format pre-push \
	install uninstall clean

all:
	@scripts/install-deps.sh build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --prefix=$(abspath $(prefix))
	@ninja -C $(BUILD)

demo:
	@scripts/install-deps.sh build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --prefix=$(abspath $(prefix))
	@ninja -C $(BUILD) tools/gmem/gmem
	@$(BUILD)/tools/gmem/gmem demo --picture $(BUILD)/demo.svg

check:
	@scripts/check.sh

# What needs no QEMU.
check-user:
	@scripts/check.sh gcc asan tsan clang

# The kernel host on Debian's kernel, in QEMU by emulation.
check-kernel:
	@scripts/check.sh kernel

# The same on a kernel with KASAN, lockdep, kmemleak and UBSAN, which is built first.
check-kernel-debug:
	@scripts/install-deps.sh kernel-debug
	@scripts/kernel-own.sh debug build/kernel-debug

# Have DKMS build and install gmem.ko and gmem_sim.ko for this kernel, and those to come.
dkms:
	@command -v dkms >/dev/null || \
		{ echo "gmem: dkms is not here: as root, apt install dkms linux-headers-amd64" >&2; exit 1; }
	@scripts/kernel-dkms.sh --install

bench: all
	@$(BUILD)/tools/gmem/gmem bench

format:
	@scripts/install-deps.sh format
	@clang-format -i $(SOURCES)

check-format:
	@scripts/install-deps.sh format
	@clang-format --dry-run -Werror $(SOURCES)

pre-push: check-format check

install: all
	@meson configure $(BUILD) --prefix=$(abspath $(prefix))
	@DESTDIR='$(DESTDIR)' meson install -C $(BUILD)
	@test -n '$(DESTDIR)' || ldconfig || echo "gmem: run 'ldconfig' as root" >&2

# What the last make install from this build folder has put there.
uninstall:
	@ninja -C $(BUILD) uninstall
	@test -n '$(DESTDIR)' || ldconfig || echo "gmem: run 'ldconfig' as root" >&2

# Packages for Debian 12: libgmem0, libgmem-dev, gmem-tools, gmem-dkms.
deb:
	@scripts/install-deps.sh deb
	@scripts/deb.sh build/deb

clean:
	@rm -rf build build-*
