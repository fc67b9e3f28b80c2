#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Build the Debian packages: deb.sh DIR [dpkg-buildpackage's options]
#
# DIR is emptied first. The packages come to be in it, out of a copy of the sources: a build folder
# or a debian/ with what a build leaves there is nobody's in the tree. The version is
# meson.build's, so debian/changelog is written here; its date is that of the last change, so that
# the same sources make the same packages.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || {
	echo "usage: $0 DIR [option of dpkg-buildpackage...]" >&2
	exit 2
}
dir=$1
shift
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$root/meson.build")
when=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null ||
	stat -c %Y "$root/meson.build")}

rm -rf "$dir"
src=$dir/gmem-$version
mkdir -p "$src"
for name in LICENSE LICENSES README.md bench debian docs examples include man meson.build \
	meson_options.txt scripts src tools; do
	cp -a "$root/$name" "$src/"
done
mkdir "$src/tests"
cp -a "$root/tests/common" "$src/tests/" # bench has a device of it
cat >"$src/debian/changelog" <<-EOF
	gmem ($version) unstable; urgency=medium

	  * Version $version; what changed is in the history of the sources.

	 -- $(sed -n 's/^Maintainer: //p' "$root/debian/control")  $(LC_ALL=C date -R -u -d "@$when")
EOF

cd "$src"
if ! dpkg-buildpackage -b -us -uc "$@" >"../build.log" 2>&1; then
	tail -n 40 ../build.log >&2
	echo "gmem: the packages do not build; all of it is in $dir/build.log" >&2
	exit 1
fi
cd ..
rm -rf "gmem-$version"
ls "$PWD"/*.deb
