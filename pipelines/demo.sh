#!/usr/bin/env bash
# The main job on a real crystal: from an ABACUS folder (GaAs, spin-orbit coupling) to bands, pictures and a table of errors.
#   pipelines/demo.sh BIN OUT       (`make demo` calls it)
set -euo pipefail
bin=$(cd "${1:-bin}" && pwd)
out=${2:-demo}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
path="L .5 .5 .5; G 0 0 0; X .5 0 .5; W .5 .25 .75; K .375 .375 .75; G 0 0 0"

echo "== GaAs: graph from the ABACUS runs in pipelines/GaAs"
"$bin/mkgraph" --abacus "$here/GaAs" -o "$out/GaAs.nc"

echo "== bands of the zeroth-step Hamiltonian and of the self-consistent one"
for matrix in h0 h_label; do
    "$bin/geneig" --matrix $matrix --path "$path" --total 200 -o "$out/eig_$matrix.nc" "$out/GaAs.nc"
done

# There is no trained model in the repository yet: a seeded initialisation runs every stage, and its numbers mean nothing.
echo "== the standard network, UNTRAINED (random weights, seed 1): every stage runs, the correction has no meaning"
[ -s "$out/untrained.nc" ] || "$bin/nhmodel" init --config "$here/standard.yaml" --seed 1 -o "$out/untrained.nc"
"$bin/mkgraph" --abacus "$here/GaAs" | "$bin/h0embed" | "$bin/nhinfer" -m "$out/untrained.nc" --timing -o "$out/ham_untrained.nc"
"$bin/fourier" --path "$path" --total 200 "$out/ham_untrained.nc" | "$bin/geneig" -o "$out/eig_untrained.nc"

echo "== gauge-free distance to the self-consistent Hamiltonian (prediction: UNTRAINED)"
"$bin/gaugemae" "$out/ham_untrained.nc" | tee "$out/errors.txt"

echo "== pictures"
"$bin/bandplot-data" --format gnuplot --window -14:12 --picture "$out/bands.png" --title "GaAs: H0 and self-consistent bands" \
    --name "H0" --ref "$out/eig_h_label.nc" --ref-name "SCF" -o "$out/bands.gp" "$out/eig_h0.nc"
"$bin/bandplot-data" --format gnuplot --window -14:12 --picture "$out/bands_untrained.png" \
    --title "GaAs: UNTRAINED network (random weights) and self-consistent bands" --name "untrained" --ref "$out/eig_h_label.nc" \
    --ref-name "SCF" -o "$out/bands_untrained.gp" "$out/eig_untrained.nc"
gnuplot "$out/bands.gp"
gnuplot "$out/bands_untrained.gp"
"$bin/bandplot-data" --ref "$out/eig_h_label.nc" "$out/eig_h0.nc" | grep '^# ' | grep -v '^# band [0-9]' | tee -a "$out/errors.txt"
echo "== done: $out/bands.png, $out/bands_untrained.png, $out/errors.txt"
