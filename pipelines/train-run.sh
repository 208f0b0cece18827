#!/usr/bin/env bash
# One training run of a workflow:  train-run.sh MODEL RUN SETTINGS.yaml TRAIN.list VALIDATION.list [OPTIONS OF NHTRAIN...]
# A run that was interrupted goes on, unless settings, options or crystals are not what it began with: then it begins anew. MODEL is its best.
set -euo pipefail
bin=${BIN:-$(dirname "$0")/../bin}
model=$1 run=$2 settings=$3 train=$4 validation=$5
shift 5
all=("$@" --set data.train="$train" --set data.validation="$validation" --set run_dir="$run")
files() { sed "/^\//!s|^|$(dirname "$1")/|" "$1" | xargs -r stat -L -c '%n %s %Y'; }
inputs=$({ printf '%s\n' "${all[@]}"; cat "$settings"; files "$train"; files "$validation"; } | cksum)
if [ -e "$run/last.nc" ] && [ "$(cat "$run/inputs" 2> /dev/null)" = "$inputs" ]; then
    "$bin/nhtrain" -q ${THREADS:+-j "$THREADS"} --resume "$run"
else
    rm -rf "$run"
    mkdir -p "$run"
    echo "$inputs" > "$run/inputs"
    "$bin/nhtrain" -q ${THREADS:+-j "$THREADS"} -c "$settings" "${all[@]}"
fi
cp "$run/best.nc" "$model.tmp" && mv "$model.tmp" "$model"
