#!/usr/bin/env bash
# The main job on a real crystal: from an ABACUS folder (GaAs, spin-orbit coupling) to predicted bands, a picture and a table of errors.
#   pipelines/demo.sh BIN OUT       (`make demo` calls it)
set -euo pipefail
bin=$(cd "${1:-bin}" && pwd)
out=${2:-demo}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
path="L .5 .5 .5; G 0 0 0; X .5 0 .5; W .5 .25 .75; K .375 .375 .75; G 0 0 0"

echo "== GaAs, from the ABACUS runs in pipelines/GaAs, through the model in pipelines/model.nc"
"$bin/mkgraph" --abacus "$here/GaAs" | "$bin/h0embed" | "$bin/nhinfer" -m "$here/model.nc" --timing -o "$out/ham.nc"

echo "== bands: H0, prediction, self-consistent"
for matrix in h0 h_pred h_label; do
    "$bin/fourier" --matrix $matrix --path "$path" --total 200 "$out/ham.nc" | "$bin/geneig" -o "$out/eig_$matrix.nc"
done
"$bin/bandplot-data" --format gnuplot --window -14:12 --picture "$out/bands.png" --title "GaAs with spin-orbit coupling" \
    --name prediction --ref "$out/eig_h_label.nc" --ref-name SCF --ref "$out/eig_h0.nc" --ref-name H0 -o "$out/bands.gp" \
    "$out/eig_h_pred.nc"
gnuplot "$out/bands.gp"

echo "== errors"
{
    "$bin/gaugemae" "$out/ham.nc"
    for matrix in h0 h_pred; do
        "$bin/bandplot-data" --ref "$out/eig_h_label.nc" "$out/eig_$matrix.nc" | grep '^# ' | grep -v '^# band [0-9]'
    done
} | tee "$out/errors.txt"
echo "== done: $out/bands.png, $out/errors.txt"
