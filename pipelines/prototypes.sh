#!/usr/bin/env bash
# Structures of common crystals, to make training data of:  prototypes.sh [OPTIONS] [> crystals.xyz]
#   Extended XYZ of the crystals of prototypes.tsv in their primitive cells, small ones first, with id=, formula=, prototype= and part=.
#   --copies N     so many of each [1]; the first is the perfect crystal, the others are strained and rattled
#   --strain S     every component of a copy's strain is drawn from -S .. S [0.03]
#   --rattle D     every coordinate of a copy is moved by a normal deviate of this width, Å [0.05]
#   --seed N       of the copies and the parts [1]: the same numbers, the same crystals
#   --parts T:V:S  proportions of training, validation and test [8:1:1]; all copies of a formula, in any structure, are in one part.
#                  none: they are not said, so that label.sh shares out the copies (for a model of one material, fine-tune.sh)
#   --only LIST    only these: formulas ("GaAs"), elements ("Ga,As": crystals of nothing else), prototypes ("zincblende,rocksalt")
# pipelines/label.sh takes the file.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "$0")" && pwd)
copies=1 strain=0.03 rattle=0.05 seed=1 parts=8:1:1 only=
usage() { echo "prototypes.sh: $1; see $here/prototypes.sh" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
    --copies | --strain | --rattle | --seed | --parts | --only)
        [ $# -ge 2 ] || usage "$1: argument missing"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    -h | --help) sed -n '2,/^set/{/^# /s/^# //p}' "$0"; exit ;;
    *) usage "$1: no such option" ;;
    esac
done
number='^[0-9]+([.][0-9]*)?$'
[[ $copies =~ ^[1-9][0-9]{0,3}$ ]] || usage "--copies $copies: 1 to 9999 expected"
[[ $seed =~ ^[0-9]{1,9}$ ]] || usage "--seed $seed: a whole number expected"
if ! [[ $strain =~ $number ]] || awk "BEGIN { exit !($strain > 0.2) }"; then usage "--strain $strain: 0 to 0.2 expected"; fi
if ! [[ $rattle =~ $number ]] || awk "BEGIN { exit !($rattle > 0.5) }"; then usage "--rattle $rattle: 0 to 0.5 expected"; fi
[[ $parts == none || $parts =~ ^[0-9]+:[0-9]+:[0-9]+$ && ! $parts =~ ^0+:0+:0+$ ]] || usage "--parts $parts: three proportions, or none, expected"

awk -F '\t' -v copies="$copies" -v strain="$strain" -v rattle="$rattle" -v seed="$seed" -v parts="$parts" -v only="$only" '
    # Park and Miller: exact in double precision, so that every awk gives the same numbers.
    function uniform() { state = (state * 16807) % 2147483647; return state / 2147483647 }
    function normal(   r) { r = sqrt(-2 * log(uniform())); return r * cos(6.283185307179586 * uniform()) }
    function hash(s,   h, i) {
        h = seed % 2147483646 + 1
        for (i = 1; i <= length(s); i++) h = (h * 48271 + ord[substr(s, i, 1)]) % 2147483647
        for (i = 0; i < 4; i++) h = (h * 48271) % 2147483647
        return h
    }
    function cell(s,   v, i) { split(s, v, " "); for (i = 1; i <= 9; i++) L[i] = v[i]; n = 0 }
    function site(k, x, y, z) { kind[++n] = k; X[n] = x; Y[n] = y; Z[n] = z }
    function cubic_f(a) { cell("0 " a/2 " " a/2 " " a/2 " 0 " a/2 " " a/2 " " a/2 " 0") }
    function cubic_p(a) { cell(a " 0 0 0 " a " 0 0 0 " a) }
    function hexagonal(a, c) { cell(a " 0 0 " (-a/2) " " a*sqrt(3)/2 " 0 0 0 " c) }
    function make(p, a, c, u) {
        if (p == "fcc") { cubic_f(a); site(1, 0, 0, 0) }
        else if (p == "bcc") { cell(-a/2 " " a/2 " " a/2 " " a/2 " " (-a/2) " " a/2 " " a/2 " " a/2 " " (-a/2)); site(1, 0, 0, 0) }
        else if (p == "hcp") { hexagonal(a, c); site(1, 1/3, 2/3, 1/4); site(1, 2/3, 1/3, 3/4) }
        else if (p == "diamond") { cubic_f(a); site(1, 0, 0, 0); site(1, .25, .25, .25) }
        else if (p == "zincblende") { cubic_f(a); site(1, 0, 0, 0); site(2, .25, .25, .25) }
        else if (p == "rocksalt") { cubic_f(a); site(1, 0, 0, 0); site(2, .5, .5, .5) }
        else if (p == "cscl") { cubic_p(a); site(1, 0, 0, 0); site(2, .5, .5, .5) }
        else if (p == "fluorite") { cubic_f(a); site(1, 0, 0, 0); site(2, .25, .25, .25); site(2, .75, .75, .75) }
        else if (p == "half-heusler") { cubic_f(a); site(1, 0, 0, 0); site(2, .5, .5, .5); site(3, .25, .25, .25) }
        else if (p == "wurtzite") { hexagonal(a, c); site(1, 1/3, 2/3, 0); site(1, 2/3, 1/3, .5); site(2, 1/3, 2/3, u); site(2, 2/3, 1/3, u + .5) }
        else if (p == "perovskite") { cubic_p(a); site(1, 0, 0, 0); site(2, .5, .5, .5); site(3, .5, .5, 0); site(3, .5, 0, .5); site(3, 0, .5, .5) }
        else if (p == "l12") { cubic_p(a); site(1, 0, 0, 0); site(2, .5, .5, 0); site(2, .5, 0, .5); site(2, 0, .5, .5) }
        else if (p == "rutile") {
            cell(a " 0 0 0 " a " 0 0 0 " c); site(1, 0, 0, 0); site(1, .5, .5, .5)
            site(2, u, u, 0); site(2, 1 - u, 1 - u, 0); site(2, .5 + u, .5 - u, .5); site(2, .5 - u, .5 + u, .5)
        } else if (p == "molybdenite") {
            hexagonal(a, c); site(1, 1/3, 2/3, .25); site(1, 2/3, 1/3, .75)
            site(2, 1/3, 2/3, u); site(2, 2/3, 1/3, u - .5); site(2, 2/3, 1/3, 1 - u); site(2, 1/3, 2/3, 1.5 - u)
        } else { print "prototypes.sh: prototype " p "?" > "/dev/stderr"; exit bad = 1 }
    }
    function wanted(   i, m, ok) {
        if (only == "" || $1 in chosen || formula in chosen) return 1
        m = split($2, e, " "); ok = 1
        for (i = 1; i <= m; i++) ok = ok && (e[i] in chosen)
        return ok
    }
    BEGIN {
        for (i = 1; i < 256; i++) ord[sprintf("%c", i)] = i
        m = split(only, list, ",")
        for (i = 1; i <= m; i++) chosen[list[i]]
        split(parts, share, ":")
    }
    /^#/ || !NF { next }
    {
        make($1, $3, $4, $5)
        split($2, e, " ")
        formula = sorted = ""
        split("", count)
        for (i = 1; i <= n; i++) count[kind[i]]++
        least = count[1]
        for (k = 2; k in count; k++) { x = count[k]; y = least; while (y) { t = x % y; x = y; y = t } least = x }
        for (k = 1; k in count; k++) formula = formula e[k] (count[k] > least ? count[k] / least : "")
        if (!wanted()) next
        # The part hangs on what the crystal is made of, not on the order of the elements or the structure.
        for (k = 1; k in count; k++) name[k] = e[k] count[k] / least
        for (i = 1; i < k - 1; i++) for (j = i + 1; j < k; j++) if (name[j] < name[i]) { t = name[i]; name[i] = name[j]; name[j] = t }
        for (i = 1; i < k; i++) sorted = sorted name[i]
        at = hash(sorted) / 2147483647 * (share[1] + share[2] + share[3])
        part = at < share[1] ? "train" : at < share[1] + share[2] ? "validation" : "test"
        for (c = 1; c <= copies; c++) {
            state = hash(sorted $1 c)
            for (i = 1; i <= 6; i++) s[i] = c > 1 ? strain * (2 * uniform() - 1) : 0
            # rows of 1 + strain, which is symmetric
            split((1 + s[1]) " " s[6] " " s[5] " " s[6] " " (1 + s[2]) " " s[4] " " s[5] " " s[4] " " (1 + s[3]), F, " ")
            for (i = 0; i < 3; i++) for (j = 1; j <= 3; j++) M[3 * i + j] = L[3*i+1] * F[j] + L[3*i+2] * F[3+j] + L[3*i+3] * F[6+j]
            text = n "\nLattice=\""
            for (i = 1; i <= 9; i++) text = text (i > 1 ? " " : "") sprintf("%.8f", M[i])
            text = text "\" Properties=species:S:1:pos:R:3 pbc=\"T T T\" id=" formula "-" $1 (copies > 1 ? "-" c : "") " formula=" formula " prototype=" $1 (parts == "none" ? "" : " part=" part)
            for (i = 1; i <= n; i++) {
                for (j = 1; j <= 3; j++) r[j] = X[i] * M[j] + Y[i] * M[3+j] + Z[i] * M[6+j] + (c > 1 ? rattle * normal() : 0)
                text = text sprintf("\n%s %.8f %.8f %.8f", e[kind[i]], r[1], r[2], r[3])
            }
            frame[n] = frame[n] text "\n"
            made++
        }
    }
    END {
        if (bad) exit 1
        if (!made) { print "prototypes.sh: no crystal of prototypes.tsv is made of \"" only "\"" > "/dev/stderr"; exit 1 }
        for (i = 1; i < 100; i++) printf "%s", frame[i]
    }' "$here/prototypes.tsv"
