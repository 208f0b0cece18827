#!/bin/sh
# Trains the repository's model: train.sh [PROGRAMS [DATA [RUN_DIR]]]
# PROGRAMS: folder of nhtrain [bin]; DATA: folder with the crystals, *.nc.xz and lists [../shared/data/set]; RUN_DIR [runs/train].
# Two parts, RUN_DIR/1 (train.yaml) and RUN_DIR/2 (train-finish.yaml); the model is RUN_DIR/2/best.nc. A run that was interrupted goes on.
set -eu
bin=${1:-bin} data=${2:-../shared/data/set} run=${3:-runs/train}
here=$(dirname "$0")
unpacked=${TMPDIR:-/tmp}/set
mkdir -p "$unpacked" "$run"
for file in "$data"/*.nc.xz; do
    name=$unpacked/$(basename "$file" .xz)
    [ -e "$name" ] || { xzcat "$file" > "$name.tmp" && mv "$name.tmp" "$name"; }
done
cp "$data"/*.list "$unpacked"
chmod u+w "$unpacked"/*.list
part() {
    number=$1 config=$2
    shift 2
    if [ -e "$run/$number/last.nc" ]; then
        "$bin/nhtrain" --resume "$run/$number"
    else
        "$bin/nhtrain" -c "$here/$config" --set data.train="$unpacked/train.list" --set data.validation="$unpacked/validation.list" \
            --set data.test="$unpacked/test.list" --set run_dir="$run/$number" "$@"
    fi
}
part 1 train.yaml
part 2 train-finish.yaml --set init="$run/1/best.nc"
