# The schemas in formats/netcdf/*.cdl against what the programs write: every variable of a file stands in the CDL of its kind with the
# same type, dimensions and units, every global attribute by its name, and what a reader needs is there.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    ncgen -k nc4 -o "$T/chain.nc" "$DATA/chain.cdl"
}

need() {
    for p in "$@"; do [ -x "$BIN/$p" ] || skip "no $p yet"; done
}

# What a file declares, one a line: dimensions of fixed meaning, variables with group, type and dimensions, units, attributes.
# Where a schema leaves float or double to the user, the type reads "real".
declared() {
    ncdump -h "$1" | awk '
        $1 == "group:" { group = $2 "/"; next }
        /^[ \t]*}/ { group = ""; next }
        $2 == "=" && /^[ \t]*(xyz|ri) = / { print "dimension", $1, $3; next }
        $2 == "=" && /^[ \t]*kpoint = / { print "dimension", $1, $3 == "UNLIMITED" ? $3 : "fixed"; next }
        /^[ \t]*(double|float|int|int64|string) [^:]*;$/ {
            type = $1
            sub(/^[ \t]*[a-z0-9]+ /, ""); sub(/ ;$/, "")
            if (type ~ /^(float|double)$/ && (group != "" || /^(overlap|kinetic|position_matrix|h0|h_label|h_pred|feature)\(/)) type = "real"
            print "variable", group type, $0
            next
        }
        $1 ~ /:units$/ { sub(/^[ \t]*/, ""); sub(/ ;$/, ""); print "units", $0; next }
        /^[ \t]*:/ { sub(/^[ \t]*:/, ""); sub(/ =.*/, ""); print "attribute", $0 }' | sort -u
}

# follows FILE KIND REQUIRED...: FILE declares nothing that formats/netcdf/KIND.cdl does not, and everything REQUIRED.
follows() {
    ncgen -k nc4 -o "$T/schema.nc" "formats/netcdf/$2.cdl"
    declared "$T/schema.nc" > "$T/schema"
    declared "$1" > "$T/found"
    unknown=$(comm -13 "$T/schema" "$T/found")
    [ -z "$unknown" ] || { echo "$1: not in formats/netcdf/$2.cdl: $unknown"; return 1; }
    for name in "${@:3}"; do
        grep -Eq "^(variable [^ ]* $name\(|attribute $name\$)" "$T/found" || { echo "$1: no $name"; return 1; }
    done
    # a variable without units is either declared so, or wrong
    for line in $(awk '$1 == "variable" { print substr($3, 1, index($3, "(") - 1) }' "$T/found"); do
        ! grep -q "^units $line:" "$T/schema" || grep -q "^units $line:" "$T/found" || { echo "$1: $line has no units"; return 1; }
    done
}

crystal=(Conventions cutoff lattice position atom_species atomic_number species_shells shell_l pair_src pair_dst pair_cell
    pair_distance pair_start)
kpoints=(Conventions source history title matrix k_mode kpoint k_weight k_distance k_label)

@test "the comparison itself sees a wrong type, a wrong dimension, wrong units, an unknown variable, a missing one" {
    follows "$T/chain.nc" graph "${crystal[@]}"
    for change in 's/int pair_src(pair)/int64 pair_src(pair)/' 's/double pair_distance(pair)/double pair_distance(elem)/' \
        's/"eV"/"Ry"/' 's/  int shell_l(shell) ;/&\n  int surprise(atom) ;/' '/^  int pair_dst/d; /^  pair_dst =/d' \
        's/:cutoff/:cut_off/' '/^  double position/s/position:units.*//'; do
        sed "$change" "$DATA/chain.cdl" > "$T/wrong.cdl"
        ! cmp -s "$T/wrong.cdl" "$DATA/chain.cdl"
        ncgen -k nc4 -o "$T/wrong.nc" "$T/wrong.cdl"
        run follows "$T/wrong.nc" graph "${crystal[@]}"
        [ "$status" -eq 1 ] || { echo "not seen: $change"; return 1; }
    done
}

@test "graph.cdl: mkgraph" {
    need mkgraph
    run=pipelines/GaAs
    [ -d $run ] || run=$SHARED/data/abacus/Si
    [ -d "$run" ] || skip "no ABACUS run"
    "$BIN/mkgraph" --abacus "$run" -o "$T/graph.nc"
    follows "$T/graph.nc" graph "${crystal[@]}" source history title rydberg efermi nelec overlap h0 h_label
}

@test "graph.cdl: h0build" {
    need h0build
    /usr/bin/python3 "$DATA/make_species.py" "$T"
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > "$T/POSCAR"
    for precision in single double; do
        "$BIN/h0build" -q --pseudo-dir "$T/pseudo" --orbital-dir "$T/orbital" --ecut 20 --kinetic --position \
            --precision $precision "$T/POSCAR" -o "$T/graph.nc"
        follows "$T/graph.nc" graph "${crystal[@]}" source history title rydberg nelec overlap h0 kinetic position_matrix \
            ecut grid h0_from orbital_hash pseudo_hash
    done
}

@test "graph.cdl: nhscf" {
    need h0build nhscf
    /usr/bin/python3 "$DATA/make_species.py" "$T"
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > "$T/POSCAR"
    local folders=(--pseudo-dir "$T/pseudo" --orbital-dir "$T/orbital")
    "$BIN/h0build" -q "${folders[@]}" --ecut 20 "$T/POSCAR" | "$BIN/nhscf" -q "${folders[@]}" --mesh 2 1 1 -o "$T/label.nc"
    follows "$T/label.nc" graph "${crystal[@]}" source history title rydberg nelec efermi overlap h0 h_label converged gap energy_total \
        scf_mesh scf_drho scf_energy scf_band orbital_hash pseudo_hash ecut
    "$BIN/nhscf" -q "${folders[@]}" --mesh 2 1 1 --check --start h0 -o "$T/checked.nc" "$T/label.nc"
    follows "$T/checked.nc" graph check_matrix check_gauge_mae check_band check_band_error scf_drho
}

@test "graph.cdl: h0embed" {
    need h0embed
    "$BIN/h0embed" -o "$T/embedded.nc" "$T/chain.nc"
    follows "$T/embedded.nc" graph "${crystal[@]}" source history feature edge_pair irreps shell_pairs padded_basis overlap h0
    "$BIN/h0embed" --precision double -o "$T/embedded.nc" "$T/chain.nc"
    follows "$T/embedded.nc" graph feature
    "$BIN/h0embed" --no-h0 -o "$T/elements.nc" "$T/chain.nc"
    follows "$T/elements.nc" graph element
}

@test "model.cdl: nhmodel" {
    need nhmodel
    ncgen -k nc4 -o "$T/example.nc" formats/netcdf/model.cdl
    # the example's own config makes a model with exactly the variables of the example
    sed -n 's/.*:config = "\(.*\)" ;$/\1/p' formats/netcdf/model.cdl | sed 's/\\n/\n/g' > "$T/example.yaml"
    "$BIN/nhmodel" init --config "$T/example.yaml" --seed 1 -o "$T/model.nc"
    declared "$T/example.nc" > "$T/schema"
    declared "$T/model.nc" > "$T/found"
    diff "$T/schema" "$T/found"
    [ "$(grep -c '^variable range0/real ' "$T/found")" -gt 100 ]
}

@test "graph.cdl: nhinfer" {
    need nhmodel nhinfer
    sed -n 's/.*:config = "\(.*\)" ;$/\1/p' formats/netcdf/model.cdl | sed 's/\\n/\n/g' |
        sed 's/^cutoff: .*/cutoff: 2.5/; s/^ranges: .*/ranges: [[0, 2.5]]/' > "$T/example.yaml"
    "$BIN/nhmodel" init --config "$T/example.yaml" --seed 1 -o "$T/model.nc"
    "$BIN/nhinfer" -m "$T/model.nc" -o "$T/ham.nc" "$T/chain.nc"
    follows "$T/ham.nc" graph "${crystal[@]}" source history overlap h0 h_pred
}

@test "kspace.cdl: fourier" {
    need fourier
    "$BIN/fourier" --path "G 0 0 0; X .5 0 0" -n 4 -o "$T/hk.nc" "$T/chain.nc"
    follows "$T/hk.nc" kspace "${kpoints[@]}" hk sk electrons_per_band
}

@test "eigen.cdl: geneig" {
    need geneig
    "$BIN/geneig" --path "G 0 0 0; X .5 0 0" -n 4 --vectors -o "$T/eig.nc" "$T/chain.nc"
    follows "$T/eig.nc" eigen "${kpoints[@]}" eigenvalue eigenvector electrons_per_band band_first
    "$BIN/geneig" --path "G 0 0 0; X .5 0 0" -n 4 --window -9: -o "$T/eig.nc" "$T/chain.nc"
    follows "$T/eig.nc" eigen "${kpoints[@]}" eigenvalue
    "$BIN/geneig" --path "G 0 0 0; X .5 0 0" -n 4 --project element --spin -o "$T/eig.nc" "$T/chain.nc"
    follows "$T/eig.nc" eigen eigenvalue lattice projection group_name projected_by spin
    "$BIN/geneig" --path "G 0 0 0; X .5 0 0" -n 4 --against h_label -o "$T/eig.nc" "$T/chain.nc"
    follows "$T/eig.nc" eigen eigenvalue s_norm s_condition h_difference_norm against h_difference_mu
}
