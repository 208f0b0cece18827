#!/usr/bin/env bats
# nhconvert: from every format to every other, by its own readers and by others.

load helper
bats_require_minimum_version 1.5.0

PYTHON=${NH_PYTHON:-/usr/bin/python3}

setup() {
    TINY=$DATA/abacus_tiny
    READER="$PYTHON $PWD/tests/cli/nhconvert_reader.py"
    GAAS=$PWD/pipelines/GaAs MODEL=$PWD/pipelines/model.nc LICL=$PWD/pipelines/tiny/LiCl-1.nc
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# One line on stderr that names the program and has the given texts; exit 1; nothing left behind.
refused() {
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "${lines[0]}" == "nhconvert: "* ]]
    for text in "$@"; do
        [[ "${lines[0]}" == *"$text"* ]] || { echo "no \"$text\" in: ${lines[0]}"; return 1; }
    done
    [ ! -e out ]
}

# same A.nc B.nc MATRIX_A MATRIX_B TOLERANCE
same() {
    $PYTHON -c 'import netCDF4' 2> /dev/null || skip "no netCDF4 for Python"
    $READER same "$@"
}

# bands FILE.nc MATRIX K...: energies of geneig in eV, one a line
bands() {
    local file=$1 matrix=$2
    shift 2
    printf '%s\n' "${@//,/ }" > k.list
    "$BIN/geneig" -q --matrix "$matrix" --kpoints k.list "$file" -o eig.nc
    values eig.nc eigenvalue
}

# close A B TOLERANCE: the same numbers
close() {
    [ "$(wc -w < "$1")" -gt 0 ]
    paste -d ' ' <(tr -s ' ' '\n' < "$1" | grep .) <(tr -s ' ' '\n' < "$2" | grep .) |
        awk -v t="$3" 'NF != 2 || ($1 - $2)^2 > t^2 { bad = 1; print "differ:", $0 } END { exit bad }'
}

@test "graph -> DeepH old -> new -> ABACUS text -> binary -> graph" {
    "$BIN/mkgraph" --abacus "$TINY/nspin4/scf" -o graph.nc
    "$BIN/nhconvert" --to deeph-old graph.nc -o old
    "$BIN/nhconvert" --to deeph old -o new
    "$BIN/nhconvert" --to graph new -o new.nc
    same graph.nc new.nc h_label h_label 0
    run -0 ncdump -h new.nc
    [[ "$output" == *":efermi = 2.5 ;"* && "$output" == *":nelec = 8. ;"* && "$output" == *':title = "BN"'* ]]
    "$BIN/nhconvert" --to abacus-text new -o text
    "$BIN/nhconvert" --to abacus-binary text -o binary
    "$BIN/nhconvert" --to abacus-csr binary -o csr
    run -0 "$BIN/nhconvert" -v --to graph csr -o last.nc
    [[ "$output" == *"csr: a run of ABACUS"* && "$output" == *"dialect C"* ]]
    same graph.nc last.nc h_label h_label 1e-12
    # without spin, through the same doors
    "$BIN/mkgraph" --abacus "$TINY/nspin1" -o graph1.nc
    "$BIN/nhconvert" --to deeph graph1.nc -o new1
    "$BIN/nhconvert" --to deeph-old - -o old1 < graph1.nc
    "$BIN/nhconvert" --to graph new1 -o new1.nc
    "$BIN/nhconvert" --to graph old1 | cat > old1.nc
    same graph1.nc new1.nc h_label h_label 0
    same graph1.nc old1.nc h_label h_label 0
}

@test "GaAs, a prediction: its bands in DeepH's files" {
    [ -f "$MODEL" ] || skip "no model"
    "$BIN/mkgraph" --abacus "$GAAS/scf" --abacus-h0 "$GAAS/h0" | "$BIN/nhinfer" -q -m "$MODEL" -o ham.nc
    run -0 "$BIN/nhconvert" --to deeph ham.nc -o new
    [[ "$output" == "nhconvert: h_pred, one of 3 matrices (--matrix chooses)" ]]
    run -0 "$BIN/nhconvert" --to deeph-old --matrix h_pred ham.nc -o old
    [ -z "$output" ]
    bands ham.nc h_pred 0,0,0 0.5,0,0.5 0.1,0.23,-0.37 > reference
    for f in new old; do
        "$BIN/nhconvert" --to graph $f -o $f.nc
        bands $f.nc h_pred 0,0,0 0.5,0,0.5 0.1,0.23,-0.37 > own
        close reference own 1e-6
    done
    $PYTHON -c 'import h5py' 2> /dev/null || skip "no h5py for Python: DeepH's files were read by nhconvert alone"
    $READER bands deeph new 0,0,0 0.5,0,0.5 0.1,0.23,-0.37 > other
    close reference other 1e-6
    $READER bands deeph-old old 0,0,0 0.5,0,0.5 0.1,0.23,-0.37 > other
    close reference other 1e-6
}

@test "GaAs, a prediction: its bands in Wannier90's files" {
    [ -f "$MODEL" ] || skip "no model"
    "$BIN/mkgraph" --abacus "$GAAS/scf" --abacus-h0 "$GAAS/h0" | "$BIN/nhinfer" -q -m "$MODEL" -o ham.nc
    bands ham.nc h_pred 0,0,0 0.5,0,0.5 0.5,0.5,0.5 > reference
    # without a ceiling all bands are those of the mesh
    run -0 "$BIN/nhconvert" --to wannier90 --matrix h_pred --mesh 2 2 2 --ceiling 0 ham.nc -o w
    [[ "$output" == "nhconvert: mesh 2 x 2 x 2, no ceiling: bands between k-points"*"no position matrix"* ]]
    [[ "$(head -1 w_hr.dat)" == "nextham: GaAs h_pred, Loewdin orbitals, all up, then all down; mesh 2 x 2 x 2"* ]]
    $PYTHON -c 'import numpy' 2> /dev/null || skip "no numpy for Python"
    for kind in hr tb; do
        $READER bands $kind w_$kind.dat 0,0,0 0.5,0,0.5 0.5,0.5,0.5 > other
        close reference other 1e-6
    done
    # with one, those below it
    "$BIN/nhconvert" -q --to wannier90 --matrix h_pred --mesh 2 2 2 --ceiling 10 ham.nc -o c
    $READER bands hr c_hr.dat 0,0,0 0.5,0,0.5 0.5,0.5,0.5 > other
    awk '$1 < 17.7' reference > below
    tr -s ' ' '\n' < other | awk '$1 < 17.7' > other.below
    [ "$(wc -l < below)" -gt 60 ]
    close below other.below 1e-6
    # its lattice and atoms; the orbitals stand at these
    [ "$(head -1 w_centres.xyz)" -eq 78 ]
    grep -q '^num_wann = 76$' w.win
    [ "$(sed -n '/begin atoms_cart/,/end/p' w.win | tail -n +3 | head -2)" = "$(tail -2 w_centres.xyz)" ]
}

@test "Wannier90: a position matrix, and what there is no file for" {
    $PYTHON -c 'import numpy' 2> /dev/null || skip "no numpy for Python"
    $PYTHON "${BATS_TEST_DIRNAME%/cli}/data/make_species.py" .
    printf 'BN\n3.615\n0 .5 .5\n.5 0 .5\n.5 .5 0\nB N\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > POSCAR
    "$BIN/h0build" -q --ecut 20 --position --pseudo-dir pseudo --orbital-dir orbital POSCAR -o bn.nc
    run -0 "$BIN/nhconvert" --to wannier90 --mesh 3 3 3 --efermi 5 bn.nc -o bn
    [[ "$output" == *"r from the position matrix" ]]
    # an orbital of B is spread about the atom at the origin, one of N about its own
    awk 'NR > 2 && $1 == "X" && ($2 > 2 || $2 < -2) { bad = 1 } END { exit bad }' bn_centres.xyz
    bands bn.nc h0 0,0,0 > reference
    $READER bands tb bn_tb.dat 0,0,0 | tr -s ' ' '\n' | head -8 > other
    head -8 reference > below
    close below other 1e-6
    run "$BIN/nhconvert" --to wannier90 --mesh 0 1 1 bn.nc -o out
    refused bn.nc "1 to 64 points"
    run "$BIN/nhconvert" --to wannier90 --mesh 2 2 2 bn.nc -o nowhere/out
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == "nhconvert: nowhere/out_hr.dat"* ]]
    for a in "--to graph --mesh 2 2 2 deeph" "--to deeph --ceiling 3 bn.nc -o x" "--to wannier90 --ceiling -1 bn.nc -o x"; do
        # shellcheck disable=SC2086
        run "$BIN/nhconvert" $a
        [ "$status" -eq 2 ]
        [ "${#lines[@]}" -eq 1 ]
    done
}

@test "single precision, a graph with several matrices: the one that is asked for" {
    for m in h0 h_label; do
        "$BIN/nhconvert" --to deeph --matrix $m "$LICL" -o $m
        "$BIN/nhconvert" --to graph $m -o $m.nc
        same "$LICL" $m.nc $m $m 0
    done
    run "$BIN/nhconvert" --to deeph --matrix h_pred "$LICL" -o out
    refused "no h_pred to write"
}

@test "what the folder lacks, options give" {
    "$BIN/mkgraph" --abacus "$TINY/nspin4/scf" -o graph.nc
    "$BIN/nhconvert" --to abacus-text graph.nc -o text
    "$BIN/nhconvert" --to graph --efermi 1.5 --nelec 8 --cutoff 4 text -o a.nc
    run -0 ncdump -h a.nc
    [[ "$output" == *":efermi = 1.5 ;"* && "$output" == *":nelec = 8. ;"* && "$output" == *":cutoff = 4. ;"* ]]
    "$BIN/nhconvert" --to deeph graph.nc -o deeph
    "$BIN/nhconvert" --to graph --efermi -1 --cutoff 3 deeph -o b.nc
    run -0 ncdump -h b.nc
    [[ "$output" == *":efermi = -1. ;"* && "$output" == *":nelec = 8. ;"* && "$output" == *":cutoff = 3. ;"* ]]
    rm deeph/overlap.h5
    run -0 "$BIN/nhconvert" --to graph deeph -o c.nc
    [[ "$output" == "nhconvert: warning: deeph: no overlap.h5" ]]
    run "$BIN/nhconvert" --to abacus-text deeph -o out
    [ "$status" -eq 1 ]
    [[ "${lines[1]}" == "nhconvert: no overlap to write" ]]
    # a folder whose info.json cannot be read as ABACUS's is not taken for one
    rm deeph/POSCAR
    run "$BIN/nhconvert" --to graph deeph -o out
    refused "neither a run of ABACUS"
}

@test "what is not read says what it is" {
    printf 'PK\3\4' > a.npz
    run "$BIN/nhconvert" --to graph a.npz -o out
    refused "HamGNN's npz is not read"
    for f in a.scfout:OpenMX a.HSX:SIESTA wannier90_hr.dat:Wannier a.csr:mkgraph a.txt:"neither a graph.nc"; do
        echo text > "${f%%:*}"
        run "$BIN/nhconvert" --to graph "${f%%:*}" -o out
        refused "${f#*:}"
    done
    mkdir empty
    run "$BIN/nhconvert" --to graph empty -o out
    refused "neither a run of ABACUS"
    run "$BIN/nhconvert" --to graph nothing -o out
    refused "nothing: No such file"
    run "$BIN/nhconvert" --to graph "$LICL" -o out
    refused "is a graph.nc already"
    echo CDFx > broken.nc
    run "$BIN/nhconvert" --to deeph broken.nc -o out
    refused broken.nc
    mkdir full
    touch full/file
    run "$BIN/nhconvert" --to deeph --matrix h0 "$LICL" -o full
    refused "the folder is not empty"
    run "$BIN/nhconvert" --to abacus-csr --matrix h0 "$LICL" -o nowhere/full
    refused "nowhere/full"
}

@test "wrong command lines" {
    for a in "graph.nc -o x" "--to tape graph.nc -o x" "--to deeph graph.nc" "--to graph --matrix h0 deeph" "--to graph --cutoff -1 x"; do
        # shellcheck disable=SC2086
        run "$BIN/nhconvert" $a
        [ "$status" -eq 2 ]
        [ "${#lines[@]}" -eq 1 ]
    done
}
