#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Install the Debian packages that are missing: install-deps.sh build|check|deb|format|kernel|kernel-debug
# Without root it uses sudo; without either it says what to install.
set -eu

case "${1-}" in
build) want="gcc libc6-dev meson ninja-build pkg-config libarchive-dev libhwloc-dev libjansson-dev libjemalloc-dev libncurses-dev \
libzstd-dev libcmocka-dev systemtap-sdt-dev" ;;
check) want="gcc g++ libc6-dev meson ninja-build pkg-config libarchive-dev libhwloc-dev libjansson-dev libjemalloc-dev libncurses-dev \
libzstd-dev hwloc-nox jq clang libclang-rt-dev libcmocka-dev mandoc python3 binutils lz4 zstd \
build-essential debhelper dh-dkms dkms dpkg-dev lintian make redis-tools sqlite3 systemtap-sdt-dev xz-utils" ;;
deb) want="gcc libc6-dev meson ninja-build pkg-config libarchive-dev libhwloc-dev libjansson-dev libjemalloc-dev libncurses-dev \
libzstd-dev build-essential debhelper dh-dkms dpkg-dev systemtap-sdt-dev" ;;
format) want="clang-format" ;;
kernel) want="gcc libc6-dev make linux-headers-amd64 qemu-system-x86 cpio meson ninja-build \
pkg-config libarchive-dev libhwloc-dev libjansson-dev libjemalloc-dev libncurses-dev libzstd-dev libcmocka-dev binutils" ;;
kernel-debug) want="gcc libc6-dev make linux-headers-amd64 qemu-system-x86 cpio meson ninja-build \
pkg-config libarchive-dev libhwloc-dev libjansson-dev libjemalloc-dev libncurses-dev libzstd-dev libcmocka-dev binutils linux-source-6.1 flex bison bc \
libelf-dev libssl-dev xz-utils" ;;
*)
	echo "usage: $0 build|check|deb|format|kernel|kernel-debug" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "gmem: not a Debian system; these packages, or their like, are needed: $want" >&2
	exit 0
fi

missing=
for package in $want; do
	case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" in
	installed) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null; then
	sudo=sudo
else
	echo "gmem: packages are missing; as root, run: apt-get install$missing" >&2
	exit 1
fi

echo "gmem: installing$missing"
$sudo apt-get update -q
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing \
	</dev/null
