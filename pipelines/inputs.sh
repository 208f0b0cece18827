#!/usr/bin/env bash
# What a Makefile needs to know of a list of crystals, without seeing the names of files in it:  inputs.sh LIST OUT
# Prints the crystals' names (crystals.sh: letters, digits, _ . + -). OUT/NAME/input holds the input's path, OUT/NAME/inputs the files that it
# consists of with their sizes and times, touched only where one of them changed: what a product depends on.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "$0")" && pwd)
renew() { # renew FILE: from standard input, only where it differs
    local new=$1.tmp
    cat > "$new"
    if cmp -s "$new" "$1"; then rm "$new"; else mv "$new" "$1"; fi
}
crystals=$("$here/crystals.sh" "$1")
[ -n "$crystals" ] || exit 0
while IFS=$'\t' read -r name input _; do
    mkdir -p "$2/$name"
    printf '%s' "$input" | renew "$2/$name/input"
    { find -L "$input" -type f -printf '%p %s %T@\n' 2> /dev/null || true; } | sort | renew "$2/$name/inputs"
    echo "$name"
done <<< "$crystals"
