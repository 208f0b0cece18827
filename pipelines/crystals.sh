#!/usr/bin/env bash
# A list of crystals made ready for a workflow:  crystals.sh LIST [TRAIN:VALIDATION:TEST [SEED]]
#   LIST: INPUT, and after tabs NAME and PART where wanted: INPUT relative to the list's folder, NAME without blanks (the input's own without
#   suffix), PART one of train, validation, test.
# Prints NAME <tab> INPUT <tab> PART. Crystals without a PART are shared out in these proportions [8:1:1] in an order that depends on their
# names and SEED [1] only; where there are few, training comes first, then validation.
set -euo pipefail
export LC_ALL=C.UTF-8
list=$1
[ -f "$list" ] || { echo "crystals.sh: $list: no such file" >&2; exit 1; }
awk -F '\t' -v OFS='\t' -v folder="$(dirname "$list")/" -v list="$list" -v seed="${3:-1}" '
    BEGIN { for (i = 1; i < 256; i++) ord[sprintf("%c", i)] = i }
    function hash(s,   h, i) {
        h = 1
        for (i = 1; i <= length(s); i++) h = (h * 48271 + ord[substr(s, i, 1)]) % 2147483647
        for (i = 0; i < 4; i++) h = (h * 48271) % 2147483647
        return h
    }
    function fail(what) { print "crystals.sh: " list ":" NR ": " what > "/dev/stderr"; exit failed = 1 }
    /^#/ || !NF { next }
    {
        input = $1 ~ /^\// ? $1 : folder $1
        sub(/\/+$/, "", input)
        name = $2
        if (name == "") { name = input; sub(/.*\//, "", name); sub(/\.(nc|nc\.xz|vasp|xyz|stru)$/, "", name) }
        if (name !~ /^[A-Za-z0-9_.+-]+$/) fail("\"" name "\" is no name: letters, digits, _ . + - expected")
        if (name in line) fail("called " name ", as line " line[name] ": name it in a second column")
        if ($3 !~ /^(train|validation|test)?$/) fail("part \"" $3 "\": train, validation or test expected")
        line[name] = NR
        print hash(seed ":" name), NR, name, input, $3
    }
    END { exit failed }' "$list" | sort -n | awk -F '\t' -v OFS='\t' -v ratio="${2:-8:1:1}" '
    { number[NR] = $2; row[NR] = $3 OFS $4; part[NR] = $5; if ($5 == "") free++ }
    END {
        split("train validation test", name, " ")
        split(ratio, r, ":")
        all = r[1] + r[2] + r[3]
        if (!(all > 0)) { print "crystals.sh: \"" ratio "\": three proportions expected" > "/dev/stderr"; exit 1 }
        for (p = 2; p <= 3; p++) {
            n[p] = int(free * r[p] / all + .5)
            if (n[p] == 0 && r[p] > 0) n[p] = 1
        }
        for (n[1] = free - n[2] - n[3]; n[1] < (r[1] > 0) && free > 0; n[1]++) n[n[3] > 0 ? 3 : 2]--
        p = 1
        for (i = 1; i <= NR; i++) {
            if (part[i] == "") {
                while (p < 3 && n[p] <= 0) p++
                part[i] = name[p]; n[p]--
            }
            print number[i], row[i], part[i]
        }
    }' | sort -n | cut -f 2-
