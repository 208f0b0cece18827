#!/usr/bin/env bash
# How good is a model on lists of labelled crystals: Gauge MAE and band errors of H0 and of the prediction, means over the crystals with
# 95 % intervals from 2000 bootstrap samples (of crystals).
#   pipelines/evaluate.sh MODEL.nc LIST...        BIN=bin in the environment names the folder of the programs
set -euo pipefail
bin=${BIN:-$(dirname "$0")/../bin}
model=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Two columns, H0 and prediction, one crystal a line -> means, ratio of the means, intervals.
summary() {
    awk -v what="$1" '
        { a[NR] = $1; b[NR] = $2; sa += $1; sb += $2 }
        END {
            if (NR == 0) exit 1
            srand(1)
            for (i = 0; i < 2000; i++) {
                x = y = 0
                for (j = 0; j < NR; j++) { k = 1 + int(rand() * NR); x += a[k]; y += b[k] }
                p[i] = y / NR; q[i] = x / y
            }
            sort(p, 2000); sort(q, 2000)
            printf "  %-34s %9.4f %9.4f  [%.4f, %.4f]   %6.3f  [%.3f, %.3f]\n", what, sa / NR, sb / NR, p[50], p[1949], sa / sb, q[50], q[1949]
        }
        function sort(v, n,   i, j, t, gap) {
            for (gap = int(n / 2); gap > 0; gap = int(gap / 2))
                for (i = gap; i < n; i++) {
                    t = v[i]
                    for (j = i; j >= gap && v[j - gap] > t; j -= gap) v[j] = v[j - gap]
                    v[j] = t
                }
        }'
}

# Column COLUMN of the rows "h0 REGION" and "h_pred REGION" of a table of gaugemae.
pair() {
    awk -v region="$1" -v column="$2" '$2 == region { if ($1 == "h0") a = $column; if ($1 == "h_pred") b = $column } END { print a, b }'
}

for list; do
    folder=$(dirname "$list")
    files=$(sed "s|^|$folder/|" "$list")
    mkdir "$work/out"
    sed "s|^|$(cd "$folder" && pwd)/|" "$list" > "$work/list"
    "$bin/nhinfer" -q -m "$model" --batch "$work/list" --outdir "$work/out"
    : > "$work/l2" && : > "$work/l1" && : > "$work/bands" && : > "$work/ghosts"
    for file in $files; do
        ham=$work/out/$(basename "$file")
        "$bin/gaugemae" -q --mu l2 "$ham" | pair overall 7 >> "$work/l2"
        "$bin/gaugemae" -q --mu l1 "$ham" | pair overall 7 >> "$work/l1"
        for matrix in h_label h0 h_pred; do
            "$bin/geneig" -q --matrix $matrix --mesh 4 4 4 -o "$work/$matrix.nc" "$ham"
        done
        for matrix in h0 h_pred; do
            "$bin/bandplot-data" -q --ref "$work/h_label.nc" "$work/$matrix.nc" > "$work/$matrix.txt"
        done
        error() { sed -n 's/^# band error after the shift: mean \([0-9.]*\) meV.*/\1/p' "$work/$1.txt"; }
        ghosts() { sed -n 's/^# ghost k-points: \([0-9]*\) of.*/\1/p' "$work/$1.txt"; }
        echo "$(error h0) $(error h_pred)" >> "$work/bands"
        echo "$(ghosts h0) $(ghosts h_pred)" >> "$work/ghosts"
    done
    echo "$list: $(wc -l < "$work/l2") crystals"
    printf '  %-34s %9s %9s  %-18s %8s\n' "" H0 predicted "[95 %]" "H0/predicted [95 %]"
    summary "Gauge MAE, least squares mu (meV)" < "$work/l2"
    summary "Gauge MAE, minimal mu (meV)" < "$work/l1"
    summary "bands, to 10 eV above E_F (meV)" < "$work/bands"
    awk '{ a += $1; b += $2 } END { print "  ghost k-points (of 64 a crystal): H0 " a ", predicted " b }' "$work/ghosts"
    for by in distance element; do
        echo "  by $by (least squares mu): H0, predicted, ratio"
        # shellcheck disable=SC2046
        "$bin/gaugemae" -q --mu l2 --by $by $(sed "s|.*/||; s|^|$work/out/|" "$work/list") |
            awk '!/^#/ { if ($1 == "h0") a[$2] = $7; if ($1 == "h_pred" && a[$2] > 0 && $7 > 0) printf "    %-12s %9.4f %9.4f %7.3f\n", $2, a[$2], $7, a[$2] / $7 }'
    done
    rm -r "$work/out"
done
