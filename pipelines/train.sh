#!/bin/sh
# Trains the repository's model: train.sh SET ELEMENTS [RUNS [OPTIONS OF NHTRAIN...]]     BIN=bin in the environment
# SET: a folder with strained and rattled crystals, *.nc.xz (graph.nc, labelled) and train.list, validation.list, test.list.
# ELEMENTS: one with small crystals of many elements, *.nc.xz and train.list; those that elements-validation.list and
# elements-test.list (beside this script) name are kept out of training. RUNS [runs]: gets the run folders train, elements,
# finish and finish-2, and model.nc, the model for shipping. What was interrupted goes on where it was.
# WIDE in the environment: a folder of label.sh with the crystals of wide.tsv (graph/ID/ID.nc); then wide and wide-finish follow, and model.nc
# is of these. The crystals of wide.tsv that are not there are left out, and counted.
set -eu
[ $# -ge 2 ] || { sed -n '2,8s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/../bin}
set=$1 elements=$2 runs=${3:-runs}
[ $# -lt 3 ] && shift $# || shift 3
data=${TMPDIR:-/tmp}/nextham-data
mkdir -p "$data" "$runs"
for part in set elements; do
    eval "folder=\$$part"
    mkdir -p "$data/$part"
    for file in "$folder"/*.nc.xz; do
        name=$data/$part/$(basename "$file" .xz)
        [ -e "$name" ] || { xzcat "$file" > "$name.tmp" && mv "$name.tmp" "$name"; }
    done
    cp "$folder"/*.list "$data/$part"
done
named() { sed "s|^|$1/|" "$2"; }
kept=$(cat "$here/elements-validation.list" "$here/elements-test.list")
{ named set "$data/set/train.list"; grep -vxF "$kept" "$data/elements/train.list" | sed 's|^|elements/|'; } > "$data/train.list"
# In the last part the crystals of SET weigh four times as much: there are few of them, and the others take most of the time.
{ for _ in 1 2 3 4; do grep "^set/" "$data/train.list"; done; grep -v "^set/" "$data/train.list"; } > "$data/weighted.list"
{ named set "$data/set/validation.list"; named elements "$here/elements-validation.list"; } > "$data/validation.list"
named elements "$here/elements-test.list" > "$data/test-elements.list"

# part NAME FOLDER-OF-THE-LISTS OPTIONS...: a new run, or what is left of an old one
part() {
    name=$1 lists=$2
    shift 2
    if [ -e "$runs/$name/last.nc" ]; then
        "$bin/nhtrain" --resume "$runs/$name" "$@"
    else
        "$bin/nhtrain" -c "$here/$config.yaml" --set data.train="$lists/train.list" --set data.validation="$lists/validation.list" \
            --set data.test= --set run_dir="$runs/$name" "$@"
    fi
}
config=train part train "$data/set" "$@"
config=train-elements part elements "$data" --set init="$runs/train/best.nc" "$@"
config=train-finish part finish "$data" --set init="$runs/elements/best.nc" --set schedule.kind=constant --set schedule.epochs=17 \
    --set optimizer.lr=8e-4 "$@"
config=train-finish part finish-2 "$data" --set data.train="$data/weighted.list" --set init="$runs/finish/last.nc" "$@"
last="finish-2"
if [ -n "${WIDE:-}" ]; then
    wide=$(cd "$WIDE" && pwd)
    mkdir -p "$data/wide"
    of_part() { # PART: the crystals of wide.tsv that are there
        awk -F '\t' -v part="$1" '$2 == part { print $1 }' "$here/wide.tsv" | while read -r id; do
            if [ -e "$wide/graph/$id/$id.nc" ]; then echo "$wide/graph/$id/$id.nc"; else echo "train.sh: no $wide/graph/$id/$id.nc" >&2; fi
        done
    }
    { for _ in 1 2; do sed "s|^|$data/|" "$data/train.list" | grep "^$data/set/"; done; sed "s|^|$data/|" "$data/train.list" | grep -v "^$data/set/"
      of_part train; } > "$data/wide/train.list"
    { sed "s|^|$data/|" "$data/validation.list"; of_part validation; } > "$data/wide/validation.list"
    config=train-wide part wide "$data/wide" --set init="$runs/finish-2/best.nc" "$@"
    config=train-wide-finish part wide-finish "$data/wide" --set init="$runs/wide/best.nc" "$@"
    last="wide-finish"
fi
"$bin/nhmodel" pack --bits 12 "$runs/$last/best.nc" -o "$runs/model.nc"
