# bandplot-data: columns, Fermi level, comparison, ghosts, pictures, bad input.
load helper

# eig NAME EXPRESSION [ATTRIBUTES]: an eigenvalue file with 11 k-points and 3 bands; the expression gives band b (1..3) at point k
# (0..10), in awk.
eig() {
    awk -v attributes="${3-:efermi = 1. ; :nelec = 2. ;}" 'BEGIN {
        print "netcdf eig { dimensions: kpoint = UNLIMITED ; xyz = 3 ; band = 3 ;"
        print "variables: double kpoint(kpoint, xyz) ; double k_weight(kpoint) ; double k_distance(kpoint) ; string k_label(kpoint) ;"
        print "double eigenvalue(kpoint, band) ; :Conventions = \"NextHAM-1\" ; :k_mode = \"path\" ; " attributes " data:"
        for (k = 0; k < 11; k++) {
            s = k < 10 ? ", " : " ;\n"; x = k / 20
            p = p x ", 0, 0" s; w = w "1" s; d = d x * 2 s; l = l (k == 0 ? "\"G\"" : k == 10 ? "\"X\"" : "\"\"") s
            for (b = 1; b <= 3; b++) e = e ('"$2"') (b < 3 ? ", " : s)
        }
        printf "kpoint = %sk_weight = %sk_distance = %sk_label = %seigenvalue = %s}\n", p, w, d, l, e }' > "$T/$1.cdl"
    ncgen -k nc4 -o "$T/$1.nc" "$T/$1.cdl"
}

setup() {
    T=$BATS_TEST_TMPDIR
    BAND='5 * (b - 2) - 1 + k / 10' # band 2 below the Fermi level of 1 eV, band 3 above
    eig ref "$BAND"
}
one_line() {
    [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]
}

@test "table: header, distance, label, bands relative to the Fermi level" {
    "$BIN/bandplot-data" -o "$T/bands.tsv" "$T/ref.nc"
    grep '^#' "$T/bands.tsv" | tail -1 | grep -q "^#k_distance	label	band_1	band_2	band_3$"
    grep -v '^#' "$T/bands.tsv" | awk -F'\t' '
        { k = NR - 1; if (NF != 5 || ($1 - k / 10) ^ 2 > 1e-16 || $2 != (k == 0 ? "G" : k == 10 ? "X" : "-")) bad = 1
          for (b = 1; b <= 3; b++) if (($(2 + b) - (5 * (b - 2) - 2 + k / 10)) ^ 2 > 1e-12) bad = 1 }
        END { exit bad || NR != 11 }'
    "$BIN/bandplot-data" < "$T/ref.nc" | cmp - "$T/bands.tsv"
}

@test "gap" {
    # 2 electrons: bands 1 and 2; highest 0 at the last point, lowest 4 at the first
    run "$BIN/bandplot-data" "$T/ref.nc"
    [[ "$output" == *"# gap: 4.000000 eV (indirect)"* ]]
    [[ "$output" == *"# valence band maximum: -1.000000 eV at k-point 11 (0.5 0 0) X"* ]]
    [[ "$output" == *"# conduction band minimum: 3.000000 eV at k-point 1 (0 0 0) G"* ]]
}

@test "Fermi level: --efermi, --nelec, the file's, its electrons, none" {
    level() { "$BIN/bandplot-data" "$@" | sed -n 's/^# bands: .*Fermi level \([^ ]*\) eV.*/\1/p'; }
    [ "$(level "$T/ref.nc")" = 1.000000 ]
    [ "$(level --efermi -2.5 "$T/ref.nc")" = -2.500000 ]
    [ "$(level --nelec 2 "$T/ref.nc")" = 2.000000 ]
    [ "$(level --nelec 1 "$T/ref.nc")" = -3.000000 ]
    eig electrons "$BAND" ":nelec = 2. ;"
    [ "$(level "$T/electrons.nc")" = 2.000000 ]
    eig nothing "$BAND" ""
    run "$BIN/bandplot-data" "$T/nothing.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"--efermi or --nelec"* ]]
    one_line
    run "$BIN/bandplot-data" --nelec 4 "$T/ref.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"the bands hold 3 electrons"* ]]
}

@test "comparison: shift, mean, largest, per band, ghosts" {
    # 0.3 eV lower; band 2 alternates by 10 meV; a ghost at k-point 4, and a large difference above the limit
    eig pred "$BAND - 0.3 + (b == 2 ? (k % 2 ? 0.01 : -0.01) : 0) - (k == 3 && b == 1 ? 0.5 : 0) + (k == 5 && b == 3 ? 3 : 0)"
    run "$BIN/bandplot-data" --ref "$T/ref.nc" --top 2 "$T/pred.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"# shift (median of reference - bands): 0.300000 eV"* ]]
    # (11 * 0.01 + 0.5)/22
    [[ "$output" == *"mean 27.727 meV, max 500.000 meV over 22 states up to 2 eV"* ]]
    [[ "$output" == *"# band 1: mean 45.455 meV, max 500.000 meV"* ]]
    [[ "$output" == *"# band 2: mean 10.000 meV, max 10.000 meV"* ]]
    [[ "$output" != *"# band 3:"* ]]
    [[ "$output" == *"# ghost k-points: 1 of 11 (largest difference above 0.100 eV"* ]]
    [[ "$output" == *"# ghost k-point 4 (0.15 0 0): 0.5000 eV in band 1"* ]]
    run "$BIN/bandplot-data" --ref "$T/ref.nc" "$T/pred.nc"
    [[ "$output" == *"# ghost k-points: 2 of 11"* ]]
}

@test "bands against themselves differ by nothing; with a constant, by the constant" {
    ncgen -k nc4 -o "$T/chain.nc" "$DATA/chain.cdl"
    for m in h_pred h_label; do
        "$BIN/geneig" --matrix $m --path "G 0 0 0; X .5 0 0" -o "$T/$m.nc" "$T/chain.nc"
    done
    run "$BIN/bandplot-data" --efermi -8.75 --ref "$T/h_label.nc" "$T/h_pred.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"reference - bands): -2.000000 eV"* ]]
    [[ "$output" == *"mean 0.000 meV, max 0.000 meV"* ]]
    [[ "$output" == *"# ghost k-points: 0 of 41"* ]]
    # --align shows them on top of each other
    "$BIN/bandplot-data" --efermi -8.75 "$T/h_label.nc" | grep -v '^#' > "$T/a"
    "$BIN/bandplot-data" --efermi -8.75 --align --ref "$T/h_label.nc" "$T/h_pred.nc" | grep -v '^#' > "$T/b"
    cmp "$T/a" "$T/b"
}

@test "--window chooses the bands" {
    "$BIN/bandplot-data" --window -3:0 "$T/ref.nc" | grep -q "^#k_distance	label	band_2$"
    "$BIN/bandplot-data" --window :0 "$T/ref.nc" | grep -q "^#k_distance	label	band_1	band_2$"
    "$BIN/bandplot-data" --window 50:60 "$T/ref.nc" | grep -q "^#k_distance	label$"
}

@test "JSON has the same numbers" {
    eig pred "$BAND + 0.2 - (k == 3 && b == 1 ? 0.5 : 0)"
    "$BIN/bandplot-data" --format json --title 'a "quoted" \title' --ref "$T/ref.nc" -o "$T/bands.json" "$T/pred.nc"
    python3 - "$T/bands.json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert d["title"] == 'a "quoted" \\title'
assert len(d["bands_eV"]) == 3 and all(len(b) == 11 for b in d["bands_eV"])
assert abs(d["bands_eV"][1][10] - (0.2 - 1)) < 1e-7 and d["efermi_eV"] == 1
e = d["errors"]
assert abs(e["shift_eV"] + 0.2) < 1e-9 and abs(e["max_eV"] - 0.5) < 1e-9 and e["states"] == 33
assert [g["index"] for g in e["ghost_kpoints"]] == [4] and e["ghost_kpoints"][0]["band"] == 1
assert abs(d["gap"]["gap_eV"] - 4) < 1e-9
assert len(d["references"]) == 1 and abs(d["references"][0]["bands_eV"][0][0] + 7) < 1e-7
assert d["label"][0] == "G" and d["label"][1] == ""
PY
}

@test "NaN where a k-point has no such band" {
    eig ragged 'k > 5 && b == 3 ? "NaN" : 5 * (b - 2) - 1 + k / 10'
    "$BIN/bandplot-data" "$T/ragged.nc" | grep -v '^#' | awk -F'\t' '{ n += $5 == "nan" } END { exit !(n == 5) }'
    "$BIN/bandplot-data" --format json "$T/ragged.nc" | python3 -c 'import json, sys; assert json.load(sys.stdin)["bands_eV"][2][10] is None'
    eig hole 'k > 5 && b == 2 ? "NaN" : 5 * (b - 2)'
    run "$BIN/bandplot-data" "$T/hole.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"eigenvalue: k-point 7, band 3"*"after a NaN"* ]]
    eig unsorted '-b'
    run "$BIN/bandplot-data" "$T/unsorted.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"k-point 1: band 2"* ]]
    eig inf 'b == 3 ? "Infinity" : b'
    run "$BIN/bandplot-data" "$T/inf.nc"
    [ "$status" -eq 1 ]
    one_line
}

@test "gnuplot makes a picture of the script as it is" {
    command -v gnuplot > /dev/null || skip "no gnuplot"
    eig pred "$BAND + 0.2"
    cd "$T"
    bin=$BIN; [ "${bin#/}" != "$bin" ] || bin=$OLDPWD/$bin
    "$bin/bandplot-data" --format gnuplot --title "it's 100% \"A_1\"" --name "x_y" --ref ref.nc --ref ref.nc --ref-name "it's" -o bands.gp pred.nc
    run gnuplot bands.gp
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$(head -c 8 bands.png | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]
    [ "$(wc -c < bands.png)" -gt 10000 ]
    gnuplot -e "picture='other.svg'" bands.gp
    grep -q '<svg' other.svg
    grep -q 'Γ' bands.gp
    "$bin/bandplot-data" --format gnuplot --picture bands.svg -o bands.gp pred.nc
    gnuplot bands.gp
    grep -q '<svg' bands.svg
    # a mesh has no path: points against the number of the k-point; nothing in the window is a picture too
    ncgen -k nc4 -o chain.nc "$DATA/chain.cdl"
    "$bin/geneig" --mesh 5 1 1 chain.nc | "$bin/bandplot-data" --efermi -7 --format gnuplot --picture mesh.png | gnuplot
    [ "$(head -c 4 mesh.png | tail -c 3)" = PNG ]
    "$bin/bandplot-data" --format gnuplot --window 90:95 --picture none.png pred.nc | gnuplot
    [ "$(head -c 4 none.png | tail -c 3)" = PNG ]
}

@test "references that do not fit" {
    eig pred "$BAND"
    sed 's/kpoint = 0, 0, 0/kpoint = 0, 0.1, 0/' "$T/pred.cdl" | ncgen -k nc4 -o "$T/other.nc"
    run "$BIN/bandplot-data" --ref "$T/other.nc" "$T/pred.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"k-point 1 is (0 0 0), the reference's (0 0.1 0)"* ]]
    one_line
    run "$BIN/bandplot-data" --ref "$T/none.nc" "$T/pred.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"none.nc"* ]]
    run "$BIN/bandplot-data" --ref "$T/ref.nc" --top -100 "$T/pred.nc"
    [ "$status" -eq 1 ]
    one_line
}

@test "wrong kinds of files, cut files" {
    ncgen -k nc4 -o "$T/chain.nc" "$DATA/chain.cdl"
    run "$BIN/bandplot-data" "$T/chain.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"no variable eigenvalue"* ]]
    head -c 5000 "$T/ref.nc" > "$T/cut.nc"
    run "$BIN/bandplot-data" "$T/cut.nc"
    [ "$status" -eq 1 ]
    one_line
    run bash -c "'$BIN/bandplot-data' < /dev/null"
    [ "$status" -eq 1 ]
    one_line
}

@test "wrong command lines: one line, exit 2" {
    for options in "--efermi 1 --nelec 2" "--nelec 0" "--format png" "--picture x.png" "--ref-name a" "--window 3:1" "--window 3" \
        "--ref - -"; do
        run "$BIN/bandplot-data" $options
        [ "$status" -eq 2 ] || { echo "$options: $status"; return 1; }
        one_line
    done
}

@test "full disk, closed pipe" {
    for f in tsv json gnuplot; do
        run bash -c "'$BIN/bandplot-data' --format $f '$T/ref.nc' > /dev/full"
        [ "$status" -eq 1 ]
        one_line
    done
    run "$BIN/bandplot-data" -o /dev/full "$T/ref.nc"
    [ "$status" -eq 1 ]
    run bash -c "'$BIN/bandplot-data' '$T/ref.nc' | head -1"
    [ "${#lines[@]}" -eq 1 ]
    run "$BIN/bandplot-data" -o "$T/no/such/folder/x" "$T/ref.nc"
    [ "$status" -eq 1 ]
    one_line
}

@test "--format summary: one row of facts" {
    eig pred "$BAND - 0.3 + (b == 2 ? (k % 2 ? 0.01 : -0.01) : 0) - (k == 3 && b == 1 ? 0.5 : 0)"
    run "$BIN/bandplot-data" --format summary --ref "$T/ref.nc" --top 2 --name p --ref-name r "$T/pred.nc"
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    [[ "${lines[1]}" == "-	p	r	1.000000	"*"	indirect	0.300000	27.727	500.000	22	1	11" ]]
    run "$BIN/bandplot-data" --format summary "$T/ref.nc"
    [ "${lines[1]}" = "-	bands	-	1.000000	4.000000	indirect	nan	nan	nan	0	0	11" ]
}

@test "--format kpoints: geneig --against bounds the differences, exactly where S has one eigenvalue" {
    # at Gamma S = 2, and H0 - H = 0.44 eV in uu and dd, 1 meV in ud: after the shift of 0.22 eV half a meV is left
    ncgen -k nc4 -o "$T/chain.nc" "$DATA/chain.cdl"
    printf '0 0 0\n' > "$T/gamma"
    "$BIN/geneig" --matrix h0 --against h_label --kpoints "$T/gamma" -o "$T/h0.nc" "$T/chain.nc"
    "$BIN/geneig" --matrix h_label --kpoints "$T/gamma" -o "$T/label.nc" "$T/chain.nc"
    "$BIN/bandplot-data" --efermi 100 --format kpoints --ref "$T/label.nc" "$T/h0.nc" > "$T/table"
    awk -F'\t' 'NR == 2 { good = $5 == 0.0005 && $7 == 0 && ($8 - 0.0005) ^ 2 < 1e-20 && $9 == 1 && $10 == 2 && ($11 - 0.001) ^ 2 < 1e-20 }
        END { exit !(good && NR == 2) }' "$T/table" || { cat "$T/table"; return 1; }
    # a real crystal: no difference is above its bound, which is not the same everywhere
    for m in h0 h_label; do
        "$BIN/geneig" --matrix $m --against h_label --mesh 2 2 2 -o "$T/$m.nc" pipelines/tiny/LiCl-1.nc
    done
    "$BIN/bandplot-data" --format kpoints --ref "$T/h_label.nc" "$T/h0.nc" > "$T/table"
    awk -F'\t' '!/^#/ { n++; if (!($5 <= $8 && $5 > 0 && $9 > 1)) bad = 1; if ($8 != first) other = 1; if (n == 1) first = $8 }
        END { exit bad || n != 8 || !other }' "$T/table" || { cat "$T/table"; return 1; }
    # against itself nothing is left of it; against another reference there is no bound
    "$BIN/bandplot-data" --format kpoints --ref "$T/h_label.nc" "$T/h_label.nc" | awk -F'\t' '!/^#/ && !($8 < 1e-9) { exit 1 }'
    "$BIN/bandplot-data" --format kpoints --ref "$T/h0.nc" "$T/h_label.nc" | awk -F'\t' '!/^#/ && $8 != "nan" { exit 1 }'
    run "$BIN/bandplot-data" --format kpoints "$T/h0.nc"
    [ "$status" -eq 2 ]
    run "$BIN/geneig" --against h0 --mesh 2 2 2 --matrix h_label --s-threshold 1e-4 "$T/chain.nc"
    [ "$status" -eq 2 ]
    one_line
}

@test "parts of the states: rows of the table, JSON, fat bands; spin; from a file without them an error" {
    ncgen -k nc4 -o "$T/chain.nc" "$DATA/chain.cdl"
    "$BIN/geneig" --matrix h_label --path "G 0 0 0; X .5 0 0" -n 4 --project atom-shell --spin -o "$T/eig.nc" "$T/chain.nc"
    "$BIN/bandplot-data" --efermi -8.75 --project element --spin z "$T/eig.nc" > "$T/states.tsv"
    grep -q '^#k_distance	label	band	energy_eV	H	sigma_x	sigma_y	sigma_z$' "$T/states.tsv"
    # 5 k-points, 2 bands, a line between them; all on H; the pair of spins cancels at each k-point
    grep -v '^#' "$T/states.tsv" | awk '
        NF == 0 { empty++; next }
        { n++; z[$1] += $8; if (NF != 8 || $5 != 1 || ($6 ^ 2 + $7 ^ 2 + $8 ^ 2 - 1) ^ 2 > 1e-10) bad = 1 }
        END { for (k in z) if (z[k] ^ 2 > 1e-10) bad = 1; exit bad || n != 10 || empty != 1 }'
    "$BIN/bandplot-data" --efermi -8.75 --project shell --spin x --format json "$T/eig.nc" > "$T/bands.json"
    python3 - "$T/bands.json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert d["projected_by"] == "shell" and list(d["projections"]) == ["H-s"]
assert len(d["projections"]["H-s"]) == 2 and len(d["spin"]["z"][1]) == 5
assert all(abs(x - 1) < 1e-6 for band in d["projections"]["H-s"] for x in band)
PY
    run "$BIN/bandplot-data" --efermi -8.75 --project atom --spin z --format gnuplot "$T/eig.nc"
    [ "$status" -eq 2 ]
    run "$BIN/bandplot-data" --project element "$T/ref.nc"
    [ "$status" -eq 1 ]
    [ "$output" = "bandplot-data: $T/ref.nc: no projections in it: geneig --project element" ]
    run "$BIN/bandplot-data" --spin x "$T/ref.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"no <sigma> in it: geneig --spin" ]]
}

@test "a density of states beside the bands: its Fermi level, pictures of all kinds; tables that are none" {
    sed 's/:cutoff = 2.5 ;/:cutoff = 2.5 ; :nelec = 1. ;/' "$DATA/chain.cdl" | ncgen -k nc4 -o "$T/chain.nc"
    "$BIN/geneig" --matrix h_label --path "G 0 0 0; X .5 0 0" -n 20 --project shell --spin -o "$T/eig.nc" "$T/chain.nc"
    "$BIN/dos" -q --matrix h_label --mesh 12 1 1 --project element -o "$T/dos.tsv" "$T/chain.nc"
    "$BIN/bandplot-data" --dos "$T/dos.tsv" "$T/eig.nc" | grep -q '^# bands: h_label, Fermi level -8.750000 eV (from the density of states)$'
    "$BIN/bandplot-data" --dos "$T/dos.tsv" --efermi -8 "$T/eig.nc" | grep -q 'Fermi level -8.000000 eV (--efermi)'
    # the table on the scale of the Hamiltonian is the same
    "$BIN/dos" -q --absolute --matrix h_label --mesh 12 1 1 --project element --window=-9:-5 -o "$T/absolute.tsv" "$T/chain.nc"
    "$BIN/bandplot-data" --dos "$T/absolute.tsv" "$T/eig.nc" | grep -q 'Fermi level -8.750000 eV'
    refused() {
        run "$BIN/bandplot-data" --dos "$T/bad.tsv" "$T/eig.nc"
        [ "$status" -eq 1 ] && [[ "$output" == "bandplot-data: $T/bad.tsv:"*"$1"* ]] && one_line || { echo "$output"; return 1; }
    }
    : > "$T/bad.tsv"; refused "no numbers"
    sed 's/^# Fermi level.*//' "$T/dos.tsv" > "$T/bad.tsv"; refused "no line with the Fermi level"
    sed '40s/	[^	]*$//' "$T/dos.tsv" > "$T/bad.tsv"; refused "columns expected"
    sed '40s/	.*/	x	1	1/' "$T/dos.tsv" > "$T/bad.tsv"; refused 'number expected'
    sed '40s/^[^	]*/-99/' "$T/dos.tsv" > "$T/bad.tsv"; refused "do not ascend"
    grep -v '^#e' "$T/dos.tsv" > "$T/bad.tsv"; refused "no header"
    "$BIN/bandplot-data" "$T/ref.nc" > "$T/bad.tsv"; refused 'column 1 is "k_distance"'
    command -v gnuplot > /dev/null || skip "no gnuplot"
    for more in "" "--project element" "--spin z"; do
        for suffix in svg png pdf; do
            rm -f "$T/picture.$suffix"
            "$BIN/bandplot-data" --dos "$T/dos.tsv" $more --format gnuplot --picture "$T/picture.$suffix" -o "$T/bands.gp" "$T/eig.nc"
            gnuplot "$T/bands.gp" 2> "$T/err"
            [ -s "$T/picture.$suffix" ] && [ ! -s "$T/err" ] || { cat "$T/err"; return 1; }
        done
    done
}
