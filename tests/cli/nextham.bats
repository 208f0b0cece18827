# nextham: the whole chain on one crystal, and the other programs by their names.
load helper
bats_require_minimum_version 1.5.0

setup() {
    T=$BATS_TEST_TMPDIR
}

@test "bands of an ABACUS run: files, summary, picture, the level that fills the predicted bands" {
    run --separate-stderr "$BIN/nextham" bands --no-check -m pipelines/model.nc --mesh 3 3 3 --total 40 -o "$T/out" pipelines/GaAs
    [ "$status" -eq 0 ]
    for f in graph.nc ham.nc bands.nc mesh.nc dos.tsv bands.svg; do [ -s "$T/out/$f" ]; done
    [[ "$output" == *"crystal       GaAs, 2 atoms, 38 orbitals"* ]]
    [[ "$output" == *"on a 3x3x3 mesh"* ]]
    [[ "$stderr" == *"lattice cF2"* ]]
    # The same numbers from the programs by hand.
    level=$("$BIN/dos" -q --format summary "$T/out/mesh.nc" | tail -1 | cut -f3)
    [[ "$output" == *"states        $T/out/dos.tsv, by element"* ]]
    grep -q 'density of states' "$T/out/bands.gp"
    [[ "$output" == *"Fermi level   $level eV"* ]]
    gap=$("$BIN/bandplot-data" -q --format summary --dos "$T/out/dos.tsv" "$T/out/mesh.nc" | tail -1 | cut -f5)
    [[ "$output" == *"gap           $gap eV"* ]]
}

@test "--dry-run prints commands that work by themselves, names quoted" {
    mkdir "$T/a b"
    cp -r pipelines/GaAs "$T/a b/it's"
    "$BIN/nextham" bands --no-check --dry-run --project shell -m pipelines/model.nc --mesh 2 2 2 --total 20 -o "$T/out" "$T/a b/it's" > "$T/commands"
    [ "$(wc -l < "$T/commands")" -eq 8 ]
    [ ! -e "$T/out" ]
    mkdir "$T/out"
    PATH=$BIN:$PATH bash -e "$T/commands" 2> /dev/null
    [ -s "$T/out/bands.svg" ]
}

@test "a graph or a prediction as input; a folder that is there already" {
    "$BIN/mkgraph" -q --abacus pipelines/GaAs -o "$T/graph.nc"
    "$BIN/nextham" bands -q --no-check -m pipelines/model.nc --mesh 2 2 2 --total 20 -o "$T/out" "$T/graph.nc" > "$T/one"
    "$BIN/nextham" bands -q --no-check -m pipelines/model.nc --mesh 2 2 2 --total 20 -o "$T/out" "$T/out/ham.nc" > "$T/two"
    cmp <(grep -v seconds "$T/one") <(grep -v seconds "$T/two")
}

@test "programs by their names; a list of them" {
    cmp <("$BIN/nextham" mkgraph --help) <("$BIN/mkgraph" --help)
    run "$BIN/nextham" geneig --mesh 2 2 2 /nonexistent
    [ "$status" -eq 1 ]
    [[ "$output" == "geneig: /nonexistent: "* ]]
    "$BIN/nextham" --list > "$T/list"
    for p in mkgraph nhinfer geneig; do grep -Eq "^$p +[a-zH].* in" "$T/list" || grep -q "^$p " "$T/list"; done
    ! grep -q "^nextham" "$T/list"
}

@test "the model: -m, then the environment; none is an error" {
    NEXTHAM_MODEL=$T/no.nc run "$BIN/nextham" bands --no-check --mesh 2 2 2 -o "$T/out" pipelines/GaAs
    [ "$status" -eq 1 ]
    [[ "$output" == *"$T/no.nc"* ]]
    mkdir "$T/data"
    cp pipelines/model.nc "$T/data/model.nc"
    NEXTHAM_DATA=$T/data "$BIN/nextham" bands --dry-run pipelines/GaAs | grep -q -- "-m $T/data/model.nc"
}

@test "bad input: one line, the program that failed is named" {
    run "$BIN/nextham" bands --no-check /nonexistent
    [ "$status" -eq 1 ]
    [ "$output" = "nextham: /nonexistent: No such file or directory" ]
    run "$BIN/nextham"
    [ "$status" -eq 2 ]
    run "$BIN/nextham" bands
    [ "$status" -eq 2 ]
    run "$BIN/nextham" ../bin/geneig
    [ "$status" -eq 2 ]
    run "$BIN/nextham" bands --mesh 0 1 1 pipelines/GaAs
    [ "$status" -eq 2 ]
    mkdir "$T/empty"
    run "$BIN/nextham" bands -q --no-check -m pipelines/model.nc -o "$T/out" "$T/empty"
    [ "$status" -eq 1 ]
    [[ "${lines[0]}" == "mkgraph: $T/empty"* ]]
    [ "${lines[1]}" = "nextham: mkgraph: exit status 1" ]
}

@test "a structure alone: h0build, prediction, bands, certificate; without pseudopotentials one line says so" {
    /usr/bin/python3 tests/data/make_species.py "$T"
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n.1 .12 .14\n.36 .35 .4\n' > "$T/BN.vasp"
    run --separate-stderr "$BIN/nextham" bands --ecut 30 --mesh 2 2 2 --total 20 -m pipelines/model.nc --pseudo-dir "$T/pseudo" \
        --orbital-dir "$T/orbital" -o "$T/out" "$T/BN.vasp"
    echo "$output"
    echo "$stderr"
    [ "$status" -eq 0 ]
    [[ "$output" == *"crystal       BN, 2 atoms"* ]]
    [[ "$output" == *"certificate   $T/out/check.txt"*"residual, Gauge MAE"* ]]
    [[ "$stderr" == *"[5/5] certificate"* ]]
    grep -q "residual" "$T/out/check.txt"
    NEXTHAM_PSEUDO='' NEXTHAM_ORBITAL='' run "$BIN/nextham" bands -q -m pipelines/model.nc -o "$T/none" "$T/BN.vasp"
    [ "$status" -eq 1 ]
    [[ "${lines[0]}" == "h0build: "*"--pseudo-dir"* ]]
}
