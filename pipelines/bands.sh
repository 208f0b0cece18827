#!/usr/bin/env bash
# Bands along a path of every Hamiltonian that a file has:  bands.sh HAM.nc OUT
#   OUT/h_pred.nc, h0.nc, h_label.nc   eigenvalues
#   OUT/bands.svg                      all of them in one picture
#   OUT/errors.tsv                     a row for each: gap, band error and ghost k-points against h_label, Gauge MAE
#   OUT/bands.times                    seconds
# In the environment: KPATH, "NAME k1 k2 k3; ...", an ABACUS KPT file or auto [auto: the standard path]; POINTS, k-points on it [200]; WINDOW, eV about the Fermi level
# [-10:10]; PICTURE [bands.svg]; TITLE [the formula]; BIN, folder of the programs; THREADS.
set -euo pipefail
export LC_ALL=C.UTF-8
bin=${BIN:-$(dirname "$0")/../bin}
ham=$1 out=$2
path=${KPATH:-auto}
mkdir -p "$out"
rm -f "$out"/{h_pred,h_label,h0}.nc
begin=$EPOCHREALTIME
if [ -f "$path" ]; then path=(--kpath "$path"); else path=(--path "$path" --total "${POINTS:-200}"); fi

matrices=() header=$(ncdump -h "$ham")
for m in h_pred h_label h0; do
    if grep -Eq "^[[:space:]]*(float|double) $m\(" <<< "$header"; then matrices+=("$m"); fi
done
[ "${#matrices[@]}" -gt 0 ] || { echo "bands.sh: $ham: no Hamiltonian" >&2; exit 1; }
for m in "${matrices[@]}"; do
    "$bin/geneig" -q ${THREADS:+-j "$THREADS"} --matrix "$m" "${path[@]}" -o "$out/$m.nc" "$ham"
done

name() { case $1 in h_pred) echo prediction ;; h_label) echo SCF ;; h0) echo H0 ;; esac }
show=(--format gnuplot --window="${WINDOW:--10:10}" --picture "$out/${PICTURE:-bands.svg}" --name "$(name "${matrices[0]}")")
[ -z "${TITLE:-}" ] || show+=(--title "$TITLE")
for m in "${matrices[@]:1}"; do
    show+=(--ref "$out/$m.nc" --ref-name "$(name "$m")")
done
"$bin/bandplot-data" -q "${show[@]}" -o "$out/bands.gp" "$out/${matrices[0]}.nc"
gnuplot "$out/bands.gp"

label=() gauge=/dev/null
if [ -e "$out/h_label.nc" ] && [ "${#matrices[@]}" -gt 1 ]; then
    label=(--ref "$out/h_label.nc")
    "$bin/gaugemae" -q "$ham" > "$out/gauge.txt"
    gauge=$out/gauge.txt
fi
for m in "${matrices[@]}"; do
    "$bin/bandplot-data" -q --format summary --name "$m" "${label[@]}" "$out/$m.nc"
done | awk -v OFS='\t' '
    NR == FNR { if ($2 == "overall") gauge[$1] = $7; next }
    /^#/ { if (!header++) print $0, "gauge_mae_meV"; next }
    { print $0, $2 in gauge ? gauge[$2] : "nan" }' "$gauge" FS='\t' - > "$out/errors.tmp"
mv "$out/errors.tmp" "$out/errors.tsv"
printf 'bands along the path\t%s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $begin }")" > "$out/bands.times"
