#!/bin/sh
# Trains the repository's model: train.sh [PROGRAMS [DATA [RUNS [OPTIONS OF NHTRAIN...]]]]
# PROGRAMS: folder of the programs [bin]; DATA: folder with the crystals, *.nc.xz and lists [../shared/data/set]; RUNS [runs]: gets the run folders train,
# finish and finish-2 and model.nc, the model for shipping. What was interrupted goes on where it was.
set -eu
bin=${1:-bin} data=${2:-../shared/data/set} runs=${3:-runs}
[ $# -lt 3 ] && shift $# || shift 3
unpacked=${TMPDIR:-/tmp}/set
mkdir -p "$unpacked" "$runs"
for file in "$data"/*.nc.xz; do
    name=$unpacked/$(basename "$file" .xz)
    [ -e "$name" ] || { xzcat "$file" > "$name.tmp" && mv "$name.tmp" "$name"; }
done
cp "$data"/*.list "$unpacked"

# part NAME CONFIG OPTIONS...: a new run, or what is left of an old one
part() {
    name=$1 config=$2
    shift 2
    if [ -e "$runs/$name/last.nc" ]; then
        "$bin/nhtrain" --resume "$runs/$name" "$@"
    else
        "$bin/nhtrain" -c "$(dirname "$0")/$config" --set data.train="$unpacked/train.list" --set data.validation="$unpacked/validation.list" \
            --set data.test="$unpacked/test.list" --set run_dir="$runs/$name" "$@"
    fi
}
part train train.yaml "$@"
part finish train-finish.yaml --set init="$runs/train/best.nc" "$@"
# once more with a rate that begins high
part finish-2 train-finish.yaml --set init="$runs/finish/best.nc" --set optimizer.lr=1e-3 --set schedule.epochs=180 "$@"
"$bin/nhmodel" pack --bits 12 "$runs/finish-2/best.nc" -o "$runs/model.nc"
