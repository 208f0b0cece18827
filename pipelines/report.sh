#!/usr/bin/env bash
# The paper's evaluation of predictions, in one page:
#
#   report.sh -o DIR [options] LIST...
#
#   LIST      one labelled file a line, relative to the list's folder: graph.nc with -m, ham.nc without. Every list is a part of the page.
#   -m MODEL  predict them first, with this model
#   -r RUN    a run folder of nhtrain: its learning curves; repeatable
#   -t DIR    a folder with *.times of other stages, as graph.sh, predict.sh and bands.sh leave them; repeatable
#   -x FILE   something more to show, a table (.tsv) or a picture (.svg); repeatable
#   -f FILE   a table of crystals that failed before: name and reason; repeatable
#   -n TEXT   title of the page
#
# Prints the summaries. DIR/report.html is one file without references to others; every table is also there as DIR/LIST/*.tsv: summary (means
# with 95 % intervals from 2000 bootstrap samples of the crystals), spins (the paper's Table 1), elements (Fig. 3), distances, each and each-l2
# (spins of every crystal, by both rules for mu), crystals and kpoints (band errors and ghosts, Fig. 9 and 10; the bound of Appendix F), path (the
# same along the standard path), worse (crystals whose prediction is worse than their H0, or has ghost states); and
# DIR/times.tsv (Table 3), DIR/failed.tsv. Bands are compared on a mesh, MESH="4 4 4" in the environment, centred at Gamma: ghost states live
# where S is nearly singular, and that is at points of high symmetry; and at POINTS [100] of the standard path. BIN=bin names the folder of the
# programs, THREADS=2 their threads.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/../bin}
out='' model='' title='NextHAM: evaluation' runs=() folders=() extra=() failures=()
while getopts o:m:r:t:x:f:n: option; do
    case $option in
    o) out=$OPTARG ;;
    m) model=$OPTARG ;;
    r) runs+=("$OPTARG") ;;
    t) folders+=("$OPTARG") ;;
    x) extra+=("$OPTARG") ;;
    f) failures+=("$OPTARG") ;;
    n) title=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ -n "$out" ] && [ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2; }
read -ra mesh <<< "${MESH:-4 4 4}"
mkdir -p "$out"
out=$(cd "$out" && pwd)
# Names of pictures stand in gnuplot's strings.
case $out in *["'\\\"\`"]* | *$'\n'*) echo "report.sh: -o $out: a folder without quotes and backslashes in its path expected" >&2; exit 2 ;; esac
page=$out/report.html.tmp
failed=$out/failed.tsv
: > "$failed"
for f in "${failures[@]}"; do cat "$f" >> "$failed"; done

# --- pieces of the page ---

escape() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' <<< "$1"; }
heading() { echo "<h$1>$(escape "$2")</h$1>" >> "$page"; }
text() { echo "<p>$(escape "$1")</p>" >> "$page"; }

# table TSV [ROWS]: the first row is the header; at most ROWS of a long one.
table() {
    awk -F '\t' -v most="${2:-100}" '
        { gsub(/&/, "\\&amp;"); gsub(/</, "\\&lt;"); gsub(/>/, "\\&gt;"); cell = NR == 1 ? "th" : "td" }
        NR == 1 { sub(/^#/, ""); gsub(/_/, " "); print "<table>" }
        NR <= most + 1 {
            printf "<tr>"
            for (i = 1; i <= NF; i++) printf "<%s%s>%s</%s>", cell, (i > 1 && $i ~ /^[-+0-9.einfa]+$/ ? " class=n" : ""), $i, cell
            print "</tr>"
        }
        END { print "</table>"; if (NR > most + 1) print "<p>... " NR - 1 " rows in all</p>" }' "$1" >> "$page"
}

picture() {
    printf '<p><img alt="%s" src="data:image/svg+xml;base64,%s"></p>\n' "$(escape "$(basename "$1" .svg)" | sed 's/"/\&quot;/g')" "$(base64 -w0 "$1")" >> "$page"
}

# The text table of gaugemae as TSV.
tabs() { awk -v OFS='\t' '/^# / { next } { sub(/^#/, ""); $1 = $1; print }'; }

# svg FILE HEIGHT: the head of a gnuplot script.
svg() { echo "set terminal svg size 900,$2 dynamic font 'sans,13' background rgb 'white'; set output '$1'; set datafile separator tab; set grid"; }

# data MATRIX KEY A B TSV: columns A and B of the rows with MATRIX in column KEY, as $MATRIX of the script.
data() {
    echo "\$$1 << EOD"
    awk -F '\t' -v m="$1" -v key="$2" -v a="$3" -v b="$4" '$key == m && $a != "nan" && $b != "nan" { print $a "\t" $b }' "$5"
    echo EOD
}

draw() { gnuplot 2> >(grep -v '^$\|Warning: empty' >&2); }

# curves METRICS.tsv SVG: the training curves of a run, from its numbers alone (a run's own script is not run).
curves() {
    [ -r "$1" ] || return 1
    awk -F '\t' -v OFS='\t' '
        function number(x) { return x ~ /^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$/ ? x : "nan" }
        NR == 1 { sub(/^#/, ""); for (i = 1; i <= NF; i++) at[$i] = i; if (!("epoch" in at)) exit 1; next }
        { print number($at["epoch"]), number($(at["loss_h"])), number($(at["val_h0_meV"])), number($(at["val_meV"])), number($(at["lr"])) }' "$1" > "$out/curves.data" || return 1
    { svg "$2" 800
      echo "set logscale y; set key outside right; set multiplot layout 3,1"
      for plot in "2 loss" "4 validation Gauge MAE (meV)" "5 learning rate"; do
          echo "set ylabel '${plot#* }'"
          [ "${plot%% *}" = 5 ] && echo "set xlabel 'epoch'"
          printf "plot '%s' using 1:%d with lines lw 2 lc rgb '#2c5f9e' title '%s'" "$out/curves.data" "${plot%% *}" "${plot#* }"
          [ "${plot%% *}" = 4 ] && printf ", '%s' using 1:3 with lines dt 2 lc rgb '#e69f00' title 'H0'" "$out/curves.data"
          echo
      done
      echo "unset multiplot"
    } | draw
    rm "$out/curves.data"
}

# --- one list ---

# Bands on the mesh: a row in crystals.tsv for H0 and for the prediction, rows in kpoints.tsv; along the path: rows in path.tsv.
bands() {
    local ham=$1 name=$2 part=$3 m begin=$EPOCHREALTIME path=(--path auto --total "${POINTS:-100}")
    "$bin/geneig" -q ${THREADS:+-j "$THREADS"} --matrix h_label --gamma --mesh "${mesh[@]}" -o "$part/label.nc" "$ham"
    printf 'bands on the mesh\t%s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $begin }")" >> "$part/mesh.times"
    "$bin/geneig" -q ${THREADS:+-j "$THREADS"} --matrix h_label "${path[@]}" -o "$part/label-path.nc" "$ham"
    for m in h0 h_pred; do
        "$bin/geneig" -q ${THREADS:+-j "$THREADS"} --matrix $m --against h_label --gamma --mesh "${mesh[@]}" -o "$part/eig.nc" "$ham"
        "$bin/bandplot-data" -q --format summary --title "$name" --ref "$part/label.nc" "$part/eig.nc" | sed '1s/^#//' >> "$part/crystals.all"
        "$bin/bandplot-data" -q --format kpoints --ref "$part/label.nc" "$part/eig.nc" |
            awk -v OFS='\t' -v name="$name" -v m=$m '{ print sub(/^#/, "") ? "crystal\tmatrix" : name OFS m, $0 }' >> "$part/kpoints.all"
        "$bin/geneig" -q ${THREADS:+-j "$THREADS"} --matrix $m "${path[@]}" -o "$part/eig.nc" "$ham"
        "$bin/bandplot-data" -q --format summary --title "$name" --ref "$part/label-path.nc" "$part/eig.nc" | sed '1s/^#//' >> "$part/path.all"
    done
}

# PART/files: names of labelled files to be judged, one a line.
predictions() {
    local list=$1 part=$2
    if grep -q $'\r' "$list"; then
        echo "report.sh: $list: lines end in carriage returns (a file from Windows): sed -i 's/\r$//' LIST" >&2
        exit 1
    fi
    FOLDER=$(cd "$(dirname "$list")" && pwd) awk -F '\t' '/^#/ || /^ *$/ { next } { print ($1 ~ /^\// ? "" : ENVIRON["FOLDER"] "/") $1 }' "$list" > "$part/list"
    if [ -z "$model" ]; then
        cp "$part/list" "$part/files"
        return
    fi
    : > "$part/files"
    [ -s "$part/list" ] || return 0
    BIN=$bin "$here/predict.sh" "$model" "$part/list" "$part/predicted"
    [ ! -e "$part/predicted/failed" ] || cat "$part/predicted/failed" >> "$failed"
    while read -r file; do
        file=$part/predicted/$(basename "$file")
        [ ! -e "$file" ] || echo "$file" >> "$part/files"
    done < "$part/list"
}

# pairs WHAT KEY COLUMN TSV: COLUMN of the rows with h0 and h_pred in column KEY, side by side; of those with WHAT in column 2, if not empty.
pairs() {
    awk -F '\t' -v OFS='\t' -v what="$1" -v key="$2" -v column="$3" '
        what != "" && $2 != what { next }
        $key == "h0" { a = $column }
        $key == "h_pred" { print a, $column }' "$4"
}

# A model may do harm: each crystal that it does harm to, by name.
worse() {
    awk -F '\t' -v OFS='\t' '
        FILENAME ~ /each-l2/ { if ($2 == "overall") { name = $10; sub(/.*\//, "", name); sub(/\.nc$/, "", name); mae[name, $1] = $7; if (!(name in at)) { at[name] = ++n; order[n] = name } } next }
        FILENAME ~ /crystals/ { bands[$1, $2] = $8 }
        { ghosts[$1] += $2 == "h_pred" ? $11 : 0 }
        END {
            print "crystal", "Gauge_MAE_H0_meV", "prediction", "bands_H0_meV", "prediction", "ghost_k-points"
            for (i = 1; i <= n; i++) {
                c = order[i]
                if (mae[c, "h_pred"] > mae[c, "h0"] || bands[c, "h_pred"] > bands[c, "h0"] || ghosts[c] > 0)
                    print c, mae[c, "h0"], mae[c, "h_pred"], bands[c, "h0"], bands[c, "h_pred"], ghosts[c]
            }
        }' "$1/each-l2.tsv" "$1/crystals.tsv" "$1/path.tsv"
}

judge() {
    local list=$1 name part file by files good=()
    name=$(basename "$list" .list)
    part=$out/${name//[^A-Za-z0-9_.+-]/_} # a name that gnuplot, make and the shell take as one
    rm -rf "$part"
    mkdir -p "$part"
    predictions "$list" "$part"
    mapfile -t files < "$part/files"
    for file in "${files[@]}"; do # a file that cannot be judged does not stop the others
        if "$bin/gaugemae" -q --each "$file" > "$part/one" 2> "$part/log" && (bands "$file" "$(basename "$file" .nc)" "$part") 2> "$part/log"; then
            good+=("$file")
            cat "$part/one" >> "$part/each.all"
        else
            printf '%s\t%s\n' "$(basename "$file" .nc)" "$(tail -1 "$part/log")" >> "$failed"
        fi
    done
    heading 2 "$name: ${#good[@]} crystals"
    [ "${#good[@]}" -gt 0 ] || { text "None could be judged."; return; }
    awk '!/^crystal/ || !n++' "$part/kpoints.all" > "$part/kpoints.tsv"
    for by in crystals path; do awk '!/^title/ || !n++' "$part/$by.all" > "$part/$by.tsv"; done
    tabs < "$part/each.all" | awk '!/^matrix/ || !n++' > "$part/each.tsv"
    "$bin/gaugemae" -q --each --mu l2 "${good[@]}" | tabs > "$part/each-l2.tsv"
    grep -q '^h_pred' "$part/each.tsv" || { echo "report.sh: $list: no file has h_pred: predict first, or name a model with -m" >&2; exit 1; }
    for by in spin element distance; do
        "$bin/gaugemae" -q --by $by "${good[@]}" | tabs > "$part/${by}s.tsv"
    done

    {
        printf 'quantity\tcrystals\tH0\tprediction\tlow\thigh\tH0/prediction\tlow\thigh\n'
        pairs overall 1 7 "$part/each-l2.tsv" | awk -v name="Gauge MAE, least squares mu (meV)" -f "$here/interval.awk"
        pairs overall 1 7 "$part/each.tsv" | awk -v name="Gauge MAE, minimal mu (meV)" -f "$here/interval.awk"
        pairs "" 2 8 "$part/crystals.tsv" | awk -v name="bands up to 10 eV above the Fermi level (meV)" -f "$here/interval.awk"
        pairs "" 2 11 "$part/crystals.tsv" | awk -v name="ghost k-points of $((mesh[0] * mesh[1] * mesh[2]))" -f "$here/interval.awk"
        pairs "" 2 11 "$part/path.tsv" | awk -v name="ghost k-points of ${POINTS:-100} on the standard path" -f "$here/interval.awk"
    } > "$part/summary.tsv"
    echo "$name: ${#good[@]} crystals"
    sed 's/^/  /' "$part/summary.tsv"
    table "$part/summary.tsv"

    worse "$part" > "$part/worse.tsv"
    heading 3 "Worse than H0, in Gauge MAE (least squares mu) or in bands, or with ghost k-points"
    if [ "$(wc -l < "$part/worse.tsv")" -gt 1 ]; then
        table "$part/worse.tsv" 1000
        awk -F '\t' 'NR > 1 { list = list (NR > 2 ? ", " : "") $1 } END { print "  worse than H0, or with ghost k-points: " list }' "$part/worse.tsv"
    else
        text "None."
    fi

    heading 3 "By spin block (Table 1): Gauge MAE in meV, minimal mu"
    table "$part/spins.tsv"

    heading 3 "By element (Fig. 3): mean over the crystals that contain it"
    awk -F '\t' -v OFS='\t' '$1 == "h_pred" { print $2, $7 }' "$part/elements.tsv" |
        awk -v title="Gauge MAE of the prediction, meV" -v picture="$part/elements.svg" -f "$here/periodic.awk" | draw
    picture "$part/elements.svg"

    heading 3 "By distance (Å)"
    table "$part/distances.tsv"
    { svg "$part/distances.svg" 340
      echo "set style data histograms; set style fill solid .8 noborder; set logscale y; set ylabel 'Gauge MAE (meV)'; set xlabel 'distance (Å)'"
      data h0 1 2 7 "$part/distances.tsv"
      data h_pred 1 2 7 "$part/distances.tsv"
      echo "plot \$h0 using 2:xtic(1) lc rgb '#e69f00' title 'H0', \$h_pred using 2 lc rgb '#2c5f9e' title 'prediction'"
    } | draw
    picture "$part/distances.svg"

    heading 3 "Bands of each crystal on a ${mesh[*]} mesh with Gamma, and ghost k-points (Fig. 9)"
    table "$part/crystals.tsv" 60
    awk -F '\t' -v OFS='\t' '$2 == "h0" { a = $8 } $2 == "h_pred" { print a, $8, $11 }' "$part/crystals.tsv" > "$part/scatter"
    { svg "$part/bands.svg" 480
      echo "set logscale xy; set xlabel 'mean band error of H0 (meV)'; set ylabel 'of the prediction (meV)'; set key left top"
      echo "plot x with lines dt 2 lc rgb '#808080' title 'no gain', \
          '$part/scatter' using 1:2 with points pt 7 lc rgb '#2c5f9e' title 'crystals', \
          '' using 1:(\$3 > 0 ? \$2 : NaN) with points pt 6 ps 2 lc rgb '#d7191c' title 'with ghost k-points'"
    } | draw
    picture "$part/bands.svg"

    heading 3 "Bands of each crystal along the standard path"
    table "$part/path.tsv" 60

    heading 3 "k-points (Fig. 10, Appendix F): largest difference and what kappa(S)/||S|| ||dH|| allows"
    { svg "$part/kpoints.svg" 480
      echo "set logscale xy; set xlabel 'bound (eV)'; set ylabel 'largest difference at the k-point (eV)'; set key left top"
      data h0 2 10 7 "$part/kpoints.tsv"
      data h_pred 2 10 7 "$part/kpoints.tsv"
      echo "plot x with lines dt 2 lc rgb '#808080' title 'the bound', \
          \$h0 using 1:2 with points pt 7 ps .4 lc rgb '#e69f00' title 'H0', \
          \$h_pred using 1:2 with points pt 7 ps .4 lc rgb '#2c5f9e' title 'prediction'"
    } | draw
    picture "$part/kpoints.svg"
    rm -f "$part"/{*.all,files,one,log,scatter,label.nc,label-path.nc,eig.nc}
}

# --- the page ---

cat > "$page" << END
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>$(escape "$title")</title>
<style>
body { font: 15px/1.5 sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-size: 13px }
th, td { border-bottom: 1px solid #ddd; padding: 2px 10px; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums }
th { background: #f0f3f7 } img { max-width: 100% } h2 { border-top: 2px solid #2c5f9e; padding-top: .5em; margin-top: 2em }
</style></head><body>
END
heading 1 "$title"
[ -z "$model" ] || text "Model: $model"
for list; do judge "$list"; done

# Table 3.
find "$out" "${folders[@]}" -name '*.times' -exec realpath -z {} + | sort -zu | xargs -0 -r cat | awk -F '\t' -v OFS='\t' '
    !($1 in n) { order[++stages] = $1; min[$1] = $2 }
    { n[$1]++; sum[$1] += $2; if ($2 < min[$1]) min[$1] = $2; if ($2 > max[$1]) max[$1] = $2 }
    END {
        print "stage", "runs", "min_s", "max_s", "mean_s"
        for (i = 1; i <= stages; i++) { s = order[i]; print s, n[s], min[s] + 0, max[s] + 0, sum[s] / n[s] }
    }' > "$out/times.tsv"
if [ "$(wc -l < "$out/times.tsv")" -gt 1 ]; then
    heading 2 "Runtimes per stage (Table 3)"
    table "$out/times.tsv"
fi
number=0
for run in "${runs[@]}"; do
    heading 2 "Learning curves: $run"
    number=$((number + 1))
    curves "$run/metrics.tsv" "$out/curves-$number.svg" || { text "No curves: $run/metrics.tsv cannot be read."; continue; }
    picture "$out/curves-$number.svg"
done
for file in "${extra[@]}"; do
    heading 2 "$(basename "${file%.*}")"
    case $file in *.svg) picture "$file" ;; *) table "$file" 500 ;; esac
done
if [ -s "$failed" ]; then
    heading 2 "Crystals that failed"
    (printf 'crystal\treason\n'; cat "$failed") > "$out/failed.table"
    table "$out/failed.table" 1000
    rm "$out/failed.table"
fi
echo '</body></html>' >> "$page"
mv "$page" "$out/report.html"
