#!/usr/bin/env bash
# What a user has, as graph.nc:  graph.sh INPUT GRAPH.nc
#   INPUT: an ABACUS folder (a run, or one with the runs h0/ and scf/); a graph.nc, or graph.nc.xz; or a structure file, of which
#   native.sh makes H0 (and the label, with LABELS=1), or, with ENGINE=abacus, abacus.sh, which runs ABACUS in GRAPH.abacus/.
# GRAPH.times has the seconds of each stage. BIN=bin in the environment names the folder of the programs.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(dirname "$0") bin=${BIN:-$(dirname "$0")/../bin}
input=$1 graph=$2 run=
times=${graph%.nc}.times
mkdir -p "$(dirname "$graph")"
begin=$EPOCHREALTIME
case $input in
*.nc) ln -sfn "$(realpath -e "$input")" "$graph" ;;
*.nc.xz) xzcat "$input" > "$graph.tmp" && mv "$graph.tmp" "$graph" ;;
*)
    case ${ENGINE:-native} in
    native | abacus) ;;
    *) echo "graph.sh: ENGINE: \"$ENGINE\", native or abacus expected" >&2; exit 1 ;;
    esac
    if [ ! -d "$input" ] && [ "${ENGINE:-native}" = native ]; then
        exec "$here/native.sh" "$input" "$graph"
    fi
    run=$input
    if [ ! -d "$input" ]; then
        run=${graph%.nc}.abacus
        "$here/abacus.sh" "$input" "$run"
        begin=$EPOCHREALTIME
    fi
    "$bin/mkgraph" --abacus "$run" -o "$graph"
    ;;
esac
{
    printf 'graph\t%s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $begin }")"
    # what ABACUS says of itself
    for log in "$run"/{h0,scf}/OUT.*/running_scf.log*; do
        [ -n "$run" ] && [ -e "$log" ] || continue
        case $log in *.xz) xzcat "$log" ;; *.gz) zcat "$log" ;; *) cat "$log" ;; esac |
            awk -v stage="ABACUS $(basename "${log%/OUT.*}")" '/^ *Total +Time *:/ { print stage "\t" 3600 * $4 + 60 * $6 + $8; exit }'
    done
} > "$times.tmp"
mv "$times.tmp" "$times"
