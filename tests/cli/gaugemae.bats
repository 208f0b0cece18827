# gaugemae through its command line: numbers that can be checked by hand (tests/data/chain.cdl), an independent NumPy
# program on real crystals, which file is whose reference, and files that lie.
load helper
bats_require_minimum_version 1.5.0

setup() {
    T=$BATS_TEST_TMPDIR
    ncgen -k nc4 -o "$T/chain.nc" "$DATA/chain.cdl"
}

# Makes $T/NAME.nc from the chain with a sed script applied to its CDL.
variant() { sed "$2" "$DATA/chain.cdl" > "$T/$1.cdl" && ncgen -k nc4 -o "$T/$1.nc" "$T/$1.cdl"; }

# Row REGION of MATRIX, column COLUMN of the text table.
cell() { awk -v m="$1" -v r="$2" -v c="$3" '$1 == m && $2 == r { print $c }'; }

# Without a variable: its declaration and its data go.
without() { variant "$1" "/^  double $2(/d; /^  $2 = /,/;\$/d"; }

# The last `run` ended with the given status and one line.
one_line() { [ "$status" -eq "$1" ] && [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]; }

@test "l1: numbers that can be checked by hand" {
    run --separate-stderr "$BIN/gaugemae" "$T/chain.nc"
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    # uu, real: ratios 0.3 (weight 1) and 0.05 (weight 0.8): mu = 0.3 eV, leaving 2 x 0.1 eV on 3 elements
    [ "$(cell h0 uu 5 <<< "$output")" = 66.666667 ]
    [ "$(cell h0 uu 8 <<< "$output")" = 300.000000 ]
    [ "$(cell h0 ud 6 <<< "$output")" = 0.333333 ]
    [ "$(cell h0 overall 5 <<< "$output")" = 33.333333 ]
    [ "$(cell h0 overall 6 <<< "$output")" = 0.166667 ]
    [ "$(cell h0 overall 7 <<< "$output")" = 33.500000 ]
    # the prediction is the label moved by 2 eV
    [ "$(cell h_pred overall 7 <<< "$output")" = 0.000000 ]
    [ "$(cell h_pred overall 9 <<< "$output")" = 2000.000000 ]
    # the zero matrix: mu = 9 eV, leaving 4 x |4 - 3.6| on 12 elements
    [ "$(cell 0 overall 7 <<< "$output")" = 133.333333 ]
    # 3 matrices x 5 rows, as wide as the header
    [ "$(grep -vc '^#' <<< "$output")" -eq 15 ]
    [ "$(awk '/^#matrix/ { n = NF } !/^#/ && NF != n' <<< "$output" | wc -l)" -eq 0 ]
}

@test "--all-pairs counts what is beyond the cutoff" {
    run "$BIN/gaugemae" --all-pairs "$T/chain.nc"
    [ "$status" -eq 0 ]
    [ "$(cell h0 uu 4 <<< "$output")" = 5 ]
    # ratios .3 (1), .05 (.8), .5 (.2): mu = .3, leaving 2 x .1 + 2 x .02 on 5 elements
    [ "$(cell h0 uu 5 <<< "$output")" = 48.000000 ]
}

@test "--by distance, shell, element" {
    run "$BIN/gaugemae" --by distance "$T/chain.nc"
    [ "$status" -eq 0 ]
    [ "$(cell h0 '[0,1)' 7 <<< "$output")" = 0.500000 ]
    [ "$(cell h0 '[2,4)' 7 <<< "$output")" = 50.000000 ]
    [ "$(cell h0 '[4,6)' 3 <<< "$output")" = 0 ]
    run "$BIN/gaugemae" --by distance --all-pairs "$T/chain.nc"
    [ "$(cell h0 '[4,6)' 7 <<< "$output")" = 10.000000 ]
    run "$BIN/gaugemae" --by shell "$T/chain.nc"
    [ "$(cell h0 ss 7 <<< "$output")" = 33.500000 ]
    variant helium 's/atomic_number = 1/atomic_number = 2/; s/^  h0 = .*/  h0 = -1,0, -4,0, -9,0, -4,0, -1,0,/'
    run "$BIN/gaugemae" --by element "$T/chain.nc" "$T/helium.nc" "$T/chain.nc"
    [ "$status" -eq 0 ]
    [ "$(cell h0 H 3 <<< "$output")" = 2 ]
    [ "$(cell h0 He 3 <<< "$output")" = 1 ]
    [ "$(cell h0 H 7 <<< "$output")" = 33.500000 ]
}

@test "--each: the rows of every structure, with its file" {
    variant shifted 's/^  h0 = .*/  h0 = -1,0, -4,0, -9,0, -4,0, -1,0,/'
    run --separate-stderr "$BIN/gaugemae" --each "$T/chain.nc" "$T/shifted.nc"
    [ "$status" -eq 0 ]
    for file in chain shifted; do
        # but for the last column and the word "file", what the file alone gives
        "$BIN/gaugemae" "$T/$file.nc" | grep -v '^#' | tr -s ' ' > "$T/alone"
        sed -n "s| $T/$file.nc\$||p" <<< "$output" | tr -s ' ' | diff - "$T/alone"
    done
    [ "$(grep -vc '^#' <<< "$output")" -eq 30 ]
    [ "$(grep -c '^#matrix .* file$' <<< "$output")" -eq 1 ]
    run "$BIN/gaugemae" --each --json "$T/chain.nc"
    one_line 2
}

@test "--by pair: blocks by name, their mean is the overall number" {
    run "$BIN/gaugemae" --by pair "$T/chain.nc"
    [ "$status" -eq 0 ]
    [ "$(cell h0 'H1-H1(0,0,0)' 7 <<< "$output")" = 0.500000 ]
    [ "$(cell h0 'H1-H1(-1,0,0)' 7 <<< "$output")" = 50.000000 ]
    [ "$(grep -c '^h0 ' <<< "$output")" -eq 3 ]
    run "$BIN/gaugemae" --by pair pipelines/tiny/LiCl-1.nc
    mean=$(awk '$1 == "h0" { n += $4; s += $4 * $7 } END { printf "%.6f", s / n }' <<< "$output")
    [ "$mean" = "$("$BIN/gaugemae" pipelines/tiny/LiCl-1.nc 2> /dev/null | cell h0 overall 7)" ]
    run "$BIN/gaugemae" --by pair "$T/chain.nc" "$T/chain.nc"
    one_line 1
    [[ "$output" == *"--by pair"*"--each"* ]]
    run "$BIN/gaugemae" --by pair --each "$T/chain.nc" "$T/chain.nc"
    [ "$status" -eq 0 ]
}

@test "--floor: what an architecture cannot correct" {
    printf 'reconstruct: spin-average\n' > "$T/net.yaml"
    run --separate-stderr "$BIN/gaugemae" --mu l2 --floor "$T/net.yaml" "$T/chain.nc"
    [ "$status" -eq 0 ]
    # uu and dd can be made right, the ud block of h0 stays
    [ "$(cell floor uu 7 <<< "$output")" = 0.000000 ]
    [ "$(cell floor ud 6 <<< "$output")" = 0.333333 ]
    [ "$(cell floor overall 4 <<< "$output")" = "$(cell h0 overall 4 <<< "$output")" ]
    # the average under time reversal has no ud
    printf 'h0: time-reversal\n' >> "$T/net.yaml"
    run "$BIN/gaugemae" --mu l2 --floor "$T/net.yaml" "$T/chain.nc"
    [ "$(cell floor overall 7 <<< "$output")" = 0.000000 ]
    # on-site corrections alone: 0.02 eV is left at 2 Å where S = 0.4, and mu = 0.05 eV takes it off
    printf 'ranges: [[0, 1]]\n' >> "$T/net.yaml"
    run "$BIN/gaugemae" --mu l2 --floor "$T/net.yaml" --by distance "$T/chain.nc"
    # (1e-6 in the denominator of the published mu)
    [ "$(cell floor '[2,4)' 7 <<< "$output")" = 0.000004 ]
    [ "$(cell floor '[2,4)' 9 <<< "$output")" = 49.999981 ]
    # magnetisation: uu and dd differ by 0.2 eV, one D for both leaves +-0.1 eV
    variant magnetic 's/^       -0.95,0, -3.98,0, -8.7,0, /       -0.95,0, -3.98,0, -8.5,0, /'
    printf 'reconstruct: uu\n' > "$T/uu.yaml"
    run "$BIN/gaugemae" --mu l2 --floor "$T/uu.yaml" "$T/magnetic.nc"
    [ "$(cell floor uu 7 <<< "$output")" = 33.333333 ] && [ "$(cell floor dd 7 <<< "$output")" = 33.333333 ]
    run "$BIN/gaugemae" --json --floor "$T/uu.yaml" "$T/chain.nc"
    [[ "$output" == *'"floor": {'* ]]
}

@test "--floor: bad configurations" {
    printf 'width: 3\n' > "$T/net.yaml"
    run "$BIN/gaugemae" --floor "$T/net.yaml" "$T/chain.nc"
    one_line 1 && [[ "$output" == *"--floor"*"net.yaml:1: unknown key"* ]]
    printf 'basis: 1p\n' > "$T/net.yaml"
    run "$BIN/gaugemae" --floor "$T/net.yaml" "$T/chain.nc"
    one_line 1 && [[ "$output" == *"chain.nc"*"H"* ]]
    run "$BIN/gaugemae" --floor "$T/nowhere.yaml" "$T/chain.nc"
    one_line 1 && [[ "$output" == *"nowhere.yaml"* ]]
    printf 'heads: 4\n' > "$T/net.yaml"
    without bare h0
    run "$BIN/gaugemae" --floor "$T/net.yaml" "$T/bare.nc"
    one_line 1 && [[ "$output" == *"bare.nc"*"h0"* ]]
}

@test "--json has the numbers of the text, mu_meV among them" {
    command -v python3 >/dev/null || skip "no python3"
    "$BIN/gaugemae" --json --by distance "$T/chain.nc" > "$T/out.json"
    "$BIN/gaugemae" --json "$T/chain.nc" > "$T/spin.json"
    "$BIN/gaugemae" "$T/chain.nc" > "$T/spin.txt"
    python3 - "$T" <<'PY'
import json, sys
d = json.load(open(sys.argv[1] + "/out.json"))
assert d["by"] == "distance" and d["matrices"]["h0"]["[1,2)"]["complex_meV"] is None
j = json.load(open(sys.argv[1] + "/spin.json"))
assert j["mu"] == "l1" and j["structures"] == 1 and j["reference"] == "h_label"
n = 0
for line in open(sys.argv[1] + "/spin.txt"):
    if line.startswith("#"): continue
    m, r, k, e, *x = line.split()
    c = j["matrices"][m][r]
    assert (c["structures"], c["elements"]) == (int(k), int(e))
    for key, value in zip(("real_meV", "imaginary_meV", "complex_meV", "mu_real_meV", "mu_meV"), x):
        assert abs(c[key] - float(value)) < 1e-6
        n += 1
assert n == 75
PY
}

@test "reads from a pipe, writes to a file, the same bytes each time" {
    run "$BIN/gaugemae" -o "$T/a.txt" - < "$T/chain.nc"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    "$BIN/gaugemae" < "$T/chain.nc" > "$T/b.txt"
    cmp "$T/a.txt" "$T/b.txt"
    run "$BIN/gaugemae" -o "$T/no/such/folder" "$T/chain.nc"
    one_line 1
    if [ -w /dev/full ]; then
        run bash -c "'$BIN/gaugemae' '$T/chain.nc' > /dev/full"
        one_line 1
    fi
}

@test "a second file with the reference: pairs in any number, S and h0 from either" {
    without pred h_label
    without label h_pred
    want=$("$BIN/gaugemae" "$T/chain.nc")
    for first in pred chain; do
        run "$BIN/gaugemae" "$T/$first.nc" "$T/label.nc"
        [ "$status" -eq 0 ]
        [ "$output" = "$want" ]
    done
    # two structures: a file of its own, and a pair
    run "$BIN/gaugemae" "$T/chain.nc" "$T/pred.nc" "$T/label.nc"
    [ "$status" -eq 0 ]
    [ "$(cell h0 overall 3 <<< "$output")" = 2 ]
    [ "$(cell h0 overall 7 <<< "$output")" = 33.500000 ]
    run "$BIN/gaugemae" --paired "$T/chain.nc" "$T/chain.nc"
    [ "$output" = "$want" ]
    # a prediction without S and h0 and far pairs
    sed '/^  double \(h_label\|h0\|overlap\)(/d; /^  \(h_label\|h0\) = /,/;$/d; /^  overlap =/d
         s/= 5 ; elem = 5/= 3 ; elem = 3/; s/^  pair_\(src\|dst\) = .*/  pair_\1 = 0, 0, 0 ;/
         s/^  pair_cell = .*/  pair_cell = -1,0,0, 0,0,0, 1,0,0 ;/; s/^  pair_distance = .*/  pair_distance = 2, 0, 2 ;/
         s/^  pair_start = .*/  pair_start = 0, 1, 2 ;/
         s/-0.8,0, -3.2,0, -7,0, -3.2,0, -0.8,0/-3.2,0, -7,0, -3.2,0/; s/^\( *\)0,0,    0,0,    0,0,  0,0,    0,0/\10,0, 0,0, 0,0/' \
        "$DATA/chain.cdl" > "$T/near.cdl"
    ncgen -k nc4 -o "$T/near.nc" "$T/near.cdl"
    run "$BIN/gaugemae" "$T/near.nc" "$T/label.nc"
    [ "$status" -eq 0 ]
    [ "$output" = "$want" ]
    run "$BIN/gaugemae" "$T/label.nc" "$T/near.nc" --pred h_label --ref h_pred --all-pairs
    one_line 1
    [[ "$output" == *"near.nc: no pair (0, 0, R = -2 0 0)"* ]]
    # the same name twice: two files, one matrix each
    run "$BIN/gaugemae" -q --pred h_label --ref h_label "$T/chain.nc" "$T/label.nc"
    [ "$status" -eq 0 ]
    [ "$(cell h_label overall 7 <<< "$output")" = 0.000000 ]
    run "$BIN/gaugemae" --pred h_label --ref h_label "$T/chain.nc"
    one_line 1
}

@test "without a prediction: left out with a warning, or an error where it was asked for" {
    without label h_pred
    run --separate-stderr "$BIN/gaugemae" "$T/label.nc"
    [ "$status" -eq 0 ]
    [[ "$stderr" == "gaugemae: warning: no variable h_pred: its rows are left out" ]]
    [ "$(grep -vc '^#' <<< "$output")" -eq 10 ]
    run "$BIN/gaugemae" --pred h_pred "$T/label.nc"
    one_line 1
    [[ "$output" == *"label.nc: no variable h_pred"* ]]
    # a mean over other structures in each row would mislead
    run "$BIN/gaugemae" "$T/label.nc" "$T/chain.nc"
    one_line 1
    [[ "$output" == *"chain.nc: has a variable h_pred"* ]]
}

@test "bad input: exit 1, one line that names file and cause" {
    without nolabel h_label
    variant nooverlap '/^  double overlap(/d; /^  overlap =/d'
    variant moved 's/lattice = 2,/lattice = 2.1,/; s/pair_distance = 4, 2, 0, 2, 4/pair_distance = 4.2, 2.1, 0, 2.1, 4.2/'
    variant nan 's/^  h0 = -0.95,0/  h0 = NaN,0/'
    variant helium 's/atomic_number = 1/atomic_number = 2/'
    head -c 3000 "$T/chain.nc" > "$T/cut.nc"
    echo "not netCDF" > "$T/text.nc"
    check() {
        run "$BIN/gaugemae" "${@:2}"
        one_line 1 && [[ "$output" == "gaugemae: "*"$1"* ]] || { echo "expected: $1"; return 1; }
    }
    check "nolabel.nc: no variable h_label" "$T/nolabel.nc"
    check "nooverlap.nc: no variable overlap" "$T/nooverlap.nc"
    check "moved.nc: another crystal: lattice" "$T/nolabel.nc" "$T/moved.nc"
    check "helium.nc: another crystal: atom 0 has atomic number 2, expected 1" --paired "$T/chain.nc" "$T/helium.nc"
    check "nan.nc" "$T/nan.nc"
    check "h0" "$T/nan.nc"
    check "cut.nc" "$T/cut.nc"
    check "text.nc" "$T/text.nc"
    check "absent.nc" "$T/absent.nc"
    check "absent.nc" "$T/chain.nc" "$T/absent.nc"
    check '--ref' --ref s2 "$T/chain.nc"
}

@test "a wrong command line: exit 2" {
    run "$BIN/gaugemae" --mu l3 "$T/chain.nc"
    one_line 2
    run "$BIN/gaugemae" --no-such-option
    one_line 2
    run "$BIN/gaugemae" --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"--all-pairs"* ]]
}

# agrees FILE MATRIX [--all-pairs]: gaugemae --mu l2 --json gives the MAE and mu of the NumPy program to 1e-6.
agrees() {
    /usr/bin/python3 tests/cli/gaugemae_reference.py "$1" "$2" h_label "${@:3}" > "$T/expected"
    "$BIN/gaugemae" -q --mu l2 --json "${@:3}" "$1" > "$T/found.json"
    /usr/bin/python3 - "$T/found.json" "$T/expected" "$2" <<'PY'
import json, sys
found = json.load(open(sys.argv[1]))["matrices"][sys.argv[3]]["overall"]
for x, y in zip((found["complex_meV"], found["mu_meV"]), map(float, open(sys.argv[2]).read().split())):
    assert abs(x - y) <= 1e-6 * abs(y), (x, y)
PY
}

numpy() { /usr/bin/python3 -c 'import numpy, netCDF4' 2>/dev/null || skip "no python3-numpy, python3-netcdf4"; }

@test "--mu l2 agrees with an independent NumPy program: the chain" {
    numpy
    for m in 0 h0 h_pred; do
        agrees "$T/chain.nc" $m
        agrees "$T/chain.nc" $m --all-pairs
    done
}

@test "--mu l2 agrees with an independent NumPy program: the shipped crystal" {
    numpy
    [ -d pipelines/GaAs ] && [ -x "$BIN/mkgraph" ] || skip "no pipelines/GaAs, no mkgraph"
    "$BIN/mkgraph" --abacus pipelines/GaAs -o "$T/GaAs.nc"
    agrees "$T/GaAs.nc" h0
    agrees "$T/GaAs.nc" h0 --all-pairs
}

@test "--mu l2 agrees with an independent NumPy program: every ABACUS crystal of ../shared" {
    numpy
    [ -d "$SHARED/data/abacus" ] && [ -x "$BIN/mkgraph" ] || skip "no ../shared/data/abacus, no mkgraph"
    for run in "$SHARED"/data/abacus/*/; do
        "$BIN/mkgraph" --abacus "$run/scf" --abacus-h0 "$run/h0" -o "$T/graph.nc"
        agrees "$T/graph.nc" h0
    done
}

@test "the published number for a set: mean over structures" {
    numpy
    [ -d "$SHARED/data/set" ] || skip "no ../shared/data/set"
    files=()
    while read -r name; do
        xz -dkc "$SHARED/data/set/$name.xz" > "$T/$name"
        files+=("$T/$name")
    done < "$SHARED/data/set/test-unseen.list"
    agrees "${files[0]}" h0
    run "$BIN/gaugemae" -q --mu l2 "${files[@]}"
    [ "$status" -eq 0 ]
    awk -v x="$(cell h0 overall 7 <<< "$output")" 'BEGIN { exit !(x > 0.9655 && x < 0.9665) }' # README there: 0.966
    [ "$(cell h0 overall 3 <<< "$output")" = 6 ]
}
