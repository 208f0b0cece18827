#!/usr/bin/env bash
# Does the certificate tell the error?  certificate.sh LIST OUT
#   LIST: predictions (h_pred) of labelled crystals, one ham.nc a line, relative to the list's folder.
# OUT/certificate.tsv: for each crystal what nhscf --check says without the label (residual: Gauge MAE, meV; drho; bands: mean first-order
# error, meV) and what the label says (error: Gauge MAE of h_pred, meV). Prints Spearman's rank correlation of each of the three with the
# error; OUT/certificate.svg is the picture, where gnuplot is. OUT/failed.tsv: crystals that have no certificate, and why.
# In the environment: NEXTHAM_PSEUDO, NEXTHAM_ORBITAL; NHSCF_OPTIONS ("--mesh 4 4 4": that of the labels is best); BIN, JOBS, THREADS.
set -euo pipefail
export LC_ALL=C.UTF-8
bin=${BIN:-$(dirname "$0")/../bin}
list=$1 out=$2
[ -f "$list" ] || { echo "certificate.sh: $list: no such file" >&2; exit 1; }
# The picture's name stands in gnuplot's strings.
case $out in *["'\\\"\`"]* | *$'\n'*) echo "certificate.sh: $out: a folder without quotes and backslashes expected" >&2; exit 2 ;; esac
mkdir -p "$out/each"
export bin out
one() {
    local file=$1 name
    name=$(basename "$file" .nc)
    rm -f "$out/each/$name".*
    # shellcheck disable=SC2086
    if "$bin/nhscf" -q -j "${THREADS:-1}" --check --json ${NHSCF_OPTIONS:-} "$file" > "$out/each/$name.json" 2> "$out/each/$name.log" &&
        "$bin/gaugemae" -q --mu l2 "$file" > "$out/each/$name.mae" 2> "$out/each/$name.log"; then
        awk -v OFS='\t' -v name="$name" '
            function said(key,   at) { match($0, "\"" key "\": [^,}]*"); at = substr($0, RSTART, RLENGTH); sub(/.*: /, "", at); return at }
            FNR == NR { residual = said("gauge_mae_meV"); drho = said("drho"); bands = said("mean_band_error_meV"); next }
            $1 == "h_pred" && $2 == "overall" { print name, residual, drho, bands, $7 }' \
            "$out/each/$name.json" "$out/each/$name.mae" > "$out/each/$name.row"
    fi
    [ -s "$out/each/$name.row" ] || [ -s "$out/each/$name.log" ] || echo "no h_pred, or no label" > "$out/each/$name.log"
}
export -f one
folder=$(dirname "$list")
grep -v '^ *\(#\|$\)' "$list" | while read -r file _; do
    case $file in /*) ;; *) file=$folder/$file ;; esac
    printf '%s\0' "$file"
done > "$out/files"
xargs -0 -n 1 -P "${JOBS:-$(nproc)}" bash -c 'one "$@"' - < "$out/files"
: > "$out/failed.tsv"
printf '#crystal\tresidual\tdrho\tbands\terror\n' > "$out/certificate.tsv"
while IFS= read -r -d '' file; do
    name=$(basename "$file" .nc)
    if [ -s "$out/each/$name.row" ]; then
        cat "$out/each/$name.row" >> "$out/certificate.tsv"
    else
        printf '%s\t%s\n' "$name" "$(tail -1 "$out/each/$name.log")" >> "$out/failed.tsv"
    fi
done < "$out/files"
awk -F '\t' '
    /^#/ { next }
    { n++; for (c = 2; c <= 5; c++) x[c, n] = $c + 0 }
    function ranks(c,   i, j, below, same) { # equal values share the mean of their ranks
        for (i = 1; i <= n; i++) {
            below = same = 0
            for (j = 1; j <= n; j++) { below += x[c, j] < x[c, i]; same += x[c, j] == x[c, i] }
            r[c, i] = below + (same + 1) / 2
        }
    }
    function correlation(c,   i, a, b, aa, bb, ab) {
        for (i = 1; i <= n; i++) { a += r[c, i]; b += r[5, i]; aa += r[c, i] ^ 2; bb += r[5, i] ^ 2; ab += r[c, i] * r[5, i] }
        aa -= a * a / n; bb -= b * b / n; ab -= a * b / n
        return aa > 0 && bb > 0 ? sprintf("%.3f", ab / sqrt(aa * bb)) : "not defined"
    }
    END {
        for (c = 2; c <= 5; c++) ranks(c)
        print n + 0 " crystals; rank correlation with the true error (Spearman): residual " correlation(2) ", drho " correlation(3) ", bands " correlation(4)
        exit n == 0
    }' "$out/certificate.tsv"
if command -v gnuplot > /dev/null; then
    gnuplot << END
set terminal svg size 560,460 dynamic font 'sans,12' background rgb 'white'
set output '$out/certificate.svg'
set logscale xy; set grid; set key right bottom
set xlabel 'residual without a label: Gauge MAE of H[n[H]] - H, meV'; set ylabel 'error: Gauge MAE against the label, meV'
plot x with lines dt (4,4) lc rgb '#808080' title 'residual = error', \\
     '$out/certificate.tsv' using 2:5 with points pt 7 ps .7 lc rgb '#2c5f9e' title 'crystals'
END
fi
