#!/bin/sh
# Trains the repository's model: train.sh [PROGRAMS [DATA [RUN_DIR [OPTIONS OF NHTRAIN...]]]]
# PROGRAMS: folder of nhtrain [bin]; DATA: folder with the crystals, *.nc.xz and lists [../shared/data/set]; RUN_DIR [runs/train].
# A run that was interrupted goes on where it was.
set -eu
bin=${1:-bin} data=${2:-../shared/data/set} run=${3:-runs/train}
[ $# -lt 3 ] && shift $# || shift 3
unpacked=${TMPDIR:-/tmp}/set
mkdir -p "$unpacked"
for file in "$data"/*.nc.xz; do
    name=$unpacked/$(basename "$file" .xz)
    [ -e "$name" ] || { xzcat "$file" > "$name.tmp" && mv "$name.tmp" "$name"; }
done
cp "$data"/*.list "$unpacked"
if [ -e "$run/last.nc" ]; then
    exec "$bin/nhtrain" --resume "$run" "$@"
fi
exec "$bin/nhtrain" -c "$(dirname "$0")/train.yaml" --set data.train="$unpacked/train.list" --set data.validation="$unpacked/validation.list" \
    --set data.test="$unpacked/test.list" --set run_dir="$run" "$@"
