#!/usr/bin/env bash
# The measurements behind the table of studies in docs/model-card.md, on the crystals that train.sh unpacks:
#   pipelines/study.sh NAME OUT [EPOCHS [MODEL]]     BIN=bin DATA=/tmp/nextham-data/set in the environment; THREADS=1
# NAME:
#   overfit   one crystal, with `lift` and without: how far below H0's the error comes
#   options   lift, edge_init and both against neither, at equal processor time
#   errors    absolute errors from the beginning in place of squared ones
#   norm      norm_eps: 1e-5 (published), 0.05, 0.3
#   curve     the network on 5, 11, 22 and 44 crystals, the same number of steps
#   kspace    the last part of the training from MODEL (the best of a part before), with the k-space terms and without, three seeds
# OUT gets one run folder each; one line a run is printed. EPOCHS [40]: of the plain network on all crystals.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/../bin} data=${DATA:-/tmp/nextham-data/set} threads=${THREADS:-1}
name=$1 out=$2 epochs=${3:-40}
mkdir -p "$out"
out=$(cd "$out" && pwd)
crystals=$(wc -l < "$data/train.list")

# run FOLDER EPOCHS [--set KEY=VALUE...]
run() {
    local folder=$1 n=$2
    shift 2
    "$bin/nhtrain" -q -j "$threads" -c "$here/${config:-train}.yaml" --set data.train="$data/train.list" --set data.validation="$data/validation.list" \
        --set data.test= --set run_dir="$out/$folder" --set schedule.epochs="$n" "$@"
}
plain="--set loss.lambda_p=0 --set loss.lambda_q=0 --set loss.lambda_pq=0" # no k-space terms

# Best validation Gauge MAE of a run, in meV, and H0's.
best() {
    awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        best == "" || $at["val_meV"] + 0 < best + 0 { best = $at["val_meV"] }
        END { printf "best validation %s meV (H0 %s), %d epochs\n", best, $at["val_h0_meV"], NR - 1 }' "$out/$1/metrics.tsv"
}
seconds() { # processor time of a command
    local TIMEFORMAT=%U
    { time "$@" > /dev/null 2>&1; } 2>&1
}

case $name in
overfit)
    for crystal in Si-1 GaAs-1; do
        yes "$data/$crystal.nc" | head -n 25 > "$out/$crystal.list"
        echo "$data/$crystal.nc" > "$out/$crystal-1.list"
        for lift in true false; do
            # shellcheck disable=SC2086
            run "$crystal-$lift" "$epochs" $plain --set network.lift=$lift --set data.train="$out/$crystal.list" \
                --set data.validation="$out/$crystal-1.list" --set optimizer.lr=4e-3
            echo "$crystal lift: $lift: $(best "$crystal-$lift")"
        done
    done
    ;;
options)
    declare -A option=([published]="" [lift]="--set network.lift=true" [edge_init]="--set network.edge_init=paper"
        [both]="--set network.lift=true --set network.edge_init=paper")
    declare -A cost
    for o in published lift edge_init both; do # of one epoch
        # shellcheck disable=SC2086
        cost[$o]=$(echo "$(seconds run "trial-$o-3" 3 $plain ${option[$o]}) - $(seconds run "trial-$o-1" 1 $plain ${option[$o]})" | bc)
    done
    for o in published lift edge_init both; do
        n=$(echo "$epochs * ${cost[published]} / ${cost[$o]}" | bc)
        # shellcheck disable=SC2086
        run "$o" "$n" $plain ${option[$o]}
        echo "$o: $(best "$o")"
    done
    ;;
errors)
    for squared in true false; do
        # shellcheck disable=SC2086
        run "squared-$squared" "$epochs" $plain --set loss.l1_epochs=$([ $squared = true ] && echo 0 || echo "$epochs")
        echo "squared errors: $squared: $(best "squared-$squared")"
    done
    ;;
norm)
    for eps in 1e-5 0.05 0.3; do
        # shellcheck disable=SC2086
        run "norm-$eps" "$epochs" $plain --set network.norm_eps=$eps
        echo "norm_eps: $eps: $(best "norm-$eps")"
    done
    ;;
curve)
    shuf --random-source=<(yes) "$data/train.list" | sed "s|^|$data/|" > "$out/shuffled"
    for n in 5 11 22 44; do
        for ((i = 0; i < crystals; i += n)); do head -n $n "$out/shuffled"; done | head -n "$crystals" > "$out/$n.list" # an epoch is as long for all
        # shellcheck disable=SC2086
        run "$n" "$epochs" $plain --set data.train="$out/$n.list"
        echo "$n crystals: $(best "$n")"
    done
    ;;
kspace)
    config=train-finish
    init=$(realpath "${4:?study.sh: kspace needs a MODEL to begin with}")
    for seed in 1 2 3; do
        run "with-$seed" "$epochs" --set init="$init" --set seed=$seed
        # shellcheck disable=SC2086
        run "without-$seed" "$epochs" $plain --set init="$init" --set seed=$seed
        for k in with without; do
            echo "$k k-space terms, seed $seed: $(best "$k-$seed")"
            BIN=$bin "$here/report.sh" -m "$out/$k-$seed/best.nc" -o "$out/$k-$seed/report" "$data/validation.list" | grep -E "bands|ghost"
        done
    done
    ;;
*)
    echo "study.sh: unknown study '$name'" >&2
    exit 2
    ;;
esac
