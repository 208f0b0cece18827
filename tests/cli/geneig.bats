# geneig: energies that can be checked by hand, the choices of bands, both kinds of input, bad input.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    G=$T/chain.nc
    ncgen -k nc4 -o "$G" "$DATA/chain.cdl"
    P="G 0 0 0; X .5 0 0"
}

# A reciprocal-space file by hand, one k-point, two orbitals: hk H11 RE_H12 IM_H12 H22 S12
hk() {
    cat > "$T/hk.cdl" <<CDL
netcdf hk {
dimensions: kpoint = UNLIMITED ; xyz = 3 ; basis = 2 ; ri = 2 ;
variables:
  double kpoint(kpoint, xyz) ; double k_weight(kpoint) ;
  double hk(kpoint, basis, basis, ri) ; double sk(kpoint, basis, basis, ri) ;
  :Conventions = "NextHAM-1" ;
data:
  kpoint = 0.5, 0, 0.25 ; k_weight = 1 ;
  hk = $1, 0, $2, $3, $2, $(awk "BEGIN { print -($3) }"), $4, 0 ;
  sk = 1, 0, $5, 0, $5, 0, 1, 0 ;
}
CDL
    ncgen -k nc4 -o "$T/hk.nc" "$T/hk.cdl"
}

@test "bands of a chain" {
    "$BIN/geneig" --matrix h_label --path "$P" -n 16 -o "$T/eig.nc" "$G"
    values "$T/eig.nc" eigenvalue | awk '
        { t = atan2(0, -1) * int((NR - 1) / 2) / 16
          e = (-9 - 8 * cos(t) - 2 * cos(2 * t)) / (1 + 0.8 * cos(t) + 0.2 * cos(2 * t))
          if ((e - $1) ^ 2 > 1e-22) { print NR, $1, e; bad = 1 } }
        END { exit bad || NR != 34 }'
}

@test "a file, a pipe, a real-space file: the same energies" {
    "$BIN/fourier" --mesh 4 3 1 -o "$T/hk.nc" "$G"
    "$BIN/geneig" -o "$T/a.nc" "$T/hk.nc"
    "$BIN/fourier" --mesh 4 3 1 < "$G" | "$BIN/geneig" > "$T/b.nc"
    "$BIN/geneig" --mesh 4 3 1 -o "$T/c.nc" "$G"
    "$BIN/geneig" --mesh 4 3 1 < "$G" > "$T/d.nc"
    for f in b c d; do
        for v in eigenvalue kpoint k_weight; do [ "$(text "$T/a.nc" $v)" = "$(text "$T/$f.nc" $v)" ]; done
    done
    [ "$(values "$T/a.nc" eigenvalue | wc -l)" -eq 24 ]
}

@test "the same bytes again, with one thread and with more" {
    for j in 1 3; do "$BIN/geneig" --no-history --mesh 7 2 1 --vectors -j $j -o "$T/$j.nc" "$G"; done
    cmp "$T/1.nc" "$T/3.nc"
}

@test "complex conjugation: vectors solve the problem with H as stored" {
    hk -1 0.5 0.75 2 0
    "$BIN/geneig" --vectors -o "$T/eig.nc" "$T/hk.nc"
    { values "$T/eig.nc" eigenvalue; values "$T/eig.nc" eigenvector; } | awk '
        { v[NR] = $1 }
        END { for (b = 0; b < 2; b++) { # (H C)_1 = H11 C1 + H12 C2
                e = v[1 + b]; o = 3 + 4 * b; r1 = v[o]; i1 = v[o + 1]; r2 = v[o + 2]; i2 = v[o + 3]
                re = -r1 + 0.5 * r2 - 0.75 * i2 - e * r1; im = -i1 + 0.5 * i2 + 0.75 * r2 - e * i1
                if (re * re + im * im > 1e-24) { print b, re, im; bad = 1 }
                if ((r1 * r1 + i1 * i1 + r2 * r2 + i2 * i2 - 1) ^ 2 > 1e-24) bad = 1 }
              exit bad || NR != 10 }'
}

@test "--bands, --window, --nev choose among the same energies" {
    "$BIN/geneig" --path "$P" -n 8 -o "$T/all.nc" "$G"
    "$BIN/geneig" --path "$P" -n 8 --bands 2:2 --vectors -o "$T/two.nc" "$G"
    [ "$(values "$T/two.nc" eigenvalue)" = "$(values "$T/all.nc" eigenvalue | awk 'NR % 2 == 0')" ]
    ncdump -h "$T/two.nc" | grep -q 'band_first = 2'
    "$BIN/geneig" --path "$P" -n 8 --window -7.4: --vectors -o "$T/window.nc" "$G"
    values "$T/all.nc" eigenvalue | awk '$1 >= -7.4' > "$T/expected"
    values "$T/window.nc" eigenvalue | grep -v NaN > "$T/found"
    cmp "$T/expected" "$T/found"
    [ -s "$T/found" ]
    [ "$(values "$T/window.nc" band_count | awk '{ n += $1 } END { print n }')" -eq "$(wc -l < "$T/found")" ]
    values "$T/window.nc" band_count | grep -q '^0$'
    "$BIN/geneig" --path "$P" -n 8 --window -7.4: -o "$T/window2.nc" "$G"
    [ "$(text "$T/window.nc" eigenvalue)" = "$(text "$T/window2.nc" eigenvalue)" ]
    "$BIN/geneig" --path "$P" -n 8 --nev 1 --sigma 100 -o "$T/near.nc" "$G"
    [ "$(values "$T/near.nc" eigenvalue)" = "$(values "$T/two.nc" eigenvalue)" ]
}

@test "S that is not positive definite: k-point and smallest eigenvalue; --s-threshold" {
    hk -1 0.5 0 2 1.25
    run "$BIN/geneig" -o "$T/eig.nc" "$T/hk.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == "geneig: $T/hk.nc: k-point 1 (0.5 0 0.25): "*"not positive definite: smallest eigenvalue -2.500e-01"* ]]
    one_line
    [ ! -e "$T/eig.nc" ]
    run "$BIN/geneig" --s-threshold 1e-4 --vectors -o "$T/eig.nc" "$T/hk.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"1 eigenvectors of S"*"projected out"* ]]
    # (1, 1)/sqrt(2) is left: E = (H11 + H22 + 2 H12)/2 / 2.25
    [ "$(values "$T/eig.nc" eigenvalue | awk '{ printf "%.9f ", $1 }' | tr -d -)" = "0.444444444 nan " ]
    [ "$(values "$T/eig.nc" band_count)" = 1 ]
    run "$BIN/geneig" --s-threshold 5 -o "$T/eig2.nc" "$T/hk.nc"
    [ "$status" -eq 1 ]
}

@test "an ill-conditioned S: k-point and kappa(S) on stderr; projected: how many in the file" {
    hk -1 0.5 0 2 0.999998
    run "$BIN/geneig" -o "$T/eig.nc" "$T/hk.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"ill-conditioned at 1 of 1 k-points, most at k-point 1 (0.5 0 0.25): smallest eigenvalue 2.0e-06, kappa(S) 1.0e+06"* ]]
    one_line
    [ -z "$("$BIN/geneig" -q -o "$T/eig.nc" "$T/hk.nc" 2>&1)" ]
    "$BIN/geneig" -q --s-threshold 1e-4 -o "$T/eig.nc" "$T/hk.nc"
    [ "$(values "$T/eig.nc" overlap_dropped)" = 1 ]
    "$BIN/bandplot-data" -q --efermi 0 --format json "$T/eig.nc" > /dev/null
    hk -1 0.5 0 2 0.99
    run "$BIN/geneig" -o "$T/eig.nc" "$T/hk.nc"
    [ -z "$output" ]
}

@test "Fermi level: carried from the input, or from filling a mesh" {
    sed 's/:cutoff = 2.5 ;/:cutoff = 2.5 ; :nelec = 1. ;/' "$DATA/chain.cdl" | ncgen -k nc4 -o "$T/n.nc"
    "$BIN/geneig" --matrix h_label --mesh 400 1 1 -o "$T/eig.nc" "$T/n.nc"
    # half-filled: the Fermi level is E(k = 1/4) = (-9 + 2)/(1 - 0.2)
    ncdump -h "$T/eig.nc" | grep -q 'efermi_from = "mesh"'
    ncdump -h "$T/eig.nc" | awk '$1 == ":efermi" { exit !(($3 + 8.75) ^ 2 < 1e-4) }'
    "$BIN/geneig" --path "$P" -o "$T/eig.nc" "$T/n.nc"
    ! ncdump -h "$T/eig.nc" | grep -q ':efermi'
    sed 's/:cutoff = 2.5 ;/:cutoff = 2.5 ; :nelec = 1. ; :efermi = 3. ;/' "$DATA/chain.cdl" | ncgen -k nc4 -o "$T/n.nc"
    "$BIN/fourier" --matrix h_label --mesh 400 1 1 "$T/n.nc" | "$BIN/geneig" -o "$T/eig.nc"
    ncdump -h "$T/eig.nc" | grep -q ':efermi = 3'
    ncdump -h "$T/eig.nc" | grep -q 'efermi_from = "input"'
    ncdump -h "$T/eig.nc" | awk '$1 == ":efermi_mesh" { exit !(($3 + 8.75) ^ 2 < 1e-4) }'
}

@test "H(k) that is not Hermitian: its Hermitian part, with a warning; NaN: an error" {
    hk -1 0.5 0.75 2 0
    sed 's/0.5, -0.75/0.5, 0.75/' "$T/hk.cdl" | ncgen -k nc4 -o "$T/skew.nc"
    run "$BIN/geneig" -o "$T/eig.nc" "$T/skew.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"warning:"*"hk is not Hermitian"*"7.500e-01"* ]]
    hk -1 0.5 0 2 0
    "$BIN/geneig" -o "$T/eig2.nc" "$T/hk.nc"
    [ "$(text "$T/eig.nc" eigenvalue)" = "$(text "$T/eig2.nc" eigenvalue)" ]
    sed 's/hk = -1/hk = NaN/' "$T/hk.cdl" | ncgen -k nc4 -o "$T/nan.nc"
    run "$BIN/geneig" -o "$T/eig3.nc" "$T/nan.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"hk"*"nan"* ]]
    one_line
    sed 's/sk = 1, 0, 0, 0, 0/sk = 1, 0, 0, 0, 0.1/' "$T/hk.cdl" | ncgen -k nc4 -o "$T/s.nc"
    run "$BIN/geneig" -o "$T/eig3.nc" "$T/s.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"sk"*"Hermitian"* ]]
    [ ! -e "$T/eig3.nc" ]
}

@test "wrong kinds of files, cut files" {
    "$BIN/geneig" --mesh 2 1 1 -o "$T/eig.nc" "$G"
    run "$BIN/geneig" -o "$T/x.nc" "$T/eig.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"neither a reciprocal-space file"* ]]
    "$BIN/fourier" --mesh 9 9 1 -o "$T/hk.nc" "$G"
    size=$(wc -c < "$T/hk.nc")
    for part in 100 $((size / 2)) $((size - 100)); do
        head -c $part "$T/hk.nc" > "$T/cut.nc"
        run "$BIN/geneig" -o "$T/x.nc" "$T/cut.nc"
        [ "$status" -eq 1 ]
        one_line
        run bash -c "'$BIN/geneig' -o '$T/x.nc' < '$T/cut.nc'"
        [ "$status" -eq 1 ]
    done
    : > "$T/empty.nc"
    run "$BIN/geneig" -o "$T/x.nc" "$T/empty.nc"
    [ "$status" -eq 1 ]
    hk -1 0.5 0 2 0
    sed 's/basis = 2/basis = 2 ; three = 3/; s/double sk(kpoint, basis, basis, ri)/double sk(kpoint, basis, three, ri)/; s/sk = .*/sk = 1,0,0,0,0,0,1,0,0,0,0,0 ;/' \
        "$T/hk.cdl" | ncgen -k nc4 -o "$T/shape.nc"
    run "$BIN/geneig" -o "$T/x.nc" "$T/shape.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"sk"* ]]
    [ ! -e "$T/x.nc" ]
}

@test "wrong command lines: one line, exit 2" {
    "$BIN/fourier" --mesh 2 1 1 -o "$T/hk.nc" "$G"
    for options in "--bands 1:2 --window -1:1" "--nev 2" "--sigma 1" "--nev 0 --sigma 1" "--bands 0:2" "--bands 1.5:2" "--bands 3:2" \
        "--s-threshold 0" "--device gpu" "--mesh 2 2 2" "--matrix h0" "-j 0"; do
        run "$BIN/geneig" $options -o "$T/x.nc" "$T/hk.nc"
        [ "$status" -eq 2 ] || { echo "$options: $status $output"; return 1; }
        one_line
    done
    run "$BIN/geneig" "$G"
    [ "$status" -eq 2 ]
    [[ "$output" == *"one of --kpath"* ]]
    for options in "--bands 1:3" "--nev 3 --sigma 0" "--window 1000:1001"; do
        run "$BIN/geneig" $options -o "$T/x.nc" "$T/hk.nc"
        [ "$status" -eq 1 ] || { echo "$options: $status"; return 1; }
        one_line
    done
}

@test "full disk, closed pipe" {
    run "$BIN/geneig" --mesh 2 2 2 -o /dev/full "$G"
    [ "$status" -eq 1 ]
    one_line
    run bash -c "'$BIN/geneig' --mesh 20 20 1 '$G' | head -c 4 | tail -c 3"
    [ "$output" = HDF ]
}

@test "--help names the solvers" {
    "$BIN/geneig" --help | tr '\n' ' ' | tr -s ' ' | grep -q 'dense, sparse, or the faster one'
    "$BIN/geneig" --man | grep -q '^.TH "GENEIG"'
}

@test "--path auto: the standard path of the crystal, said on stderr; the same in fourier" {
    "$BIN/mkgraph" -q --abacus pipelines/GaAs -o "$T/gaas.nc"
    run "$BIN/geneig" --matrix h0 --path auto --total 30 -o "$T/eig.nc" "$T/gaas.nc"
    [ "$status" -eq 0 ]
    [ "$output" = "geneig: path: F-43m (216), lattice cF2: GAMMA X U|K GAMMA L W X" ]
    "$BIN/fourier" -q --matrix h0 --path auto --total 30 "$T/gaas.nc" | "$BIN/geneig" -q -o "$T/by_fourier.nc"
    cmp <(ncdump -v kpoint,k_label,eigenvalue "$T/eig.nc" | sed -n '/^data:/,$p') \
        <(ncdump -v kpoint,k_label,eigenvalue "$T/by_fourier.nc" | sed -n '/^data:/,$p')
    "$BIN/bandplot-data" --format gnuplot "$T/eig.nc" | grep -q "'Γ' 0.000000, 'X' .*, 'U|K' .*, 'Γ' .*, 'L' "
}

@test "--path auto: --symprec belongs to it and is positive" {
    for wrong in "--path auto --symprec 0" "--path auto --symprec -1"; do
        run "$BIN/geneig" --matrix h_label $wrong "$G"
        [ "$status" -eq 2 ]
        [[ "$output" == *"--symprec: a positive number expected"* ]]
    done
    run "$BIN/geneig" --matrix h_label --path "$P" --symprec 0.1 "$G"
    [ "$status" -eq 2 ]
    [[ "$output" == *"--symprec belongs to --path auto" ]]
}

@test "--fermi-mesh: the level that fills the same bands on a mesh; H0's level is not the prediction's" {
    "$BIN/mkgraph" -q --abacus pipelines/GaAs -o "$T/gaas.nc"
    "$BIN/geneig" -q --matrix h0 --mesh 3 3 3 --gamma -o "$T/mesh.nc" "$T/gaas.nc"
    "$BIN/geneig" -q --matrix h0 --path auto --total 20 --fermi-mesh 3 3 3 -o "$T/path.nc" "$T/gaas.nc"
    level() { ncdump -h "$1" | awk -v a=":$2" '$1 == a { print $3 }'; }
    [ "$(level "$T/mesh.nc" efermi_mesh)" = "$(level "$T/path.nc" efermi)" ]
    ncdump -h "$T/path.nc" | grep -q 'efermi_from = "mesh 3x3x3"'
    [ "$("$BIN/bandplot-data" --format summary --fermi "$T/mesh.nc" "$T/path.nc" | tail -1 | cut -f4)" = "$(printf %.6f "$(level "$T/path.nc" efermi)")" ]
    # A prediction beside H0 alone: the file's level is H0's.
    local run=pipelines/GaAs
    "$BIN/mkgraph" -q --h0 $run/h0/OUT.ABACUS/data-HR-sparse_SPIN0.csr.xz --overlap $run/scf/OUT.ABACUS/data-SR-sparse_SPIN0.csr.xz \
        --log $run/h0/OUT.ABACUS/running_scf.log.xz --basis Ga:2s2p2d1f,As:2s2p1d -o "$T/h0.nc" $run/h0/STRU
    ncdump -h "$T/h0.nc" | grep -q ":efermi = "
    "$BIN/nhinfer" -q -m pipelines/model.nc -o "$T/ham.nc" "$T/h0.nc"
    "$BIN/geneig" -q --path "G 0 0 0; X .5 0 .5" -n 3 -o "$T/pred.nc" "$T/ham.nc"
    ! ncdump -h "$T/pred.nc" | grep -q ":efermi = "
    run "$BIN/geneig" --matrix h_label --fermi-mesh 0 1 1 --path "$P" "$G"
    [ "$status" -eq 2 ]
}

# ranks N ARGUMENT...: geneig by N processes; skips where there is no MPI
ranks() {
    command -v mpirun > /dev/null || skip "no mpirun"
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n "$1" "$BIN/geneig" "${@:2}" 2> "$T/said" && return 0
    grep -q 'built without MPI' "$T/said" && skip "built without MPI"
    return 1
}

# said N: geneig, not mpirun, wrote N lines
said() {
    [ "$(grep -c '^geneig: ' "$T/said")" -eq "$1" ] || { cat "$T/said"; return 1; }
}

@test "several processes: the file of one, both kinds of input, vectors, projections, choices of bands" {
    "$BIN/fourier" -q --mesh 5 2 1 -o "$T/hk.nc" "$G"
    at="-q --no-history -j 1 --vectors"
    for o in "--mesh 7 3 1 --project atom-shell $G" "--mesh 7 3 1 --window -8:-7 $G" "--mesh 20 1 1 --nev 1 --sigma -7 $G" "--bands 2:2 $T/hk.nc"; do
        "$BIN/geneig" $at -o "$T/one.nc" $o
        for n in 2 3; do
            ranks $n $at -o "$T/$n.nc" $o
            cmp "$T/one.nc" "$T/$n.nc"
        done
    done
}

@test "more processes than k-points: said, the same file; batches of small matrices" {
    "$BIN/fourier" -q --mesh 2 1 1 -o "$T/hk.nc" "$G"
    "$BIN/geneig" --no-history -j 1 -o "$T/one.nc" "$T/hk.nc"
    ranks 3 --no-history -j 1 -o "$T/3.nc" "$T/hk.nc"
    cmp "$T/one.nc" "$T/3.nc"
    grep -q 'warning: .*3 processes for 2 k-points: 1 have nothing to do' "$T/said"
    said 1
    ranks 2 --no-history -j 1 --mesh 3 1 1 -o "$T/2.nc" "$G"
    grep -q '2 processes for 3 k-points: 1 have nothing to do (small matrices: 8 k-points at a time)' "$T/said"
}

@test "several processes: a failure of one ends all, in one line; no pipe" {
    hk -1 0.5 0 2 0
    sed 's/kpoint = 0.5, 0, 0.25/kpoint = 0, 0, 0, 0.5, 0, 0.25/; s/k_weight = 1/k_weight = 0.5, 0.5/
        /^  [hs]k = /{ s/;//; h; s/.* = //; s/^/, /; x; G; s/$/ ;/ }' "$T/hk.cdl" | awk '
        /^  sk = / { sk = 1 } sk && /^, / { $0 = ", 1, 0, 2, 0, 2, 0, 1, 0 ;" } { print }' > "$T/two.cdl"
    ncgen -k nc4 -o "$T/two.nc" "$T/two.cdl"
    ranks 2 -q -j 1 -o "$T/well.nc" "$T/hk.nc" # or skips
    run ranks 2 -q -j 1 -o "$T/out.nc" "$T/two.nc" # on the second process only
    [ "$status" -ne 0 ]
    said 1
    grep -q 'k-point 2 (0.5 0 0.25): .*not positive definite' "$T/said"
    [ ! -e "$T/out.nc" ]
    run ranks 2 -q -j 1 -o "$T/nowhere/out.nc" "$T/hk.nc" # on the first one only
    [ "$status" -ne 0 ]
    said 1
    run ranks 2 -q -j 1 -o "$T/out.nc" "$T/none.nc" # on both
    [ "$status" -ne 0 ]
    said 1
    mkfifo "$T/pipe"
    run ranks 2 -q -j 1 -o "$T/out.nc" "$T/pipe"
    [ "$status" -ne 0 ]
    said 1
    grep -q 'several processes cannot read one pipe' "$T/said"
    run ranks 2 -q -j 1 -o "$T/out.nc" - < "$T/hk.nc"
    [ "$status" -ne 0 ]
    said 1
    grep -q 'standard input: several processes cannot read one pipe' "$T/said"
}
