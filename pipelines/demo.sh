#!/usr/bin/env bash
# The main job on a real crystal: from an ABACUS folder (GaAs, spin-orbit coupling) to predicted bands, a picture and a table of errors.
#   pipelines/demo.sh BIN OUT       (`make demo` calls it)
set -euo pipefail
BIN=$(cd "${1:-bin}" && pwd)
out=${2:-demo}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

echo "== GaAs, from the ABACUS runs in pipelines/GaAs, through the model in pipelines/model.nc"
"$BIN/mkgraph" --abacus "$here/GaAs" | "$BIN/h0embed" | "$BIN/nhinfer" -m "$here/model.nc" --timing -o "$out/ham.nc"

echo "== bands: H0, prediction, self-consistent"
export BIN KPATH="L .5 .5 .5; G 0 0 0; X .5 0 .5; W .5 .25 .75; K .375 .375 .75; G 0 0 0" WINDOW=-14:12
PICTURE=bands.png TITLE="GaAs with spin-orbit coupling" "$here/bands.sh" "$out/ham.nc" "$out"

echo "== errors"
cat "$out/gauge.txt" "$out/errors.tsv" | tee "$out/errors.txt"
echo "== done: $out/bands.png, $out/errors.txt"
