# Every input of tests/fuzz/corpus goes through its reader: no crash, no report of a sanitizer.
load helper

replay() { # the target's corpus
    run timeout 60 "${NH_REPLAY:-$PWD/build/release/fuzz/replay}" "$1" "tests/fuzz/corpus/$1"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "$output" == "$1: "*" inputs" && "$output" != "$1: 0 inputs" ]]
}

@test "fuzz: every target has a corpus, every corpus a target" {
    [ "$("${NH_REPLAY:-$PWD/build/release/fuzz/replay}" --list | sort)" = "$(ls tests/fuzz/corpus | sort)" ]
}

@test "fuzz: structures, k-points, logs" {
    for t in stru poscar xyz cif input kpt log; do replay $t; done
}

@test "fuzz: matrices, orbitals, pseudopotentials, compressed text" {
    for t in csr csr-binary orbital upf stream; do replay $t; done
}

@test "fuzz: YAML, settings, small languages" {
    for t in yaml settings words; do replay $t; done
}

@test "fuzz: checkpoints" {
    for t in zip pickle tensors; do replay $t; done
}

@test "fuzz: netCDF kinds" {
    for t in graph kspace eigen model; do replay $t; done
}

@test "fuzz: make fuzz without clang says what is missing" {
    run make fuzz CLANG=no-such-clang
    echo "$output"
    [ "$status" -ne 0 ]
    [[ "$output" == *"libFuzzer needs clang"* ]]
}
