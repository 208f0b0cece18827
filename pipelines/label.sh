#!/usr/bin/env bash
# Training data from structures:  label.sh LIST OUT [TRAIN:VALIDATION:TEST [SEED]]
#   LIST: as crystals.sh has it; or extended XYZ, also packed with xz, one crystal a frame, whose comment lines may say id= and part=.
# OUT/graph/NAME/NAME.nc is the graph of each crystal with S, H0 and the self-consistent h_label (native.sh), OUT/train.list,
# validation.list, test.list those of each part, OUT/crystals.tsv a row of facts for each, OUT/statistics.txt the data set at a glance,
# OUT/failed.tsv what failed and why. What is there and newer than its structure is not made again: a run that was stopped goes on.
# In the environment: JOBS [one for each core] crystals at a time, THREADS [1] of each; MOST, so many crystals of the list only; and what
# native.sh takes. Exit status 1 only where there is no crystal at all.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "$0")" && pwd)
export BIN=${BIN:-$here/../bin} LABELS=1 THREADS=${THREADS:-1}
list=$1 out=$2
[ -f "$list" ] || { echo "label.sh: $list: no such file" >&2; exit 1; }
mkdir -p "$out/graph"
out=$(cd "$out" && pwd)

# Frames of a long XYZ file as files of their own; what is there is left as it is, so that nothing looks newer than it is.
case $list in
*.xyz | *.xyz.xz)
    mkdir -p "$out/structures"
    case $list in *.xz) xzcat "$list" ;; *) cat "$list" ;; esac | awk -v OFS='\t' -v folder="$out/structures" '
        function said(key,   at) {
            if (!match(" " comment, " " key "=[^ ]*")) return ""
            at = substr(" " comment, RSTART + length(key) + 2, RLENGTH - length(key) - 2)
            gsub(/"/, "", at)
            return at
        }
        left == 0 { if ($0 ~ /^ *$/) next; n = left = $1; head = $0; getline comment; frame++
            name = said("id"); gsub(/[^A-Za-z0-9_.+-]/, "_", name); if (name == "") name = "crystal-" frame
            part = said("part"); sub(/^test-.*/, "test", part); sub(/^val$/, "validation", part)
            file = folder "/" name ".xyz.new"; print head "\n" comment > file; next }
        { print > file; if (--left == 0) { close(file); print name ".xyz", name, part } }' > "$out/structures/list.new"
    for new in "$out"/structures/*.xyz.new; do
        old=${new%.new}
        if cmp -s "$new" "$old"; then rm "$new"; else mv "$new" "$old"; fi
    done
    mv "$out/structures/list.new" "$out/structures/list"
    list=$out/structures/list
    ;;
esac
"$here/crystals.sh" "$list" "${3:-8:1:1}" "${4:-1}" | { if [ -n "${MOST:-}" ]; then head -n "$MOST"; else cat; fi; } > "$out/all.tsv"
[ -s "$out/all.tsv" ] || { echo "label.sh: $1: no crystals" >&2; exit 1; }

# --- the crystals, several at a time: each a process of its own
one() {
    local folder=$out/graph/$1 file=$out/graph/$1/$1.nc
    [ ! -e "$file" ] || [ -e "$folder/failed" ] || [ "$file" -ot "$2" ] || return 0
    rm -f "$file"
    "$here/attempt.sh" "$folder" "$here/graph.sh" "$2" "$file" || true
}
export -f one
export here out
cut -f 1,2 "$out/all.tsv" | tr '\t\n' '\0\0' | xargs -0 -n 2 -P "${JOBS:-$(nproc)}" bash -c 'one "$@"' -

# --- lists, facts, failures
for part in train validation test; do
    awk -F '\t' -v part=$part '$3 == part { print $1 }' "$out/all.tsv" | while read -r name; do
        [ -e "$out/graph/$name/failed" ] || [ ! -e "$out/graph/$name/$name.nc" ] || echo "graph/$name/$name.nc"
    done > "$out/$part.list"
done
: > "$out/failed.tsv"
printf '#crystal\tpart\tformula\tatoms\telements\tnelec\tefermi\tgap\titerations\tdrho\tseconds\n' > "$out/crystals.tsv"
while IFS=$'\t' read -r name _ part; do
    folder=$out/graph/$name
    if [ -e "$folder/failed" ]; then
        printf '%s\t%s\n' "$name" "$(cat "$folder/failed")" >> "$out/failed.tsv"
        continue
    fi
    ncdump -v atomic_number,atom_species "$folder/$name.nc" | awk -v OFS='\t' -v name="$name" -v part="$part" \
        -v seconds="$(awk '{ s += $2 } END { printf "%.1f", s }' "$folder/$name.times")" '
        BEGIN {
            split("H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru " \
                "Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn", symbol, " ")
        }
        /^\t\t:/ { key = $1; sub(/^:/, "", key); fact[key] = $3 }
        /scf_iteration = / { fact["n"] = $3 }
        /^[ \t]*atom = / { atoms = $3 }
        /^data:/ { data = 1 }
        data && /atomic_number = |atom_species = / { on = $1 }
        data && on { line = line " " $0; if (/;/) { gsub(/.*=|[,;]/, " ", line); text[on] = line; line = on = "" } }
        END {
            n = split(text["atomic_number"], z, " "); m = split(text["atom_species"], s, " ")
            for (i = 1; i <= m; i++) count[s[i] + 1]++
            for (i = 1; i <= n; i++) { formula = formula symbol[z[i]] (count[i] > 1 ? count[i] : ""); elements = elements (i > 1 ? "," : "") symbol[z[i]] }
            print name, part, formula, atoms, elements, fact["nelec"], fact["efermi"], fact["gap"], fact["n"], fact["scf_residual"], seconds
        }' >> "$out/crystals.tsv"
done < "$out/all.tsv"

awk -F '\t' -v failed="$(wc -l < "$out/failed.tsv")" '
    /^#/ { next }
    {
        n++; part[$2]++; atoms[$4]++; seconds += $11; iterations += $9; if ($8 + 0 > 0.01) gapped++
        k = split($5, e, ","); kinds[k]++
        for (i = 1; i <= k; i++) { element[e[i]]++; if (!(($2, e[i]) in seen)) { seen[$2, e[i]]; elements_of[$2]++ } }
        if (($3 in home) && home[$3] != $2 && !($3 in shared)) { shared[$3]; twice = twice " " $3 }
        home[$3] = $2
    }
    function row(title, a,   key, text, order, i, j, t) {
        j = 0
        for (key in a) order[++j] = key
        for (i = 2; i <= j; i++) for (t = i; t > 1 && (order[t] + 0 < order[t-1] + 0 || (order[t] + 0 == order[t-1] + 0 && order[t] < order[t-1])); t--) { key = order[t]; order[t] = order[t-1]; order[t-1] = key }
        for (i = 1; i <= j; i++) text = text "  " order[i] ": " a[order[i]]
        print title text
    }
    END {
        printf "%d crystals, %d failed; %d with a gap above 0.01 eV on their mesh\n", n, failed, gapped
        row("parts:   ", part)
        row("elements of each part:", elements_of)
        row("atoms a cell (atoms: crystals):", atoms)
        row("elements a crystal (elements: crystals):", kinds)
        row("crystals with each element:", element)
        if (n) printf "seconds a crystal: %.1f, iterations: %.1f (means)\n", seconds / n, iterations / n
        if (twice != "") print "WARNING: formulas in more than one part:" twice
    }' "$out/crystals.tsv" > "$out/statistics.txt"
cat "$out/statistics.txt"
[ ! -s "$out/failed.tsv" ] || { echo "failed:"; sed 's/^/  /' "$out/failed.tsv"; }
[ -s "$out/train.list" ] || [ -s "$out/validation.list" ] || [ -s "$out/test.list" ]
