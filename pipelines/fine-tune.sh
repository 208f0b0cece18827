#!/usr/bin/env bash
# A model for one kind of crystal:  fine-tune.sh LIST OUT [OPTIONS OF NHTRAIN...]
#   LIST: structures, as label.sh takes them, some twenty of them: strained, rattled, defects. Those that say no part are shared out 8:1:1.
# Labels them (OUT/data, label.sh), trains MODEL on (OUT/run, fine-tune.yaml), and prints what was gained on the crystals of the part test,
# which the training has not seen: Gauge MAE of H0, of MODEL and of OUT/model.nc, meV. Goes on where it was stopped. Exit status 1 if the new
# model is not better than MODEL.
# In the environment: MODEL [the shipped one], THREADS [1], BIN, and what label.sh takes.
set -euo pipefail
export LC_ALL=C.UTF-8
[ $# -ge 2 ] || { sed -n '2,8s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
export BIN=${BIN:-$here/../bin} THREADS=${THREADS:-1}
model=${MODEL:-$here/model.nc} list=$1 out=$2
shift 2
mkdir -p "$out"
out=$(cd "$out" && pwd)
"$here/label.sh" "$list" "$out/data"
for part in train validation test; do
    [ -s "$out/data/$part.list" ] || { echo "fine-tune.sh: $list: no crystal for the part $part" >&2; exit 1; }
done
"$here/train-run.sh" "$out/model.nc" "$out/run" "$here/fine-tune.yaml" "$out/data/train.list" "$out/data/validation.list" \
    --set init="$model" "$@"
for which in before after; do
    [ "$which" = after ] && model=$out/model.nc
    "$BIN/nhinfer" -q -j "$THREADS" -m "$model" --batch "$out/data/test.list" --outdir "$out/$which"
    "$BIN/gaugemae" -q "$out/$which"/*.nc
done | awk '
    $2 == "overall" && $1 == "h0" { h0 = $7 }
    $2 == "overall" && $1 == "h_pred" { error[++n] = $7; crystals = $3 }
    END {
        if (n != 2) { print "fine-tune.sh: no errors to compare" > "/dev/stderr"; exit 1 }
        printf "Gauge MAE of %d crystals that were not trained on, meV: H0 %.4g, before %.4g, after %.4g (%.2f times)\n", crystals, h0, error[1], error[2], error[1] / error[2]
        exit !(error[2] < error[1])
    }'
