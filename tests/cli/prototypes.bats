# pipelines/prototypes.sh: structures to make training data of.

setup() {
    load helper
    T=$BATS_TEST_TMPDIR
}

# Distances from the first atom of a frame to all others up to 3 cells away, ascending: nearest FILE ID
nearest() {
    awk -v id="id=$2" '
        $0 ~ "^Lattice=" && index($0 " ", id " ") { on = 1; text = $0; gsub(/^Lattice="|".*/, "", text); split(text, L, " "); next }
        on && NF == 4 { n++; for (i = 1; i <= 3; i++) r[n, i] = $(i + 1); next }
        on { on = 0 }
        END {
            for (b = 1; b <= n; b++) for (i = -3; i <= 3; i++) for (j = -3; j <= 3; j++) for (k = -3; k <= 3; k++) {
                d = 0
                for (x = 1; x <= 3; x++) { v = r[b, x] - r[1, x] + i * L[x] + j * L[3 + x] + k * L[6 + x]; d += v * v }
                if (d > 1e-9) printf "%.4f\n", sqrt(d)
            }
        }' "$1" | sort -n
}

@test "prototypes.sh: every crystal of the table, small ones first, distances as known" {
    pipelines/prototypes.sh > "$T/all.xyz"
    [ "$(grep -c '^Lattice' "$T/all.xyz")" -eq "$(grep -vc '^#' pipelines/prototypes.tsv)" ]
    grep -E '^[0-9]+$' "$T/all.xyz" | sort -nc
    [ -z "$(grep -o ' id=[^ ]*' "$T/all.xyz" | sort | uniq -d)" ]
    # a crystal, its nearest distance, and how many neighbours are there
    while read -r id distance neighbours; do
        [ "$(nearest "$T/all.xyz" "$id" | head -n "$neighbours" | uniq)" = "$distance" ] || { echo "$id: $(nearest "$T/all.xyz" "$id" | head -n 3)"; false; }
        [ "$(nearest "$T/all.xyz" "$id" | sed -n "$((neighbours + 1))p")" != "$distance" ]
    done <<'X'
Al-fcc 2.8634 12
W-bcc 2.7411 8
Si-diamond 2.3517 4
GaAs-zincblende 2.4480 4
MgO-rocksalt 2.1056 6
CsCl-cscl 3.5706 8
CaF2-fluorite 2.3654 8
SrTiO3-perovskite 2.7613 12
TiSnNi-half-heusler 2.5678 4
AuCu3-l12 2.6512 12
X
    # two lengths each, from the axial ratio and u: ZnO 1.989 and 1.974, TiO2 1.948 and 1.980, MoS2 2.413 six times
    [ "$(nearest "$T/all.xyz" ZnO-wurtzite | head -n 4 | cut -c 1-5 | uniq | xargs)" = "1.974 1.989" ]
    [ "$(nearest "$T/all.xyz" TiO2-rutile | head -n 6 | uniq | cut -c 1-5 | xargs)" = "1.948 1.980" ]
    [ "$(nearest "$T/all.xyz" MoS2-molybdenite | head -n 6 | uniq | wc -l)" -eq 1 ]
    # programs read them
    awk 'NR <= 3' "$T/all.xyz" > "$T/one.xyz"
    "$BIN/mkgraph" -q --basis Al:2s2p1d -o "$T/one.nc" "$T/one.xyz"
}

@test "prototypes.sh: copies are strained and rattled, the same for a seed; a formula is in one part" {
    pipelines/prototypes.sh --copies 4 --only GaAs,Ga,As > "$T/a.xyz"
    pipelines/prototypes.sh --copies 4 --only GaAs,Ga,As > "$T/b.xyz"
    cmp "$T/a.xyz" "$T/b.xyz"
    pipelines/prototypes.sh --copies 4 --only GaAs,Ga,As --seed 2 > "$T/c.xyz"
    ! cmp -s "$T/a.xyz" "$T/c.xyz"
    [ "$(nearest "$T/a.xyz" GaAs-zincblende-1 | head -n 4 | uniq)" = 2.4480 ]
    [ "$(nearest "$T/a.xyz" GaAs-zincblende-2 | head -n 4 | uniq | wc -l)" -eq 4 ]
    pipelines/prototypes.sh --copies 3 > "$T/all.xyz"
    grep -o 'formula=.*' "$T/all.xyz" | awk '{ if (($1 in part) && part[$1] != $3) exit 1; part[$1] = $3 }'
    [ "$(grep -o 'part=.*' "$T/all.xyz" | sort -u | xargs)" = "part=test part=train part=validation" ]
    pipelines/prototypes.sh --parts none > "$T/none.xyz"
    ! grep -q part= "$T/none.xyz"
    [ "$(pipelines/prototypes.sh --only BeSe,Si | grep -o ' id=[^ ]*' | xargs)" = "id=Si-diamond id=BeSe-zincblende" ]
    # of a width that is asked for: without both, copies are the perfect crystal
    pipelines/prototypes.sh --copies 2 --strain 0 --rattle 0 --only Si > "$T/none.xyz"
    [ "$(awk '/^Si/' "$T/none.xyz" | sort -u | wc -l)" -eq 2 ]
}

@test "prototypes.sh: wrong command lines and elements that are not there are one line" {
    for bad in "--copies 0" "--copies x" "--strain 3" "--rattle -1" "--seed 1.5" "--parts 1:2" "--parts 0:0:0" "--copies" "--what 1"; do
        # shellcheck disable=SC2086
        run pipelines/prototypes.sh $bad
        [ "$status" -eq 2 ] && [ "${#lines[@]}" -eq 1 ] || { echo "$bad: $status $output"; false; }
    done
    run pipelines/prototypes.sh --only Uuo
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
}
