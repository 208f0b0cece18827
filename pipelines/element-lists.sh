#!/usr/bin/env bash
# For a model that never saw an element:  element-lists.sh ELEMENT TRAIN.list TEST.list TRAIN-WITHOUT.list TEST-WITH.list
set -euo pipefail
bin=${BIN:-$(dirname "$0")/../bin}
has() { "$bin/gaugemae" -q --by element "$1" | awk -v element="$2" '$1 == "0" && $2 == element { found = 1 } END { exit !found }'; }
element=$1
choose() { # LIST yes|no
    while read -r file; do
        answer=no
        if has "$(dirname "$1")/$file" "$element"; then answer=yes; fi
        [ $answer != "$2" ] || echo "$file"
    done < "$1"
}
choose "$2" no > "$4"
choose "$3" yes > "$5"
[ -s "$4" ] && [ -s "$5" ] || { echo "element-lists.sh: $element: nothing left to train on, or no test crystal has it" >&2; exit 1; }
