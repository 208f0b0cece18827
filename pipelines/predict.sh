#!/usr/bin/env bash
# Predicts a list of crystals in one process:  predict.sh MODEL LIST OUT
#   LIST: one graph.nc a line and, after a tab, its name in OUT where it is not its own.
# OUT/predict.times has the seconds of each stage and crystal; OUT/failed one line "NAME<tab>why" for each crystal that has no prediction.
# Exit status 1 only where none has one. In the environment: BIN, folder of the programs; THREADS.
set -euo pipefail
export LC_ALL=C.UTF-8
bin=${BIN:-$(dirname "$0")/../bin}
model=$1 list=$2 out=$3
mkdir -p "$out"
while IFS=$'\t' read -r input name; do rm -f "$out/${name:-$(basename "$input")}"; done < "$list"
rm -f "$out/failed"
status=0
"$bin/nhinfer" -q ${THREADS:+-j "$THREADS"} -m "$model" --timing --batch "$list" --outdir "$out" 2> "$out/log" || status=$?
# The tables of --timing. The model is loaded once, every table has it.
awk -F '  +' '
    / edges, .* precision, / { crystal = 1; next }
    /^of forward, / { crystal = 0 }
    crystal && $2 ~ /^[0-9.]+$/ {
        stage = $1 ~ /^(pack weights|forward|Hermitian)/ ? "network" : $1 == "write" ? "write h_pred" : $1 == "load crystal" ? "read graph" : $1
        if (stage == "all") { print "network\t" network; network = 0 }
        else if (stage == "network") network += $2
        else if (stage != "load model" || !loaded++) print stage "\t" $2
    }' "$out/log" > "$out/predict.times"
failed=0 n=0
: > "$out/failed.tmp"
while IFS=$'\t' read -r input name; do
    [ -n "$input" ] || continue
    n=$((n + 1)) name=${name:-$(basename "$input")}
    [ -e "$out/$name" ] && continue
    failed=$((failed + 1))
    printf '%s\t%s\n' "${name%.nc}" "$(grep -F "$(basename "$input")" "$out/log" | grep '^nhinfer: ' | head -1 || true)" >> "$out/failed.tmp"
done < <(grep -v '^#' "$list")
if [ "$failed" -eq 0 ]; then rm "$out/failed.tmp"; else mv "$out/failed.tmp" "$out/failed"; fi
if [ "$status" -ne 0 ] && [ "$failed" -eq "$n" ]; then
    tail -1 "$out/log" >&2
    exit 1
fi
