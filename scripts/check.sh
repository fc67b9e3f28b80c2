#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Everything that must hold before a change is taken: all tests, in every kind of build.
#
#	check.sh [BUILD...]	default: gcc asan tsan clang kernel
#
# The gcc build runs all tests, and checks the invariants as it goes (GM_DEBUG); the clang build is as it
# is shipped, without that, and runs those of the core, the hosts' parts and the fuzzers; plain is the
# same with gcc and all tests, and not among the default. kernel is the kernel host, in QEMU
# (kernel-test.sh). The last line counts the tests of all builds; the exit status is
# not 0 if one failed or a build did.
set -euo pipefail
cd "$(dirname "$0")/.."

begin=$SECONDS
passed=0 failed=0 skipped=0
say()
{
	printf '== %3d:%02d  %s\n' $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60)) "$*"
}

# What a sanitizer finds ends the test.
export ASAN_OPTIONS=${ASAN_OPTIONS-abort_on_error=0:detect_stack_use_after_return=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS-halt_on_error=1:second_deadlock_stack=1}

# count BUILD-DIR: add the results of its last run.
count()
{
	local results
	results=$(python3 - "$1/meson-logs/testlog.json" <<-'PYTHON'
		import json, sys

		good, bad, skip = 0, [], []
		for line in open(sys.argv[1], encoding="utf-8"):
		    test = json.loads(line)
		    if test["result"] in ("OK", "EXPECTEDFAIL"):
		        good += 1
		    elif test["result"] == "SKIP":
		        skip.append(test["name"])
		    else:
		        bad.append(test["name"] + " (" + test["result"] + ")")
		print(good, len(bad), len(skip))
		for name in bad:
		    print("   failed:", name, file=sys.stderr)
		for name in skip:
		    print("   skipped:", name, file=sys.stderr)
	PYTHON
	)
	local good bad skip
	read -r good bad skip <<<"$results"
	say "$2: $good passed, $bad failed, $skip skipped"
	passed=$((passed + good))
	failed=$((failed + bad))
	skipped=$((skipped + skip))
}

# check NAME COMPILER TESTS-ARGUMENTS... -- SETUP-OPTIONS...
check()
{
	local name=$1 cc=$2 dir=build-$1
	shift 2
	local select=()
	while [ "$1" != -- ]; do
		select+=("$1")
		shift
	done
	shift

	say "$name: building"
	rm -rf "$dir/meson-logs"
	if [ -f "$dir/build.ninja" ]; then
		CC=$cc meson setup --reconfigure "$dir" "$@" >"$dir.log" 2>&1 || rm -rf "$dir"
	fi
	if ! { [ -f "$dir/build.ninja" ] || CC=$cc meson setup "$dir" "$@" >"$dir.log" 2>&1; } ||
		! ninja -C "$dir" >>"$dir.log" 2>&1; then
		tail -n 60 "$dir.log"
		say "$name: it does not build"
		failed=$((failed + 1))
		return
	fi
	say "$name: testing"
	local status=0
	meson test -C "$dir" --no-rebuild --print-errorlogs "${select[@]}" </dev/null || status=$?
	if [ -f "$dir/meson-logs/testlog.json" ]; then
		local before=$failed
		count "$dir" "$name"
		# Meson failed, and no test did.
		[ $status -eq 0 ] || [ "$failed" -gt "$before" ] || failed=$((failed + 1))
	else
		say "$name: the tests did not run"
		failed=$((failed + 1))
	fi
}

kernel_possible()
{
	[ "$(uname -m)" = x86_64 ] && command -v dpkg-query >/dev/null
}

# The kernel host: a test of a test machine that did not begin is one that failed.
check_kernel()
{
	if ! kernel_possible; then
		say "kernel: skipped: it takes an x86-64 machine with Debian 12"
		skipped=$((skipped + 1))
		return
	fi
	say "kernel: building, then testing in QEMU"
	local status=0 last good=0 bad=1
	scripts/kernel-test.sh build/kernel-test || status=$?
	last=$(grep -a '^kernel tests: .* passed' build/kernel-test/console.log | tail -n 1) || true
	if [[ $last =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
		good=${BASH_REMATCH[1]} bad=${BASH_REMATCH[2]}
	fi
	[ $status -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	say "kernel: $good passed, $bad failed, 0 skipped"
	passed=$((passed + good))
	failed=$((failed + bad))
}

say "installing what is missing"
builds=("$@")
[ $# -gt 0 ] || builds=(gcc asan tsan clang kernel)
scripts/install-deps.sh check
if [[ " ${builds[*]} " = *" kernel "* ]] && kernel_possible; then
	scripts/install-deps.sh kernel # for the test of DKMS, too
fi
for build in "${builds[@]}"; do
	case $build in
	gcc) check gcc gcc -- -Dgm_debug=true ;;
	plain) check plain gcc -- -Dbuildtype=debugoptimized ;;
	asan)
		check asan gcc --no-suite install --no-suite man -- -Doptimization=1 \
			-Db_sanitize=address,undefined -Db_lundef=false
		;;
	tsan)
		check tsan gcc --no-suite install --no-suite man --no-suite tool --no-suite replay -- -Doptimization=1 \
			-Db_sanitize=thread -Db_lundef=false
		;;
	clang) check clang clang --suite unit --suite fuzz -- -Dbuildtype=debugoptimized ;;
	kernel) check_kernel ;;
	*)
		echo "$0: unknown build '$build': choose from gcc, plain, asan, tsan, clang, kernel" >&2
		exit 2
		;;
	esac
done
say "done"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
