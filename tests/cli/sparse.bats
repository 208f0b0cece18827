# geneig --solver sparse: the same bands, numbers and file as by the dense solver; what it refuses and what it says.
load helper

setup_file() {
    # Boron nitride of made-up species, 16 atoms, with and without spin.
    export D=$BATS_FILE_TMPDIR
    "$BATS_TEST_DIRNAME/../data/make_species.py" "$D" 2> /dev/null || /usr/bin/python3 "$BATS_TEST_DIRNAME/../data/make_species.py" "$D" || return 0
    awk 'BEGIN { n = 2; a = 3.6 * n / 2; printf "BN\n1\n0 %g %g\n%g 0 %g\n%g %g 0\nB N\n8 8\nDirect\n", a, a, a, a, a, a
        for (s = 0; s < 2; s++) for (i = 0; i < n; i++) for (j = 0; j < n; j++) for (k = 0; k < n; k++)
            printf "%.9f %.9f %.9f\n", (i + s / 4) / n, (j + s / 4) / n, (k + s / 4) / n }' > "$D/POSCAR"
    for spin in 1 4; do
        "${NH_BIN:-$PWD/bin}/h0build" -q --nspin $spin --ecut 20 --pseudo-dir "$D/pseudo" --orbital-dir "$D/orbital" \
            -o "$D/$spin.nc" "$D/POSCAR"
    done
    printf '0 0 0\n.5 0 0\n.1 .2 .3\n' > "$D/k"
}

setup() {
    T=$BATS_TEST_TMPDIR
    [ -e "$D/4.nc" ] || skip "no python3 with numpy to make species"
    have=1
    ! "$BIN/geneig" -q --solver sparse --nev 2 --sigma 5 --matrix h0 --kpoints "$D/k" -o "$T/x.nc" "$D/1.nc" 2>&1 |
        grep -q 'built without MUMPS' || have=0
}

need_mumps() {
    [ $have = 1 ] || skip "built without MUMPS"
}

# same A B: the same bands by number, energies within 1e-8 eV
same() {
    [ "$(values "$1" band_index)" = "$(values "$2" band_index)" ]
    [ "$(values "$1" band_count)" = "$(values "$2" band_count)" ]
    paste <(values "$1" eigenvalue) <(values "$2" eigenvalue) | awk '{ d = $1 - $2; n++; if (d ^ 2 > 1e-16) { print; bad = 1 } } END { exit bad || n < 3 }'
}

@test "without MUMPS: said, dense by default" {
    [ $have = 0 ] || skip "built with MUMPS"
    run "$BIN/geneig" --solver sparse --nev 2 --sigma 5 --matrix h0 --kpoints "$D/k" -o "$T/s.nc" "$D/1.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"libmumps-seq-dev"* ]]
    one_line
    "$BIN/geneig" -q --nev 2 --sigma 5 --matrix h0 --kpoints "$D/k" -o "$T/s.nc" "$D/1.nc"
}

@test "sparse equals dense: real and complex k-points, with and without spin, inside the spectrum and outside" {
    need_mumps
    for spin in 1 4; do
        for sigma in -60.3 2.1 9.37 400; do
            at="--nev 5 --sigma $sigma --matrix h0 --kpoints $D/k $D/$spin.nc"
            run "$BIN/geneig" --solver sparse -o "$T/s.nc" $at
            [ "$status" -eq 0 ] || { echo "$output"; return 1; }
            [ $spin = 4 ] || [[ "$output" == *"sparse: "*" real: "*" GB of "* ]]
            [[ "$output" == *"sparse: "*" complex: "* ]]
            "$BIN/geneig" -q --solver dense -o "$T/d.nc" $at
            # numbers may differ by a member of a degenerate state that the choice cuts: compare by number
            "$BIN/geneig" -q --matrix h0 --kpoints "$D/k" -o "$T/all.nc" "$D/$spin.nc"
            paste <(values "$T/s.nc" band_index) <(values "$T/d.nc" band_index) | awk '{ d = $1 - $2; if (d * d > 25) exit 1 }'
            { values "$T/all.nc" eigenvalue | sed 's/^/a /'; values "$T/s.nc" band_index | sed 's/^/i /'
              values "$T/s.nc" eigenvalue | sed 's/^/s /'; } | awk '
                $1 == "a" { a[n++] = $2 } $1 == "i" { first[k++] = $2 - 1 }
                $1 == "s" { q = int(m / 5); d = a[q * n / k + first[q] + m % 5] - $2; m++; if (d * d > 1e-16 || $2 ~ /nan/) bad = 1 }
                END { exit bad || m != 15 || k != 3 }'
        done
    done
}

@test "vectors: their file is that of the dense solver" {
    need_mumps
    at="--nev 1 --sigma -100 --vectors --matrix h0 --kpoints $D/k $D/1.nc"
    "$BIN/geneig" -q --solver sparse -o "$T/s.nc" $at
    "$BIN/geneig" -q --solver dense -o "$T/d.nc" $at
    same "$T/s.nc" "$T/d.nc"
    paste <(values "$T/s.nc" eigenvector) <(values "$T/d.nc" eigenvector) |
        awk '{ d = $1 - $2; n++; if (d ^ 2 > 1e-12) bad = 1 } END { exit bad || n < 100 }'
    [ "$(ncdump -h "$T/s.nc" | grep -v history | sed 1d)" = "$(ncdump -h "$T/d.nc" | grep -v history | sed 1d)" ]
}

@test "--solver auto: dense where the matrices are small" {
    run "$BIN/geneig" --nev 3 --sigma 2 --matrix h0 --kpoints "$D/k" -o "$T/s.nc" "$D/1.nc"
    [ "$status" -eq 0 ]
    [[ "$output" != *sparse* ]]
}

@test "sigma on a state: moved, said, the same bands" {
    need_mumps
    "$BIN/geneig" -q --matrix h0 --kpoints "$D/k" -o "$T/all.nc" "$D/1.nc"
    e=$(values "$T/all.nc" eigenvalue | sed -n 1p)
    run "$BIN/geneig" --solver sparse --nev 1 --sigma "$e" --matrix h0 --kpoints "$D/k" -o "$T/s.nc" "$D/1.nc"
    [ "$status" -eq 0 ] || { echo "$output"; return 1; }
    [[ "$output" == *"warning:"*"k-point 1: --sigma"*"is on a state"* ]]
    values "$T/s.nc" eigenvalue | awk -v e="$e" 'NR == 1 { exit !(($1 - e) ^ 2 < 1e-16) }'
}

@test "pipelines/large-cell.sh: a vacancy's states, those of the dense solver" {
    need_mumps
    export NEXTHAM_PSEUDO=$D/pseudo NEXTHAM_ORBITAL=$D/orbital H0BUILD_OPTIONS="--ecut 20"
    BIN=$BIN pipelines/large-cell.sh -n 1 -e B -a 3.6 -b 4 -o "$T/cell" 2> "$T/said"
    grep -q "sparse: .* real: .* GB of " "$T/said"
    [ "$(sed -n 7p "$T/cell/POSCAR")" = 7 ]
    "$BIN/geneig" -q --solver dense --matrix h0 --kpoints "$T/cell/gamma" --efermi auto --nev 4 -o "$T/d.nc" "$T/cell/graph.nc"
    level=$(ncdump -h "$T/d.nc" | awk '$1 == ":efermi" { print $3 }')
    paste <(grep -v '^#' "$T/cell/gap.txt") <(values "$T/d.nc" eigenvalue) |
        awk -v level="$level" '{ d = $2 + level - $3; if (d * d > 1e-11) bad = 1 } END { exit bad || NR != 4 }'
    run pipelines/large-cell.sh -n x
    [ "$status" -eq 2 ]
}

@test "--efermi auto: by counting, the level and the gap that all bands give" {
    need_mumps
    for spin in 1 4; do
        at="--efermi auto --matrix h0 --kpoints $D/k $D/$spin.nc"
        "$BIN/geneig" -q --solver dense -o "$T/d.nc" $at
        run "$BIN/geneig" --solver sparse --nev 2 -o "$T/s.nc" $at
        [ "$status" -eq 0 ] || { echo "$output"; return 1; }
        [[ "$output" == *"states below"*"electrons at 3 k-points: Fermi level "* ]]
        for f in s d; do
            ncdump -h "$T/$f.nc" | sed -n 's/^[ \t]*:\(efermi\|state_below_efermi\|state_above_efermi\) = \(.*\) ;/\2/p' > "$T/$f"
        done
        paste "$T/s" "$T/d" | awk '{ d = $1 - $2; if (d * d > 1e-16) bad = 1 } END { exit bad || NR != 3 }'
        ncdump -h "$T/s.nc" | grep -q 'efermi_from = "these k-points"'
    done
    run "$BIN/geneig" -q --solver sparse --nev 2 --nelec 1e6 -o "$T/s.nc" $at
    [ "$status" -eq 1 ]
    [[ "$output" == *"1e+06 electrons do not fill these bands"* ]]
    one_line
    for options in "--nelec 4" "--efermi auto --fermi-mesh 1 1 1" "--efermi auto --nelec 0" "--efermi 3"; do
        run "$BIN/geneig" $options --nev 2 --matrix h0 --kpoints "$D/k" -o "$T/s.nc" "$D/1.nc"
        [ "$status" -eq 2 ] || { echo "$options: $status $output"; return 1; }
        one_line
    done
}

@test "refused: too many bands, no memory, what is for the dense solver" {
    at="--matrix h0 --kpoints $D/k -o $T/s.nc $D/1.nc"
    for options in "--nev 100000 --sigma 0" "--nev 3 --sigma 0 --memory 1e-6" "--nev 3 --sigma 0 --s-threshold 1e-4" "--window 0:1" "--bands 1:2"; do
        case $options in *memory*) [ $have = 1 ] || continue ;; esac
        run "$BIN/geneig" -q --solver sparse $options $at
        [ "$status" -eq 1 ] || { echo "$options: $status $output"; return 1; }
        one_line
        [ ! -e "$T/s.nc" ]
    done
    "$BIN/fourier" -q --matrix h0 --kpoints "$D/k" -o "$T/hk.nc" "$D/1.nc"
    run "$BIN/geneig" -q --solver sparse --nev 3 --sigma 0 -o "$T/s.nc" "$T/hk.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"a reciprocal-space file has dense matrices"* ]]
    run "$BIN/geneig" --memory 0 --nev 3 --sigma 0 -o "$T/s.nc" "$T/hk.nc"
    [ "$status" -eq 2 ]
    one_line
}

@test "S that is not positive definite: k-point and counts" {
    need_mumps
    command -v python3 > /dev/null && /usr/bin/python3 -c 'import netCDF4' 2> /dev/null || skip "no netCDF4 for python3"
    cp "$D/1.nc" "$T/bad.nc"
    /usr/bin/python3 - "$T/bad.nc" <<'PY'
import sys
import netCDF4
f = netCDF4.Dataset(sys.argv[1], "a")
s = f["overlap"]
s[:] = [x if x > 0.999999 else 1.5 * x for x in s[:]]
f.close()
PY
    run "$BIN/geneig" -q --solver sparse --nev 3 --sigma 2 --matrix h0 --kpoints "$D/k" -o "$T/s.nc" "$T/bad.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == "geneig: $T/bad.nc: k-point 1 (0 0 0): the overlap matrix is not positive definite"* ]]
    one_line
}

@test "several processes: the file of one, Fermi level and vectors too" {
    need_mumps
    command -v mpirun > /dev/null || skip "no mpirun"
    for spin in 1 4; do
        at="-q --no-history -j 1 --solver sparse --nev 3 --efermi auto --vectors --matrix h0 --kpoints $D/k"
        "$BIN/geneig" $at -o "$T/one.nc" "$D/$spin.nc"
        for n in 2 3; do
            OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n $n "$BIN/geneig" $at -o "$T/$n.nc" \
                "$D/$spin.nc" 2> "$T/said" || {
                grep -q 'built without MPI' "$T/said" && skip "built without MPI"
                cat "$T/said"
                return 1
            }
            cmp "$T/one.nc" "$T/$n.nc"
        done
    done
}
