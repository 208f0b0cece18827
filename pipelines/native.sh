#!/usr/bin/env bash
# A structure's graph.nc without a DFT code:  native.sh STRUCTURE GRAPH.nc
#   H0 and S by h0build; with LABELS=1 also h_label, by nhscf. A loop that does not converge is a failure.
# In the environment: NEXTHAM_PSEUDO and NEXTHAM_ORBITAL, folders of pseudopotentials and orbitals; H0BUILD_OPTIONS ("--ecut 80"),
# NHSCF_OPTIONS ("--mesh 6 6 6"); BIN, folder of the programs; THREADS.
# GRAPH.times has the seconds of each program.
set -euo pipefail
export LC_ALL=C.UTF-8
bin=${BIN:-$(dirname "$0")/../bin}
structure=$1 graph=$2
times=${graph%.nc}.times
[ -e "$structure" ] || { echo "native.sh: $structure: no such file" >&2; exit 1; }
mkdir -p "$(dirname "$graph")"
trap 'rm -f "$graph.h0" "$graph.new"' EXIT
begin=$EPOCHREALTIME
# shellcheck disable=SC2086
"$bin/h0build" -q ${THREADS:+-j "$THREADS"} ${H0BUILD_OPTIONS:-} -o "$graph.h0" "$structure"
printf 'h0build\t%s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $begin }")" > "$times.tmp"
if [ -n "${LABELS:-}" ]; then
    begin=$EPOCHREALTIME
    # shellcheck disable=SC2086
    "$bin/nhscf" -q ${THREADS:+-j "$THREADS"} ${NHSCF_OPTIONS:-} -o "$graph.new" "$graph.h0"
    printf 'nhscf\t%s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $begin }")" >> "$times.tmp"
else
    mv "$graph.h0" "$graph.new"
fi
mv "$graph.new" "$graph"
mv "$times.tmp" "$times"
