# nhmodel: seeded models, and the table of what is in one.
load helper
load tiny_net

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    T=$BATS_TEST_TMPDIR
    tiny_net > "$T/net.yaml"
}

@test "help, version, manual page, wrong command lines" {
    run "$BIN/nhmodel" --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"nhmodel init --config"* && "$output" == *"nhmodel info [--all]"* && "$output" == *--seed* ]]
    run "$BIN/nhmodel" init --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"nhmodel init"* && "$output" == *--precision* && "$output" != *--all* ]]
    run "$BIN/nhmodel" info --help
    [ "$status" -eq 0 ]
    [[ "$output" == *--all* && "$output" != *--seed* ]]
    run "$BIN/nhmodel" --version
    [ "$status" -eq 0 ]
    [[ "$output" == "nhmodel (nextham "* ]]
    run bash -c "'$BIN/nhmodel' --man | groff -man -Tascii -ww 2>&1 >/dev/null"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    run "$BIN/nhmodel"
    fails 2 "nhmodel:" "init, info, pack, import or export expected"
    run "$BIN/nhmodel" inti
    fails 2 "nhmodel:" "unknown command 'inti'"
    run "$BIN/nhmodel" init --seed 1 -o "$T/m.nc"
    fails 2 "nhmodel init:" "--config missing"
    run "$BIN/nhmodel" init --config "$T/net.yaml" --seed x -o "$T/m.nc"
    fails 2 "nhmodel init:" "--seed"
    run "$BIN/nhmodel" info a.nc b.nc
    fails 2 "nhmodel info:"
    run "$BIN/nhmodel" info --seed 1 a.nc
    fails 2 "nhmodel info:" "--seed"
    run "$BIN/nhmodel" pack --help
    [ "$status" -eq 0 ]
    [[ "$output" == *--bits* && "$output" != *--seed* ]]
    run "$BIN/nhmodel" pack --bits 53 a.nc -o b.nc
    fails 2 "nhmodel pack:" "--bits: 1 to 52 expected"
}

@test "pack: the same model in fewer bytes, rounded on request only" {
    ncgen -4 -o "$T/graph.nc" "$DATA/tiny_graph.cdl"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 5 -o "$T/a.nc"
    "$BIN/nhmodel" pack "$T/a.nc" -o "$T/b.nc"
    for m in a b; do "$BIN/nhinfer" -m "$T/$m.nc" -o "$T/$m.ham" "$T/graph.nc" && ncdump -v h_pred "$T/$m.ham" | sed -n '/h_pred =/,$p' > "$T/$m.txt"; done
    grep -q h_pred "$T/a.txt"
    cmp "$T/a.txt" "$T/b.txt"
    ncdump -h "$T/b.nc" | grep -q 'provenance = "untrained: seeded initialisation"'
    ncdump -h "$T/b.nc" | grep -q 'nhmodel init --config'
    # 12 binary digits: every weight within 2^-13 of itself, and few different last bits
    "$BIN/nhmodel" pack --bits 12 "$T/a.nc" -o "$T/c.nc"
    for m in a c; do ncdump -p 9,9 -v range1/edge_lin.tp.weight "$T/$m.nc" | sed -n '/edge_lin.tp.weight =/,/;/p' | tr -d ' ;' | tr , '\n' | grep '[0-9]$' > "$T/$m.w"; done
    paste "$T/a.w" "$T/c.w" | awk '{ d = $1 - $2; if (d < 0) d = -d; a = $1 < 0 ? -$1 : $1; if (d > a / 8191) bad++; if (d > 0) moved++ }
        END { exit !(NR > 100 && !bad && moved > NR / 2) }'
    sed 's/mid: .*/mid: 16x0e+8x1o+8x1e+8x2e/' "$T/net.yaml" > "$T/wide.yaml"
    "$BIN/nhmodel" init --config "$T/wide.yaml" --seed 5 -o "$T/wide.nc"
    "$BIN/nhmodel" pack --bits 8 "$T/wide.nc" -o "$T/small.nc"
    [ "$(stat -c %s "$T/small.nc")" -lt "$(stat -c %s "$T/wide.nc")" ]
}

@test "the same seed gives the same bytes, another seed other numbers" {
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 5 --no-history -o "$T/a.nc"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 5 --no-history -o "$T/b.nc"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 6 --no-history -o "$T/c.nc"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 5 --no-history > "$T/d.nc"
    cmp "$T/a.nc" "$T/b.nc"
    ! diff <(ncdump -v range0/edge_lin.tp.weight "$T/a.nc") <(ncdump -v range0/edge_lin.tp.weight "$T/c.nc") > "$T/diff"
    grep -q '^<   *-\?[0-9]' "$T/diff"
    diff <("$BIN/nhmodel" info --all "$T/a.nc" | tail -n +2) <("$BIN/nhmodel" info --all < "$T/d.nc" | tail -n +2)
}

@test "double precision holds the numbers that single precision rounds" {
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 5 --precision double -o "$T/a.nc"
    ncdump -h "$T/a.nc" | grep -q 'double input_rs.tp.weight'
    ! ncdump -h "$T/a.nc" | grep -q '^ *float'
    run "$BIN/nhmodel" info "$T/a.nc"
    [[ "$output" == *"double precision"* ]]
}

@test "provenance, history, configuration" {
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 5 -o "$T/a.nc"
    ncdump -h "$T/a.nc" | grep -q 'nhmodel init --config .*net.yaml --seed 5 -o'
    run "$BIN/nhmodel" info "$T/a.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"provenance   untrained: seeded initialisation"* ]]
    [[ "$output" == *"seed         5"* && "$output" == *"sub-models   2, single precision"* ]]
    [[ "$output" == *"mid: 4x0e+2x1o+2x1e+1x2e"* && "$output" == *"reconstruct: uu"* ]]
    # the configuration that it prints makes the same model
    "$BIN/nhmodel" info "$T/a.nc" | sed -n 's/^    //p' > "$T/again.yaml"
    "$BIN/nhmodel" init --config "$T/again.yaml" --seed 5 --no-history -o "$T/b.nc"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 5 --no-history -o "$T/a.nc"
    cmp "$T/a.nc" "$T/b.nc"
}

@test "the standard network has the published number of parameters" {
    "$BIN/nhmodel" init --config pipelines/standard.yaml --seed 1 -o "$T/a.nc"
    run "$BIN/nhmodel" info "$T/a.nc"
    [ "$status" -eq 0 ]
    [[ "$output" =~ "live (reached by either)"\ +10023953\ +40095812 ]]
    [[ "$output" =~ "blocks.0..2.ga.merge_src"\ +"1856, 32"\ +6\ +5664 ]]
    rm "$T/a.nc"
}

@test "V1.1: a tenth of the parameters reaches the Hamiltonian" {
    "$BIN/nhmodel" init --config pipelines/v11.yaml --seed 1 -o "$T/a.nc"
    run "$BIN/nhmodel" info --all "$T/a.nc"
    [ "$status" -eq 0 ]
    [[ "$output" =~ "reached by edge_ham"\ +1504072\  ]]
    [[ "$output" =~ "reached by edge_trace"\ +11499741\  ]]
    [[ "$output" =~ "live (reached by either)"\ +11626393\  ]]
    [[ "$output" =~ "blocks.0.ga.sep_act.dtp_rad.net.6.weight"\ +2385x64\ +152640 ]]
    rm "$T/a.nc"
}

@test "lift and edge_init bring their parameters, and a model that predicts" {
    { cat "$T/net.yaml"; printf 'lift: true\nedge_init: paper\nreconstruct: spin-average\n'; } > "$T/more.yaml"
    "$BIN/nhmodel" init --config "$T/more.yaml" --seed 5 -o "$T/a.nc"
    run "$BIN/nhmodel" info --all "$T/a.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"lift: true"* && "$output" == *"edge_init: paper"* ]]
    [[ "$output" =~ lift.tp.weight\ +30\ +30\ +H ]]
    [[ "$output" =~ edge_init.dtp_rad.net.6.weight\ +[0-9]+x8\  ]]
    [[ "$output" =~ edge_init.lin.bias.0\ +4\  ]]
    ncgen -4 -o "$T/graph.nc" "$DATA/tiny_graph.cdl"
    "$BIN/nhinfer" -m "$T/a.nc" -o "$T/ham.nc" "$T/graph.nc"
    ncdump -h "$T/ham.nc" | grep -q h_pred
    # a configuration without the lift does not fit its parameters
    ncdump "$T/a.nc" | sed 's/lift: true/lift: false/' > "$T/b.cdl" && ncgen -4 -o "$T/b.nc" "$T/b.cdl"
    run "$BIN/nhmodel" info "$T/b.nc"
    fails 1 "nhmodel info: $T/b.nc" "ga.edge_proj.tp.weight: shape 286, expected 268"
}

@test "bad configurations: file, line and key" {
    while IFS='|' read -r edit text; do
        sed "$edit" "$T/net.yaml" > "$T/bad.yaml"
        run "$BIN/nhmodel" init --config "$T/bad.yaml" --seed 1 -o "$T/bad.nc"
        fails 1 "nhmodel init: $T/bad.yaml:" "$text"
        [ ! -e "$T/bad.nc" ]
    done << 'END'
s/heads/haeds/|bad.yaml:6: unknown key
s/heads: 2/heads: 0/|bad.yaml:6: heads: 0 found
s/4x0e+2x1o/2x1o+4x0e/|bad.yaml:5: mid: the first entry must be even scalars
s/nextham-v1/nextham-v7/|bad.yaml:1: network: 'nextham-v7' is not known
s/\[1, 2.5\]/[2.5, 1]/|bad.yaml:11: ranges: [2.5, 1] found
s/basis: 2s1p/basis: 2s1q/|bad.yaml:2: basis
s/sh_lmax: 3/sh_lmax: 3: 4/|bad.yaml:4
END
    run "$BIN/nhmodel" init --config "$T/nowhere.yaml" --seed 1 -o "$T/bad.nc"
    fails 1 "nhmodel init: $T/nowhere.yaml: "
}

@test "outputs that cannot be written" {
    run "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$T/no/such/folder.nc"
    fails 1 "nhmodel init: $T/no/such/folder.nc"
    run bash -c "'$BIN/nhmodel' init --config '$T/net.yaml' --seed 1 > /dev/full"
    fails 1 "nhmodel init:" "No space left"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$T/a.nc"
    run bash -c "'$BIN/nhmodel' info '$T/a.nc' > /dev/full"
    fails 1 "nhmodel info:"
    run bash -c "'$BIN/nhmodel' info --all '$T/a.nc' | head -n 1"
    [ "$status" -eq 0 ] && [ "${#lines[@]}" -eq 1 ]
}

@test "files that are no models" {
    ncgen -4 -o "$T/graph.nc" "$DATA/tiny_graph.cdl"
    run "$BIN/nhmodel" info "$T/graph.nc"
    fails 1 "nhmodel info: $T/graph.nc" "no attribute config: not a model file"
    echo "no netCDF" > "$T/text.nc"
    run "$BIN/nhmodel" info "$T/text.nc"
    fails 1 "nhmodel info: $T/text.nc"
    run "$BIN/nhmodel" info < /dev/null
    fails 1 "nhmodel info: (standard input)"
}
