# nhinfer: features and a model in, Hamiltonian out. The numbers are checked in tests/unit/test_predict.c.
load helper
load tiny_net

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    T=$BATS_TEST_TMPDIR
    ncgen -4 -o "$T/graph.nc" "$DATA/tiny_graph.cdl"
    tiny_net > "$T/net.yaml"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 3 -o "$T/model.nc"
}

# Numbers of one variable, one a line.
numbers() { # VARIABLE FILE
    ncdump -p 9,17 -v "$1" "$2" | sed -n "/^ $1 =/,/;/p" | sed "1s/^ $1 =//" | tr -d ' ;}\n' | tr ',' '\n'
    echo
}

# Largest difference of two lists of numbers.
largest_difference() { # FILE FILE
    paste "$1" "$2" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > m) m = d } END { print (NR > 100) ? m : "too few" }'
}

# The model with edited text.
edited_model() { # SED-SCRIPT OUT
    ncdump -p 9,17 "$T/model.nc" | sed "$1" > "$T/model.cdl"
    ncgen -4 -o "$2" "$T/model.cdl"
}

@test "without -m the model of the environment is taken, and named; where there is none, that is an error" {
    NEXTHAM_MODEL=$T/model.nc run "$BIN/nhinfer" -j 1 "$T/graph.nc" -o "$T/default.nc"
    [ "$status" -eq 0 ] && [[ $output == *"with the model $T/model.nc"* ]]
    mkdir "$T/data" && cp "$T/model.nc" "$T/data"
    NEXTHAM_DATA=$T/data run "$BIN/nhinfer" -q -j 1 "$T/graph.nc" -o "$T/default.nc"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    ncdump -h "$T/default.nc" | grep -q ":model = \"$T/data/model.nc\""
    mkdir -p "$T/alone/bin" && cp "$BIN/nhinfer" "$T/alone/bin"
    run env -u NEXTHAM_MODEL -u NEXTHAM_DATA "$T/alone/bin/nhinfer" "$T/graph.nc" -o "$T/none.nc"
    fails 1 "nhinfer:" "no model"
    [ ! -e "$T/none.nc" ]
}

@test "help, version, manual page, wrong command lines" {
    run "$BIN/nhinfer" --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"--no-hermitize"* && "$output" == *"--batch LIST"* && "$output" == *Example* ]]
    run "$BIN/nhinfer" --version
    [ "$status" -eq 0 ]
    run bash -c "'$BIN/nhinfer' --man | groff -man -Tascii -ww 2>&1 >/dev/null"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    run "$BIN/nhinfer" -m "$T/model.nc" --precision half "$T/graph.nc" -o "$T/ham.nc"
    fails 2 "nhinfer:" "half"
    run "$BIN/nhinfer" -m "$T/model.nc" --batch "$T/list"
    fails 2 "nhinfer:" "--outdir"
    run "$BIN/nhinfer" -m "$T/model.nc" --batch "$T/list" --outdir "$T/out" "$T/graph.nc"
    fails 2 "nhinfer:" "--batch"
    run "$BIN/nhinfer" -m - < "$T/model.nc"
    fails 2 "nhinfer:" "standard input"
}

@test "adds h_pred, carries the rest, says which model" {
    "$BIN/nhinfer" -m "$T/model.nc" -o "$T/ham.nc" "$T/graph.nc"
    for v in lattice position pair_src pair_cell overlap h0 h_label; do
        diff <(numbers $v "$T/graph.nc") <(numbers $v "$T/ham.nc")
    done
    ncdump -h "$T/ham.nc" > "$T/header"
    grep -q ':title = "tiny"' "$T/header"
    grep -q ':efermi = -1.5' "$T/header"
    grep -q ":model = \"$T/model.nc\"" "$T/header"
    grep -q ':model_hash = "[0-9a-f]\{16\}"' "$T/header"
    grep -q 'h_pred:units = "eV"' "$T/header"
    grep -q ':source = "nhinfer' "$T/header"
    grep -q 'nhinfer -m .*model.nc -o' "$T/header"
    numbers h0 "$T/graph.nc" > "$T/h0"
    numbers h_pred "$T/ham.nc" > "$T/h_pred"
    [ "$(wc -l < "$T/h0")" -eq "$(wc -l < "$T/h_pred")" ]
    awk -v d="$(largest_difference "$T/h0" "$T/h_pred")" 'BEGIN { exit !(d > 1e-3) }'
    # pairs beyond the model's ranges (the first: 3 A) keep H0
    diff <(head -n 32 "$T/h0") <(head -n 32 "$T/h_pred")
    # a second run replaces h_pred
    "$BIN/nhinfer" -m "$T/model.nc" -o "$T/again.nc" "$T/ham.nc"
    diff "$T/h_pred" <(numbers h_pred "$T/again.nc")
}

@test "from features as from H0, and the features stay behind" {
    "$BIN/h0embed" --basis 2s1p --precision double -o "$T/embedded.nc" "$T/graph.nc"
    "$BIN/nhinfer" -m "$T/model.nc" --precision double -o "$T/a.nc" "$T/graph.nc"
    "$BIN/nhinfer" -m "$T/model.nc" --precision double -o "$T/b.nc" "$T/embedded.nc"
    "$BIN/nhinfer" -m "$T/model.nc" --precision single -o "$T/c.nc" "$T/embedded.nc"
    for f in a b c; do numbers h_pred "$T/$f.nc" > "$T/$f"; done
    awk -v d="$(largest_difference "$T/a" "$T/b")" 'BEGIN { exit !(d < 1e-12) }'
    awk -v d="$(largest_difference "$T/b" "$T/c")" 'BEGIN { exit !(d > 0 && d < 1e-5) }'
    ! ncdump -h "$T/b.nc" | grep -E 'feature|edge_pair|component|irreps|shell_pairs|padded_basis'
    "$BIN/nhinfer" -m "$T/model.nc" --keep-features -o "$T/d.nc" "$T/embedded.nc"
    diff <(numbers feature "$T/embedded.nc") <(numbers feature "$T/d.nc")
    ncdump -h "$T/d.nc" | grep -q ':shell_pairs'
}

@test "pipes; the same bytes at every run and for every number of threads" {
    "$BIN/nhinfer" -m "$T/model.nc" --no-history -j 1 -o "$T/a.nc" "$T/graph.nc"
    "$BIN/nhinfer" -m "$T/model.nc" --no-history -j 2 -o "$T/b.nc" "$T/graph.nc"
    cmp "$T/a.nc" "$T/b.nc"
    "$BIN/h0embed" --basis 2s1p "$T/graph.nc" | "$BIN/nhinfer" -m "$T/model.nc" > "$T/c.nc"
    numbers h_pred "$T/a.nc" > "$T/a"
    numbers h_pred "$T/c.nc" > "$T/c"
    awk -v d="$(largest_difference "$T/a" "$T/c")" 'BEGIN { exit !(d < 1e-5) }'
    "$BIN/nhinfer" -m - "$T/graph.nc" --no-history < "$T/model.nc" > "$T/d.nc"
    diff "$T/a" <(numbers h_pred "$T/d.nc")
    run bash -o pipefail -c "'$BIN/nhinfer' -m '$T/model.nc' '$T/graph.nc' | head -c 1 | wc -c"
    [ "$status" -eq 0 ] || [ "$status" -eq 141 ]
    [ "${lines[0]}" -eq 1 ]
}

@test "Hermitian, unless told not to" {
    # element (0,0) of spin uu of the on-site block of atom 0 is real; off-site blocks are each other's conjugates:
    # pairs 4 (0,1,0) and 5 (1,0,0), elements 52-55 and 56-59
    "$BIN/nhinfer" -m "$T/model.nc" -o "$T/a.nc" "$T/graph.nc"
    "$BIN/nhinfer" -m "$T/model.nc" --no-hermitize -o "$T/b.nc" "$T/graph.nc"
    numbers h_pred "$T/a.nc" > "$T/a"
    numbers h_pred "$T/b.nc" > "$T/b"
    hermitian() { # FILE: blocks of both pairs, ur = uu: numbers 105-112 and 113-120
        diff <(sed -n '105,112p' "$1" | awk 'NR % 2 { print $1 + 0 }') <(sed -n '113,120p' "$1" | awk 'NR % 2 { print $1 + 0 }')
    }
    hermitian "$T/a"
    run hermitian "$T/b"
    [ "$status" -eq 1 ]
}

@test "--timing prints a table on standard error" {
    "$BIN/nhinfer" -m "$T/model.nc" --timing "$T/graph.nc" > "$T/ham.nc" 2> "$T/table"
    cat "$T/table"
    for row in "load model" "load crystal" "embed H0" "forward range0" "forward range1" "write"; do
        grep -Eq "^ *$row +[0-9]+\.[0-9]+\$" "$T/table"
    done
    ncdump -h "$T/ham.nc" > /dev/null
}

@test "many crystals: a bad one does not stop the others" {
    mkdir "$T/in"
    cp "$T/graph.nc" "$T/in/a.nc"
    head -c 3000 "$T/graph.nc" > "$T/in/b.nc"
    cp "$T/graph.nc" "$T/in/c.nc"
    printf '# crystals\na.nc\nb.nc\n\nc.nc\nc.nc\tsecond.nc\r\n%s\n' "$T/graph.nc" > "$T/in/list"
    run "$BIN/nhinfer" -m "$T/model.nc" --no-history -q --batch "$T/in/list" --outdir "$T/out"
    echo "$output"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 2 ]
    [[ "${lines[0]}" == "nhinfer: $T/in/b.nc: "* ]]
    [[ "${lines[1]}" == "nhinfer: $T/in/list: 1 of 5 crystals failed" ]]
    [ "$(cd "$T/out" && echo *)" = "a.nc c.nc graph.nc second.nc" ]
    "$BIN/nhinfer" -m "$T/model.nc" --no-history -o "$T/ham.nc" "$T/graph.nc"
    cmp "$T/ham.nc" "$T/out/second.nc"
    printf 'a.nc\n../in/a.nc\n' > "$T/in/list"
    run "$BIN/nhinfer" -m "$T/model.nc" --batch "$T/in/list" --outdir "$T/out2"
    fails 1 "nhinfer: $T/in/list:2: would be written to" "line 1"
    : > "$T/in/list"
    run "$BIN/nhinfer" -m "$T/model.nc" --batch "$T/in/list" --outdir "$T/out2"
    fails 1 "nhinfer: $T/in/list" "no inputs"
}

refused() { # TEXT... : model or crystal is refused, and nothing is left behind
    run "$BIN/nhinfer" -m "${model:-$T/model.nc}" -o "$T/ham.nc" "${crystal:-$T/graph.nc}"
    fails 1 "nhinfer: " "$@" || return 1
    [ -z "$(find "$T" -name '*ham.nc*')" ]
}

@test "bad models" {
    local model=$T/bad.nc
    refused "bad.nc: No such file"
    size=$(stat -c %s "$T/model.nc")
    for part in 1 3 5 7; do
        head -c $((size * part / 8)) "$T/model.nc" > "$model"
        refused "bad.nc: "
    done
    edited_model '/^ *blocks.0.ga.proj.bias.0 = /s/= [^,]*/= NaNf/' "$model"
    refused "bad.nc: group range0: variable blocks.0.ga.proj.bias.0: element 0 is nan"
    edited_model '/blocks.1.ga.merge_src.bias.0/d' "$model"
    refused "bad.nc: group range0: no variable blocks.1.ga.merge_src.bias.0"
    edited_model '/^ *nonlinear_layers_for_norm_reg.2.bias = /,/;/d; /float nonlinear_layers_for_norm_reg.2.bias/d' "$model"
    refused "bad.nc: group range0: no variable nonlinear_layers_for_norm_reg.2.bias"
    edited_model 's/:config = .*/:config = "network: nextham-v1\\nheads: none" ;/' "$model"
    refused "bad.nc: attribute config:2: heads"
    edited_model '/:config = /d' "$model"
    refused "bad.nc: no attribute config"
    model=$T/graph.nc
    refused "graph.nc: no attribute config: not a model file"
}

@test "a model made for another basis, another cutoff" {
    local model=$T/other.nc
    sed 's/2s1p/1s/' "$T/net.yaml" > "$T/other.yaml"
    "$BIN/nhmodel" init --config "$T/other.yaml" --seed 1 -o "$model"
    refused "graph.nc" "other.nc" "basis of C" "1s"
    sed 's/cutoff: 2.5/cutoff: 3.5/' "$T/net.yaml" > "$T/other.yaml"
    "$BIN/nhmodel" init --config "$T/other.yaml" --seed 1 -o "$model"
    refused "graph.nc" "other.nc" "the graph was made with cutoff 2.5" "the model needs 3.5"
    model=$T/model.nc
    "$BIN/h0embed" --basis 3s1p -o "$T/embedded.nc" "$T/graph.nc"
    local crystal=$T/embedded.nc
    refused "embedded.nc" "padded basis 3s1p" "model.nc is for 2s1p"
}

@test "bad crystals" {
    local crystal=$T/bad.nc
    sed '/^  double h0(/d; /^  h0 =/,/;$/d' "$DATA/tiny_graph.cdl" > "$T/bad.cdl"
    ncgen -4 -o "$crystal" "$T/bad.cdl"
    refused "bad.nc: no variable h0"
    sed '/^  h0 =/{n;s/-0.035,/NaN,/}' "$DATA/tiny_graph.cdl" > "$T/bad.cdl"
    ncgen -4 -o "$crystal" "$T/bad.cdl"
    refused "bad.nc: variable h0: element 0 is nan"
    head -c 4000 "$T/graph.nc" > "$crystal"
    refused "bad.nc: "
    crystal=$T/model.nc
    refused "model.nc: no dimension"
}

@test "unknown variables are a warning, dead ones are not" {
    edited_model '0,/float input_rs/s//float surprise(n4) ;\n float blocks.0.ga_edge.x(n4) ;\n&/' "$T/more.nc"
    run "$BIN/nhinfer" -m "$T/more.nc" -o "$T/ham.nc" "$T/graph.nc"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == "nhinfer: warning: $T/more.nc: 1 unknown variables are not used, surprise the first" ]]
    run "$BIN/nhinfer" -q -m "$T/more.nc" -o "$T/ham.nc" "$T/graph.nc"
    [ -z "$output" ]
}

@test "elements that the model was not trained on: said at once, refused with --strict" {
    # the crystal is C and H
    elements() { edited_model "s/:provenance =.*/&\n:elements = \"$1\" ;/" "$2"; }
    elements "H 3 C 2" "$T/knows.nc"
    elements "H 3 Si 2" "$T/half.nc"
    elements "H three" "$T/lies.nc"
    run "$BIN/nhinfer" --strict -m "$T/knows.nc" -o "$T/knows.ham" "$T/graph.nc"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    run "$BIN/nhinfer" -m "$T/half.nc" -o "$T/half.ham" "$T/graph.nc"
    [ "$status" -eq 0 ] && [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == "nhinfer: warning: $T/graph.nc: C: not in the training data of $T/half.nc;"* ]]
    run "$BIN/nhinfer" -q -m "$T/half.nc" -o "$T/half.ham" "$T/graph.nc"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    for m in knows half; do ncdump -v h_pred "$T/$m.ham" | sed -n '/h_pred =/,$p' > "$T/$m.txt"; done
    cmp "$T/knows.txt" "$T/half.txt"
    run "$BIN/nhinfer" --strict -m "$T/half.nc" -o "$T/x.nc" "$T/graph.nc"
    fails 1 "nhinfer: $T/graph.nc: C: not in the training data of $T/half.nc"
    [ ! -e "$T/x.nc" ]
    run "$BIN/nhinfer" --strict -m "$T/model.nc" -o "$T/x.nc" "$T/graph.nc"
    fails 1 "nhinfer: $T/model.nc: no attribute elements"
    run "$BIN/nhinfer" -m "$T/lies.nc" -o "$T/x.nc" "$T/graph.nc"
    fails 1 "nhinfer: $T/lies.nc: attribute elements: H: a number of crystals expected"
    # of many crystals, those that it knows
    printf '%s\n' "$T/graph.nc" > "$T/list"
    run "$BIN/nhinfer" --strict -m "$T/half.nc" --batch "$T/list" --outdir "$T/out"
    [ "$status" -eq 1 ] && [[ "$output" == *"C: not in the training data"* ]]
    # a smaller file says it too
    "$BIN/nhmodel" pack "$T/half.nc" -o "$T/small.nc"
    "$BIN/nhmodel" info "$T/small.nc" | grep -q "^elements  *2, with the number of training crystals: H 3 Si 2$"
}

@test "orbitals and pseudopotentials of other files than the model's: a warning, refused with --strict" {
    names() { edited_model "s/:provenance =.*/&\n:elements = \"H 1 C 1\" ;\n:orbital_hash = \"$1\" ;\n:pseudo_hash = \"$2\" ;/" "$3"; }
    names "H:aa C:bb" "H:cc C:dd" "$T/known.nc"
    names "H:aa C:bc" "Ga:ee" "$T/other.nc"
    sed 's/:cutoff/:orbital_hash = "C:bb H:aa" ; :pseudo_hash = "C:dd H:cc" ; &/' "$DATA/tiny_graph.cdl" > "$T/named.cdl"
    ncgen -4 -o "$T/named.nc" "$T/named.cdl"
    for graph in named graph; do
        run "$BIN/nhinfer" --strict -m "$T/known.nc" -o "$T/ham.nc" "$T/$graph.nc"
        [ "$status" -eq 0 ] && [ -z "$output" ]
    done
    run "$BIN/nhinfer" -m "$T/other.nc" -o "$T/ham.nc" "$T/named.nc"
    [ "$status" -eq 0 ] && [ "${#lines[@]}" -eq 1 ]
    [ "$output" = "nhinfer: warning: $T/named.nc: C: other orbital files than in the training data of $T/other.nc" ]
    ncdump -h "$T/ham.nc" | grep -q ':orbital_hash = "C:bb H:aa"'
    run "$BIN/nhinfer" --strict -m "$T/other.nc" -o "$T/x.nc" "$T/named.nc"
    fails 1 "nhinfer: $T/named.nc: C: other orbital files"
    [ ! -e "$T/x.nc" ]
}

@test "outputs that cannot be written" {
    run "$BIN/nhinfer" -m "$T/model.nc" -o "$T/no/such/ham.nc" "$T/graph.nc"
    fails 1 "nhinfer: $T/no/such/ham.nc"
    run bash -c "'$BIN/nhinfer' -m '$T/model.nc' '$T/graph.nc' > /dev/full"
    fails 1 "nhinfer:" "No space left"
}

@test "the standard network on a real crystal" {
    "$BIN/mkgraph" --abacus pipelines/GaAs -o "$T/gaas.nc"
    "$BIN/nhmodel" init --config pipelines/standard.yaml --seed 1 -o "$T/standard.nc"
    "$BIN/nhinfer" -m "$T/standard.nc" -o "$T/ham.nc" "$T/gaas.nc"
    ncdump -h "$T/ham.nc" | grep -q 'double h_pred(spin, elem, ri)'
    rm "$T/standard.nc"
}

@test "method fast and method reference give the same bands" {
    "$BIN/mkgraph" --abacus pipelines/GaAs -o "$T/gaas.nc"
    for method in fast reference; do
        # double: perfect GaAs magnifies the rounding of single precision (README.md, limits)
        "$BIN/nhinfer" -q --precision double --method $method -m pipelines/model.nc -o "$T/$method.nc" "$T/gaas.nc"
        "$BIN/geneig" --matrix h_pred --path "L .5 .5 .5; G 0 0 0; X .5 0 .5" --total 20 -o "$T/$method.eig" "$T/$method.nc"
    done
    "$BIN/bandplot-data" --ref "$T/reference.eig" "$T/fast.eig" > "$T/bands"
    worst=$(sed -n 's/^# band error after the shift: mean .* meV, max \([0-9.]*\) meV.*/\1/p' "$T/bands")
    awk -v worst="$worst" 'BEGIN { exit !(worst != "" && worst < 0.01) }'
    run "$BIN/nhinfer" --kernels slow -m pipelines/model.nc -o "$T/x.nc" "$T/gaas.nc"
    fails 2 "nhinfer: --kernels" "slow"
}
