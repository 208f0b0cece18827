# fourier: numbers that can be checked by hand, k-points in all their forms, pipes, bad input.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    G=$T/chain.nc
    ncgen -k nc4 -o "$G" "$DATA/chain.cdl"
}

# change FROM TO: the crystal with one line of its CDL changed.
change() {
    sed "s/$1/$2/" "$DATA/chain.cdl" > "$T/changed.cdl"
    ! cmp -s "$DATA/chain.cdl" "$T/changed.cdl"
    ncgen -k nc4 -o "$T/changed.nc" "$T/changed.cdl"
}

@test "H(k) and S(k) of a chain, spin fastest" {
    "$BIN/fourier" --matrix h_label --path "G 0 0 0; X .5 0 0" -n 4 -o "$T/hk.nc" "$G"
    values "$T/hk.nc" hk > "$T/hk"
    values "$T/hk.nc" sk > "$T/sk"
    paste "$T/hk" "$T/sk" | awk '
        function cut(x) { return x < 0 ? -x : x }
        { k = int((NR - 1) / 8); e = (NR - 1) % 8; t = 2 * atan2(0, -1) * k / 8
          h = e == 0 || e == 6 ? -9 - 8 * cos(t) - 2 * cos(2 * t) : 0     # uu, dd; real part
          s = e == 0 || e == 6 ? 1 + 0.8 * cos(t) + 0.2 * cos(2 * t) : 0
          if (cut($1 - h) > 1e-12 || cut($2 - s) > 1e-12) { print NR, $1, h, $2, s; bad = 1 } }
        END { exit bad || NR != 5 * 8 }'
}

@test "the spin-flip element stands where the order of the basis says" {
    "$BIN/fourier" --matrix h0 --mesh 1 1 1 -o "$T/hk.nc" "$G"
    [ "$(values "$T/hk.nc" hk | awk '{ printf "%.6g ", $1 }')" = "-18.56 0 0 0.001 0 -0.001 -18.56 0 " ]
}

@test "k_distance carries 2 pi, labels and breaks are kept" {
    "$BIN/fourier" --path "G 0 0 0; X 1/2 0 0 | A 0 0 0; B .25 0 0" -n 2 -o "$T/hk.nc" "$G"
    values "$T/hk.nc" k_distance | awk '
        BEGIN { pi = atan2(0, -1); split("0 .25 .5 .5 .625 .75", at) }
        { d = $1 - at[NR] * pi; if (d * d > 1e-20) bad = 1 } END { exit bad || NR != 6 }'
    [ "$(text "$T/hk.nc" k_label)" = '"G",_,"X","A",_,"B";' ]
}

@test "--total shares the points among the segments" {
    "$BIN/fourier" --path "0 0 0; .5 0 0; .6 0 0" --total 13 -o "$T/hk.nc" "$G"
    [ "$(values "$T/hk.nc" kpoint | wc -l)" -eq 39 ]
    values "$T/hk.nc" kpoint | awk 'NR % 3 == 1' | awk '$1 == 0.5 { n = NR } END { exit !(n == 10) }'
}

@test "--kpath, --kpoints and --mesh agree on the same k-points" {
    printf 'K_POINTS\n0\nGamma\n3 2 1 0 0 0\n' > "$T/KPT"
    printf 'K_POINTS\n6\nDirect\n0 0 0 1\n%s 0 0 1\n%s 0 0 1\n0 .5 0 1\n%s .5 0 1\n%s .5 0 1\n' .33333333333333333 .66666666666666667 \
        .33333333333333333 .66666666666666667 > "$T/KPT2"
    tail -n +4 "$T/KPT2" > "$T/list"
    "$BIN/fourier" --mesh 3 2 1 --gamma -o "$T/a.nc" "$G"
    "$BIN/fourier" --kpath "$T/KPT" -o "$T/b.nc" "$G"
    "$BIN/fourier" --kpath "$T/KPT2" -o "$T/c.nc" "$G"
    "$BIN/fourier" --kpoints "$T/list" -o "$T/d.nc" "$G"
    for f in a b c d; do
        for v in kpoint k_weight hk; do values "$T/$f.nc" $v | awk '{ printf "%.9f\n", $1 + 1e-12 }'; done > "$T/$f.txt"
    done
    cmp "$T/a.txt" "$T/b.txt"
    cmp "$T/a.txt" "$T/c.txt"
    cmp "$T/a.txt" "$T/d.txt"
}

@test "Monkhorst-Pack is ABACUS's" {
    "$BIN/fourier" --mesh 4 1 1 -o "$T/hk.nc" "$G"
    [ "$(values "$T/hk.nc" kpoint | awk 'NR % 3 == 1' | tr '\n' ' ')" = "-0.375 -0.125 0.125 0.375 " ]
}

@test "pipe and file give the same numbers; the same bytes with any number of threads" {
    "$BIN/fourier" --no-history --mesh 5 3 1 -j 1 -o "$T/a.nc" "$G"
    "$BIN/fourier" --no-history --mesh 5 3 1 -j 4 -o "$T/b.nc" "$G"
    cmp "$T/a.nc" "$T/b.nc"
    "$BIN/fourier" --no-history --mesh 5 3 1 < "$G" > "$T/c.nc"
    for v in kpoint k_weight k_distance k_label hk sk; do # the order of variables is another one in an image in memory
        [ "$(text "$T/a.nc" $v)" = "$(text "$T/c.nc" $v)" ]
    done
    [ "$(text "$T/c.nc" hk | wc -c)" -gt 100 ]
}

@test "history has one line for each program" {
    "$BIN/fourier" --mesh 1 1 1 "$G" | "$BIN/geneig" -o "$T/eig.nc"
    ncdump -h "$T/eig.nc" | grep -q 'history = ".*geneig.*\\n.*fourier --mesh 1 1 1'
}

@test "a matrix that is not Hermitian: its Hermitian part, with a warning" {
    change "-0.8,0, -3.2,0, -7,0, -3.2,0, -0.8,0,$" "-0.8,0, -3.2,0, -7,0, -3,0, -0.8,0,"
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$T/changed.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"warning:"*"h_pred is not Hermitian"*"1.000e-01 eV"* ]]
    [ "$(values "$T/hk.nc" hk | head -1 | awk '{ printf "%.6f", $1 }')" = -14.800000 ]
    run "$BIN/fourier" -q --mesh 1 1 1 -o "$T/hk.nc" "$T/changed.nc"
    [ -z "$output" ]
}

@test "the matrix that is asked for must be there" {
    sed 's/h_pred/h_perd/g' "$DATA/chain.cdl" | ncgen -k nc4 -o "$T/no.nc"
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$T/no.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == "fourier: "*"no variable h_pred"* ]]
    one_line
    "$BIN/fourier" --matrix h0 --mesh 1 1 1 -o "$T/hk.nc" "$T/no.nc"
    sed 's/overlap/overlip/g' "$DATA/chain.cdl" | ncgen -k nc4 -o "$T/no.nc"
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk2.nc" "$T/no.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"no variable overlap"* ]]
    [ ! -e "$T/hk2.nc" ]
}

@test "files that lie" {
    change "overlap = 0.1, 0.4" "overlap = 0.1, NaN"
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$T/changed.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"overlap"*"nan"* ]]
    change "overlap = 0.1, 0.4" "overlap = 0.1, 0.3"
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$T/changed.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"overlap: not symmetric"* ]]
    change "h_pred = -0.8,0" "h_pred = -0.8,Infinity"
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$T/changed.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"h_pred"*"inf"* ]]
    # reverse pair missing: the last one is gone
    sed 's/pair = 5 ; elem = 5/pair = 4 ; elem = 4/; /pair_src =\|pair_dst =/s/0, 0, 0, 0, 0/0, 0, 0, 0/; s/, 2,0,0 ;/ ;/; s/4, 2, 0, 2, 4/4, 2, 0, 2/
         s/0, 1, 2, 3, 4/0, 1, 2, 3/; s/, 0.4, 0.1 ;/, 0.4 ;/; s/-1,0, *;/;/; s/, *-[0-9.]*,0\([,;]\)$/\1/; s/, *-[0-9.]*,0 ;$/ ;/; s/, *0,0\([,;]\)$/\1/' \
        "$DATA/chain.cdl" > "$T/short.cdl"
    ncgen -k nc4 -o "$T/short.nc" "$T/short.cdl"
    run "$BIN/fourier" --matrix h_label --mesh 1 1 1 -o "$T/hk.nc" "$T/short.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"pair"* ]]
    one_line
    head -c 3000 "$G" > "$T/cut.nc"
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$T/cut.nc"
    [ "$status" -eq 1 ]
    one_line
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$DATA/chain.cdl"
    [ "$status" -eq 1 ]
    run "$BIN/fourier" --mesh 1 1 1 -o "$T/hk.nc" "$T/none.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"none.nc"*"No such file"* ]]
    [ ! -e "$T/hk.nc" ]
}

@test "wrong command lines: one line, exit 2" {
    for options in "" "--mesh 2 2 2 --kpath x" "--mesh 0 1 1" "--mesh 2 2" "--gamma --kpath x" "--mesh 2 2 2 -n 5" \
        "--mesh 2 2 2 --matrix h1" "--mesh 2 2 2 a.nc b.nc"; do
        run "$BIN/fourier" $options
        [ "$status" -eq 2 ] || { echo "$options: $status"; return 1; }
        one_line
    done
    run "$BIN/fourier" --path "0 0 0; .5 0 0" -n 0 "$G"
    [ "$status" -eq 2 ]
    run "$BIN/fourier" --path "0 0 0; .5 0 0" -n 5 --total 9 "$G"
    [ "$status" -eq 2 ]
}

@test "k-point files that lie: name and line" {
    printf 'K_POINTS\n2\nDirect\n0 0 0 1\n0 0 x 1\n' > "$T/KPT"
    run "$BIN/fourier" --kpath "$T/KPT" -o "$T/hk.nc" "$G"
    [ "$status" -eq 1 ]
    [[ "$output" == "fourier: $T/KPT:5: "* ]]
    printf '0 0 0 1\n0 0\n' > "$T/list"
    run "$BIN/fourier" --kpoints "$T/list" -o "$T/hk.nc" "$G"
    [ "$status" -eq 1 ]
    [[ "$output" == "fourier: $T/list:2: "* ]]
    run "$BIN/fourier" --path "G 0 0; X .5 0 0" -o "$T/hk.nc" "$G"
    [ "$status" -eq 1 ]
    [[ "$output" == "fourier: path: "* ]]
    [ ! -e "$T/hk.nc" ]
}

@test "full disk, closed pipe" {
    run "$BIN/fourier" --mesh 2 2 2 -o /dev/full "$G"
    [ "$status" -eq 1 ]
    one_line
    run bash -c "'$BIN/fourier' --mesh 2 2 2 '$G' > /dev/full"
    [ "$status" -eq 1 ]
    run bash -c "set -o pipefail; '$BIN/fourier' --mesh 40 40 1 '$G' | head -c 10 | wc -c"
    [[ "${lines[0]}" == 10 || "${lines[1]}" == 10 ]]
    [ "${#lines[@]}" -le 2 ]
}

@test "--help, --version, --man" {
    "$BIN/fourier" --help | grep -q -- --kpath
    "$BIN/fourier" --version | grep -q '^fourier (nextham'
    "$BIN/fourier" --man | grep -q '^.TH "FOURIER"'
}
