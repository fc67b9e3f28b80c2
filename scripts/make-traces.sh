#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Record the traces of traces/ anew, each by a run of a workload on one lane of the simulated
# accelerator, whose memory has room for all of the data; and write what they are into its
# README.md.
#
#	make-traces.sh [BUILD-DIR [TRACE-DIR]]	default: build traces
#
# All but pagerank, which ranks the packages of this system, give the same accesses anywhere.
set -euo pipefail
cd "$(dirname "$0")/.."
gmem=${1:-build}/tools/gmem/gmem
traces=${2:-traces}
[ -x "$gmem" ] || { echo "make-traces: $gmem is not there: 'make' builds it" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GMEM_HOST=user

# record TRACE WORKLOAD [OPTION...]
record()
{
	local name=$1
	shift
	echo "make-traces: $name: gmem record $*"
	"$gmem" record "$@" -q --json -o "$traces/$name.gmt" >"$work/$name.json"
	echo "$*" >"$work/$name.options"
}

record stream stream --size 48M --iterations 10
record random gups --size 16M --iterations 256
record pagerank pagerank --iterations 3
record gemm gemm --size 24M
record join join --size 24M
record chase chase --size 16M --iterations 5
record sort sort --size 64M
record kv kv --size 16M --iterations 150

python3 - "$work" "$traces" <<'PYTHON'
import hashlib, json, re, sys

work, traces = sys.argv[1:]
rows = ["| trace | `gmem record` | data, pages | touched, pages | accesses | bytes | SHA-256 |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
for name in "stream random pagerank gemm join chase sort kv".split():
    run = json.load(open(f"{work}/{name}.json"))
    trace = run["trace"]
    digest = hashlib.sha256(open(f"{traces}/{name}.gmt", "rb").read()).hexdigest()
    rows.append(f"| {name} | `{open(f'{work}/{name}.options').read().strip()}` "
                f"| {-(-run['data_bytes'] // 4096):,} | {trace['pages']:,} | {trace['accesses']:,} "
                f"| {trace['bytes']:,} | `{digest[:16]}` |")
path = f"{traces}/README.md"
try:
    text = open(path).read()
except FileNotFoundError:
    sys.exit(print("\n".join(rows)))
begin, end = "<!-- make-traces -->\n", "<!-- end -->\n"
text = re.sub(begin + ".*" + end, lambda m: begin + "\n".join(rows) + "\n" + end, text, flags=re.S)
open(path, "w").write(text)
PYTHON
