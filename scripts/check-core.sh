#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# The core is freestanding: it compiles without a C library's headers, includes nothing
# but itself and include/gmem, and asks its host for nothing but what os.h lists.
#
#	check-core.sh [SOURCE-DIR]
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
complain()
{
	echo "check-core: $*" >&2
	failed=1
}

core=(src/core/*.c src/core/policy/*.c)

# What it includes: <gmem/...>, "core/...", and the four headers a compiler brings.
while IFS=: read -r file line text; do
	name=$(sed -E 's/.*[<"]([^>"]*)[>"].*/\1/' <<<"$text")
	case "$text" in
	*'<'*)
		case "$name" in
		gmem/gmem.h | gmem/driver.h | gmem/policy.h) ;;
		stdbool.h | stddef.h | stdint.h | stdarg.h) ;;
		*) complain "$file:$line: includes <$name>: core includes only core and include/gmem" ;;
		esac
		;;
	*)
		case "$name" in
		core/*) ;;
		*) complain "$file:$line: includes \"$name\": core includes only core and include/gmem" ;;
		esac
		;;
	esac
done < <(grep -nE '^[[:space:]]*#[[:space:]]*include' src/core/*.[ch] src/core/policy/*.[ch])

# What os.h lets it call; comments are no declarations.
sed 's@/\*.*\*/@@; /\/\*/,/\*\//d' src/core/os.h | grep -oE '\bgm_os_[a-z0-9_]+[(]' |
	tr -d '(' | sort -u >"$work/allowed"
printf '%s\n' memcpy memset memmove memcmp >>"$work/allowed"
sort -u -o "$work/allowed" "$work/allowed"

compilers=0
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	compilers=$((compilers + 1))
	own=$($cc -print-file-name=include)
	# Without GM_DEBUG and with it: the checkers are core too.
	for debug in "" -DGM_DEBUG=1; do
		objects=()
		for c in "${core[@]}"; do
			o="$work/$(basename "$c" .c).o"
			if ! $cc -std=gnu11 -O2 -ffreestanding -nostdinc -isystem "$own" -Isrc \
				-Iinclude -Wall -Wextra -Werror -fno-strict-aliasing \
				-fno-stack-protector -U_FORTIFY_SOURCE $debug -c "$c" -o "$o"; then
				complain "$c does not compile freestanding with $cc $debug"
				continue
			fi
			objects+=("$o")
		done
		ld -r -o "$work/linked" "${objects[@]}"
		nm -u "$work/linked" | awk '{print $2}' | grep -vx _GLOBAL_OFFSET_TABLE_ |
			sort -u >"$work/undefined" || true
		while read -r symbol; do
			complain "$cc $debug: core needs $symbol, which src/core/os.h does not list"
		done < <(comm -23 "$work/undefined" "$work/allowed")
		echo "check-core: $cc ${debug:-(release)}: ${#objects[@]} files," \
			"$(wc -l <"$work/undefined") symbols asked of the host"
	done
done
[ $compilers -gt 0 ] || complain "neither gcc nor clang is here"
exit $failed
