# h0embed: features of the zeroth-step blocks.
load helper

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    T=$BATS_TEST_TMPDIR
    ncgen -4 -o "$T/graph.nc" "$DATA/tiny_graph.cdl"
}

# Numbers of one variable, one a line.
numbers() { # VARIABLE FILE
    ncdump -p 9,17 -v "$1" "$2" | sed -n "/^ $1 =/,/;/p" | sed "1s/^ $1 =//" | tr -d ' ;}\n' | tr ',' '\n'
    echo
}

# The same content; netCDF lists the variables of an image in memory in another order.
same() { # FILE FILE
    diff <(ncdump -p 9,17 "$1" | tail -n +2 | sort) <(ncdump -p 9,17 "$2" | tail -n +2 | sort)
}

# The graph with edited text: edited SED-SCRIPT OUT
edited() {
    sed "$1" "$DATA/tiny_graph.cdl" > "$T/edited.cdl"
    ncgen -4 -o "$2" "$T/edited.cdl"
}

fails_with() { # STATUS TEXT COMMAND...
    local expected=$1 text=$2
    shift 2
    run "$@"
    echo "$output"
    [ "$status" -eq "$expected" ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == h0embed:* ]]
    [[ "$output" == *"$text"* ]]
}

@test "help, version, manual page, wrong command lines" {
    run "$BIN/h0embed" --help
    [ "$status" -eq 0 ]
    for word in --precision --basis --inverse --no-h0 --threads; do [[ "$output" == *"$word"* ]]; done
    run "$BIN/h0embed" --version
    [ "$status" -eq 0 ]
    "$BIN/h0embed" --man | grep -q '^\.TH'
    run "$BIN/h0embed" --frobnicate
    [ "$status" -eq 2 ]
    run "$BIN/h0embed" --precision half "$T/graph.nc"
    [ "$status" -eq 2 ]
    run "$BIN/h0embed" "$T/graph.nc" "$T/graph.nc"
    [ "$status" -eq 2 ]
}

@test "adds features of the edges and carries the rest" {
    "$BIN/h0embed" -o "$T/e.nc" "$T/graph.nc"
    ncdump -h "$T/e.nc" > "$T/header"
    grep -q 'edge = 6 ;' "$T/header"
    grep -q 'component = 128 ;' "$T/header"
    grep -q 'float feature(edge, component)' "$T/header"
    grep -q 'feature:units = "eV"' "$T/header"
    grep -q ':shell_pairs = "0,0 0,4 4,0 4,4"' "$T/header"
    grep -q ':padded_basis = "4s2p2d1f"' "$T/header"
    grep -q ':irreps = "1x0e+1x1e+1x1o+1x0o+1x1o+1x2o+' "$T/header"
    grep -q ':efermi = -1.5' "$T/header"
    grep -q ':history = ".*h0embed' "$T/header"
    [ "$(numbers edge_pair "$T/e.nc" | tr '\n' ' ')" = "1 3 4 5 6 7 " ]
    [ "$(numbers h0 "$T/e.nc" | wc -l)" -eq 520 ]
    for v in lattice position pair_cell pair_start overlap h0 h_label; do
        diff <(numbers $v "$T/graph.nc") <(numbers $v "$T/e.nc")
    done
}

@test "the s-s entries are what docs/network.md 4.4 says" {
    "$BIN/h0embed" --precision double -o "$T/e.nc" "$T/graph.nc"
    # Edge 0 is the on-site pair of C (element 16 on); (L) = (uu+dd)/sqrt2; (L,J) = sqrt(3/2) (i(ud-du), uu-dd, ud+du).
    paste -sd' ' <(numbers h0 "$T/graph.nc") > "$T/h0"
    paste -sd' ' <(numbers feature "$T/e.nc") > "$T/feature"
    cat "$T/h0" "$T/feature" | awk '
        function near(a, b) { if ((a - b) * (a - b) > 1e-28) { print "found", a, "expected", b; bad = 1 } }
        NR == 1 { for (s = 0; s < 4; s++) for (r = 0; r < 2; r++) h[s, r] = $(130 * s + 32 + r + 1) }
        NR == 2 {
            q = sqrt(1.5)
            if (h[1, 1] == 0 || h[0, 0] == h[3, 0]) bad = 1
            for (r = 0; r < 2; r++) {
                near($(64 * r + 1), (h[0, r] + h[3, r]) / sqrt(2))
                near($(64 * r + 3), q * (h[0, r] - h[3, r]))
                near($(64 * r + 4), q * (h[1, r] + h[2, r]))
            }
            near($2, q * (h[2, 1] - h[1, 1]))
            near($(64 + 2), q * (h[1, 0] - h[2, 0]))
        }
        END { exit bad || NR != 2 }'
}

@test "pipes, threads and runs give the same bytes" {
    "$BIN/h0embed" --no-history -j 1 -o "$T/a.nc" "$T/graph.nc"
    "$BIN/h0embed" --no-history -j 2 < "$T/graph.nc" -o "$T/b.nc"
    cmp "$T/a.nc" "$T/b.nc"
    "$BIN/h0embed" --no-history -j 2 < "$T/graph.nc" | cat > "$T/c.nc"
    same "$T/a.nc" "$T/c.nc"
    "$BIN/h0embed" --no-history "$T/graph.nc" | head -c 10 > "$T/head"
    [ "$(wc -c < "$T/head")" -eq 10 ]
}

@test "embedding twice replaces the features" {
    "$BIN/h0embed" --no-history --basis 2s1p -o "$T/a.nc" "$T/graph.nc"
    "$BIN/h0embed" --no-history --precision double "$T/a.nc" -o "$T/b.nc"
    "$BIN/h0embed" --no-history --precision double "$T/graph.nc" -o "$T/c.nc"
    grep -q ':shell_pairs = "0,0 0,2 2,0 2,2"' <(ncdump -h "$T/a.nc")
    same "$T/b.nc" "$T/c.nc"
}

@test "--inverse prints a small residual" {
    run "$BIN/h0embed" --inverse --precision double -o "$T/e.nc" "$T/graph.nc"
    [ "$status" -eq 0 ]
    [[ "$output" =~ "round trip of 6 edges, double precision: largest residual "([0-9.e+-]+)" eV" ]]
    awk -v r="${BASH_REMATCH[1]}" 'BEGIN { exit !(r < 1e-13) }'
    run "$BIN/h0embed" --inverse -o "$T/e.nc" "$T/graph.nc"
    [[ "$output" =~ "single precision: largest residual "([0-9.e+-]+)" eV" ]]
    awk -v r="${BASH_REMATCH[1]}" 'BEGIN { exit !(r > 1e-10 && r < 1e-5) }'
}

@test "a file without spin: uu = dd" {
    sed -e 's/spin = 4/spin = 1/' -e '/double h_label/d' -e '/^  h0 =/,$d' "$DATA/tiny_graph.cdl" > "$T/one.cdl"
    # the first spin block: one line for each pair
    sed -n '/^  h0 =/,/^  h_label/p' "$DATA/tiny_graph.cdl" | sed -n 2,9p | sed '$s/,$/ ;/; 1s/^/  h0 = /' >> "$T/one.cdl"
    echo '}' >> "$T/one.cdl"
    ncgen -4 -o "$T/one.nc" "$T/one.cdl"
    run "$BIN/h0embed" --inverse --precision double -o "$T/e.nc" "$T/one.nc"
    echo "$output"
    [ "$status" -eq 0 ]
    # scalar sqrt2 uu; nothing in (L,J)
    [ "$(numbers feature "$T/e.nc" | sed -n '2,4p' | tr '\n' ' ')" = "0 0 0 " ]
    numbers feature "$T/e.nc" | awk 'NR == 1 { exit !(($1 + 3.753 * sqrt(2))^2 < 1e-28) }'
}

@test "--no-h0 writes element rows and needs no H0" {
    sed -e '/double h0/d' -e '/double h_label/d' -e '/^  h0 =/,$d' "$DATA/tiny_graph.cdl" > "$T/bare.cdl"
    echo '}' >> "$T/bare.cdl"
    ncgen -4 -o "$T/bare.nc" "$T/bare.cdl"
    "$BIN/h0embed" --no-h0 -o "$T/e.nc" "$T/bare.nc"
    [ "$(numbers element "$T/e.nc" | tr '\n' ' ')" = "6 1 " ]
    # of an embedded file nothing but the elements is left
    "$BIN/h0embed" "$T/graph.nc" | "$BIN/h0embed" --no-h0 -o "$T/f.nc"
    ! ncdump -h "$T/f.nc" | grep -E 'feature|edge_pair|irreps|shell_pairs|padded_basis'
    diff <(numbers h0 "$T/graph.nc") <(numbers h0 "$T/f.nc")
    edited 's/atomic_number = 6, 1/atomic_number = 6, 120/' "$T/odd.nc"
    fails_with 1 'atomic number 120' "$BIN/h0embed" --no-h0 -o "$T/g.nc" "$T/odd.nc"
    [ ! -e "$T/g.nc" ]
}

@test "bad input: one line, exit 1, nothing left behind" {
    fails_with 1 "$T/none.nc" "$BIN/h0embed" -o "$T/e.nc" "$T/none.nc"
    sed -e '/double h0/d' -e '/double h_label/d' -e '/^  h0 =/,$d' "$DATA/tiny_graph.cdl" > "$T/bare.cdl"
    echo '}' >> "$T/bare.cdl"
    ncgen -4 -o "$T/bare.nc" "$T/bare.cdl"
    fails_with 1 'no variable h0' "$BIN/h0embed" -o "$T/e.nc" "$T/bare.nc"
    fails_with 1 'basis of C (species 0): more shells of degree 1 than the padded basis 2s has' \
        "$BIN/h0embed" --basis 2s -o "$T/e.nc" "$T/graph.nc"
    fails_with 1 '--basis' "$BIN/h0embed" --basis 2x -o "$T/e.nc" "$T/graph.nc"
    edited 's/-3.753,0, 1.65/NaN,0, 1.65/' "$T/nan.nc"
    fails_with 1 'h0' "$BIN/h0embed" -o "$T/e.nc" "$T/nan.nc"
    edited 's/NextHAM-1/CF-1.8/' "$T/conventions.nc"
    fails_with 1 'Conventions' "$BIN/h0embed" -o "$T/e.nc" "$T/conventions.nc"
    edited 's/pair_src = 0,/pair_src = 7,/' "$T/index.nc"
    fails_with 1 'pair 0' "$BIN/h0embed" -o "$T/e.nc" "$T/index.nc"
    head -c 3000 "$T/graph.nc" > "$T/cut.nc"
    fails_with 1 "$T/cut.nc" "$BIN/h0embed" -o "$T/e.nc" "$T/cut.nc"
    fails_with 1 'standard input' "$BIN/h0embed" -o "$T/e.nc" < "$T/cut.nc"
    fails_with 1 "$T/no/folder" "$BIN/h0embed" -o "$T/no/folder/e.nc" "$T/graph.nc"
    [ ! -e "$T/e.nc" ]
    [ -z "$(find "$T" -name 'e.nc*')" ]
    if [ -w /dev/full ]; then
        fails_with 1 'No space left' sh -c "'$BIN/h0embed' '$T/graph.nc' > /dev/full"
    fi
}

@test "a real crystal: 25 and 13 orbitals, round trip" {
    "$BIN/mkgraph" --abacus pipelines/GaAs -o "$T/gaas.nc"
    run "$BIN/h0embed" -v --inverse --precision double -o "$T/e.nc" "$T/gaas.nc"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "$output" == *"198 of 270 pairs are edges, 49 shell pairs, 5000 numbers an edge"* ]]
    [[ "$output" =~ ([0-9.e+-]+)" of max" ]]
    awk -v r="${BASH_REMATCH[1]}" 'BEGIN { exit !(r < 1e-14) }'
}
