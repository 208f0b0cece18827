#!/usr/bin/env bats
# mkgraph: every way in, and everything that must be refused.

load helper
bats_require_minimum_version 1.5.0

setup() {
    TINY=$DATA/abacus_tiny
    RUN=$TINY/nspin4/scf
    HR=$RUN/OUT.tiny/data-HR-sparse_SPIN0.csr
    SR=$RUN/OUT.tiny/data-SR-sparse_SPIN0.csr.gz
    cd "$BATS_TEST_TMPDIR" || exit 1
}

# One line on stderr that names the program and has the given texts; exit 1; nothing left behind.
refused() {
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "${lines[0]}" == "mkgraph: "* ]]
    for text in "$@"; do
        [[ "${lines[0]}" == *"$text"* ]] || { echo "no \"$text\" in: ${lines[0]}"; return 1; }
    done
    [ ! -e out.nc ]
    [ -z "$(find . -name 'out.nc*')" ]
}

# The real part of the first element of the first block that is not empty: replaced.
edit() {
    awk -v with="$1" '/^[-0-9]+ [-0-9]+ [-0-9]+ [1-9][0-9]*$/ && !n {n = NR}
        n && NR == n + 1 {sub(/\([^,]*,/, with)} {print}' "$2"
}

dump() { ncdump -p 9,17 "$@"; }

@test "a folder with h0 and scf gives everything" {
    run -0 "$BIN/mkgraph" --abacus "$TINY/nspin4" -o out.nc
    [ -z "$output" ]
    run -0 ncdump -h out.nc
    [[ "$output" == *"spin = 4"* ]]
    [[ "$output" == *"double h0(spin, elem, ri)"* ]]
    [[ "$output" == *"double h_label(spin, elem, ri)"* ]]
    [[ "$output" == *"double overlap(elem)"* ]]
    [[ "$output" == *":efermi = 2.5 ;"* ]]
    [[ "$output" == *":nelec = 8. ;"* ]]
    [[ "$output" == *":rydberg = 13.605698066 ;"* ]]
    [[ "$output" == *':title = "BN"'* ]]
}

@test "the same from single files, from two folders, through pipes" {
    "$BIN/mkgraph" --abacus "$TINY/nspin4" --no-history -o a.nc
    "$BIN/mkgraph" --abacus "$RUN" --abacus-h0 "$TINY/nspin4/h0" --no-history -o b.nc
    gunzip -c "$SR" > sr.csr
    "$BIN/mkgraph" --h0 "$TINY/nspin4/h0/OUT.tiny/data-HR-sparse_SPIN0.csr.gz" --label "$HR" --overlap sr.csr \
        --log "$RUN/OUT.tiny/running_scf.log" --no-history < "$RUN/STRU" | cat > c.nc
    cmp a.nc b.nc
    # a netCDF image from memory lists its variables in another order
    diff <(dump a.nc | tail -n +2 | sort) <(dump c.nc | tail -n +2 | sort)
}

@test "one run folder: scf_nmax 1 is the zeroth step, anything else the label" {
    run -0 --separate-stderr "$BIN/mkgraph" --abacus "$TINY/nspin4/h0" -o h0.nc
    [[ "$stderr" == *"warning"*"no S(R)"* ]]
    run -0 ncdump -h h0.nc
    [[ "$output" == *"h0(spin"* && "$output" != *h_label* && "$output" != *overlap* ]]
    "$BIN/mkgraph" --abacus "$RUN" -o scf.nc
    run -0 ncdump -h scf.nc
    [[ "$output" == *"h_label(spin"* && "$output" != *"h0(spin"* ]]
}

@test "nspin 1 and 2" {
    "$BIN/mkgraph" --abacus "$TINY/nspin1" -o one.nc
    run -0 ncdump -h one.nc
    [[ "$output" == *"spin = 1"* ]]
    "$BIN/mkgraph" --abacus "$TINY/nspin2" --no-history -o two.nc
    run -0 ncdump -h two.nc
    [[ "$output" == *"spin = 4"* ]]
    D=$TINY/nspin2/OUT.tiny
    "$BIN/mkgraph" --label "$D/data-HR-sparse_SPIN0.csr,$D/data-HR-sparse_SPIN1.csr" --overlap "$D/data-SR-sparse_SPIN0.csr" \
        --log "$D/running_scf.log" --no-history "$TINY/nspin2/STRU" -o comma.nc
    "$BIN/mkgraph" --label "$D/data-HR-sparse_SPIN0.csr" --label "$D/data-HR-sparse_SPIN1.csr" \
        --overlap "$D/data-SR-sparse_SPIN0.csr" --log "$D/running_scf.log" --no-history "$TINY/nspin2/STRU" -o twice.nc
    cmp two.nc comma.nc
    cmp two.nc twice.nc
}

@test "every dialect of the label gives the same bytes" {
    "$BIN/mkgraph" --label "$HR" --overlap "$SR" --no-history "$RUN/STRU" -o text.nc
    for f in c.csr.gz "steps.csr.gz --step 2" d.dat d_always.dat e.dat; do
        "$BIN/mkgraph" --label "$TINY/dialects/"$f --overlap "$SR" --no-history "$RUN/STRU" -o other.nc
        cmp text.nc other.nc
    done
    xz -k -c "$HR" > label.csr.xz
    "$BIN/mkgraph" --label label.csr.xz --overlap "$SR" --no-history "$RUN/STRU" -o other.nc
    cmp text.nc other.nc
}

@test "-v tells what was detected" {
    run -0 "$BIN/mkgraph" -v --abacus "$TINY/nspin4" -o out.nc
    [[ "$output" == *"dialect B (text, STEP line), complex, dimension 18"* ]]
    [[ "$output" == *"B: 2s1p"* ]]
    [[ "$output" == *"ABACUS STRU, 2 atoms"* ]]
    run -0 "$BIN/mkgraph" -v --step 2 --label "$TINY/dialects/steps.csr.gz" "$RUN/STRU" -o out.nc
    [[ "$output" == *", ionic step 2"* ]]
}

@test "options: rydberg, efermi, nelec, cutoff, precision" {
    "$BIN/mkgraph" --abacus "$RUN" --rydberg 13.6 --efermi -1.5 --nelec 7 --cutoff 4 --precision single -o out.nc
    run -0 ncdump -h out.nc
    [[ "$output" == *":rydberg = 13.6 ;"* ]]
    [[ "$output" == *":efermi = -1.5 ;"* ]]
    [[ "$output" == *":nelec = 7. ;"* ]]
    [[ "$output" == *":cutoff = 4. ;"* ]]
    [[ "$output" == *"float h_label"* ]]
}

@test "structure alone: POSCAR, extended XYZ, CIF, STRU with a basis" {
    printf 'GaAs\n5.653\n0 .5 .5\n.5 0 .5\n.5 .5 0\nGa As\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > POSCAR
    printf '2\nLattice="0 2.8265 2.8265 2.8265 0 2.8265 2.8265 2.8265 0" Properties=species:S:1:pos:R:3\nGa 0 0 0\nAs 1.41325 1.41325 1.41325\n' > a.xyz
    for f in POSCAR a.xyz; do
        "$BIN/mkgraph" --basis Ga:2s2p2d1f,As:2s2p1d "$f" -o "$f.nc"
        run -0 ncdump -v pair_distance,shell_l "$f.nc"
        [[ "$output" == *"pair = 198 ;"* ]]
        [[ "$output" == *"shell_l = 0, 0, 1, 1, 2, 2, 3, 0, 0, 1, 1, 2"* ]]
    done
    # the conventional cell of the same crystal: four times the pairs
    printf 'data_GaAs\n_cell_length_a 5.653(1)\n_cell_length_b 5.653(1)\n_cell_length_c 5.653(1)\n' > a.cif
    printf '_cell_angle_%s 90\n' alpha beta gamma >> a.cif
    printf "_symmetry_space_group_name_H-M 'F -4 3 m'\nloop_\n" >> a.cif
    printf '_atom_site_%s\n' label fract_x fract_y fract_z >> a.cif
    printf 'Ga1 0 0 0\nAs1 0.25 0.25 0.25\n' >> a.cif
    "$BIN/mkgraph" --basis Ga:2s2p2d1f,As:2s2p1d a.cif -o cif.nc
    run -0 ncdump -h cif.nc
    [[ "$output" == *"atom = 8 ;"* && "$output" == *"pair = 792 ;"* && "$output" == *':title = "GaAs"'* ]]
    sed 's/F -4 3 m/F d -3 m/' a.cif > bad.cif
    run "$BIN/mkgraph" --basis Ga:2s,As:2s bad.cif -o out.nc
    refused bad.cif "several settings"
    run "$BIN/mkgraph" POSCAR -o out.nc
    refused "shells of Ga" "--basis"
    run "$BIN/mkgraph" --basis Ga:2s POSCAR -o out.nc
    refused "no shells for As"
    run "$BIN/mkgraph" --basis Ga:2s2x,As:1s POSCAR -o out.nc
    refused "2s2x"
    mkdir orb
    printf 'Element Ga\nNumber of Sorbital--> 1\nNumber of Porbital--> 1\nSUMMARY END\n' > orb/Ga_x_6au.orb
    run "$BIN/mkgraph" --orbital-dir orb POSCAR -o out.nc
    refused "As_*.orb"
    sed 's/Ga/As/' orb/Ga_x_6au.orb > orb/As_x_6au.orb
    "$BIN/mkgraph" --orbital-dir orb POSCAR -o out.nc
}

@test "a truncated matrix" {
    head -c 40000 "$HR" > cut.csr
    run "$BIN/mkgraph" --label cut.csr --overlap "$SR" "$RUN/STRU" -o out.nc
    refused cut.csr:
    head -c 2000 "$SR" > cut.csr.gz
    run "$BIN/mkgraph" --overlap cut.csr.gz "$RUN/STRU" -o out.nc
    refused cut.csr.gz "gzip"
    head -c 30000 "$TINY/dialects/e.dat" > cut.dat
    run "$BIN/mkgraph" --label cut.dat "$RUN/STRU" -o out.nc
    refused cut.dat "cut off"
}

@test "a NaN in H" {
    edit "(nan," "$HR" > nan.csr
    run "$BIN/mkgraph" --label nan.csr "$RUN/STRU" -o out.nc
    refused nan.csr:6 "not finite"
}

@test "an H that is not Hermitian" {
    edit "(3.0e-01," "$HR" > bent.csr
    run ! cmp -s "$HR" bent.csr
    run "$BIN/mkgraph" --label bent.csr "$RUN/STRU" -o out.nc
    refused bent.csr "adjoint" "atoms" "cell"
}

@test "an S that mixes spins, or is another matrix" {
    run "$BIN/mkgraph" --overlap "$HR" "$RUN/STRU" -o out.nc
    refused "holds H(R)"
    sed 's/H(R)/S(R)/' "$HR" > fake.csr
    run "$BIN/mkgraph" --overlap fake.csr "$RUN/STRU" -o out.nc
    refused fake.csr "overlap"
}

@test "a basis that does not fit" {
    run "$BIN/mkgraph" --label "$HR" --basis B:2s1p,N:2s1p "$RUN/STRU" -o out.nc
    refused data-HR "dimension 18" "10 orbitals"
    run "$BIN/mkgraph" --label "$HR" --basis B:1s1p,N:2s1p --overlap "$SR" "$RUN/STRU" -o out.nc
    refused data-SR "basis does not fit"
    run "$BIN/mkgraph" --label "$HR" --basis B:1p2s,N:1s1p "$RUN/STRU" -o out.nc
    refused "s before p"
}

@test "a matrix of another structure" {
    sed '/^LATTICE_CONSTANT/,/^LATTICE_VECTORS/s/^1\.8.*/8.0/' "$RUN/STRU" > STRU
    run "$BIN/mkgraph" --overlap "$SR" STRU -o out.nc
    refused data-SR "another structure"
    mkdir -p pair
    cp -r "$TINY/nspin4/h0" "$TINY/nspin4/scf" pair
    sed -i 's/^0\.02/0.03/' pair/scf/STRU
    run "$BIN/mkgraph" --abacus pair -o out.nc
    refused pair/h0/STRU pair/scf/STRU "atom 1"
}

@test "missing and wrong files" {
    run "$BIN/mkgraph" --label none.csr "$RUN/STRU" -o out.nc
    refused none.csr "No such file"
    run "$BIN/mkgraph" none.vasp -o out.nc
    refused none.vasp "No such file"
    run "$BIN/mkgraph" --abacus nowhere -o out.nc
    refused nowhere "no ABACUS run folder"
    head -c 5000 /dev/urandom > noise
    run "$BIN/mkgraph" --label noise "$RUN/STRU" -o out.nc
    refused noise
    run "$BIN/mkgraph" noise -o out.nc
    refused noise
    echo "some prose" > prose
    run "$BIN/mkgraph" --label prose "$RUN/STRU" -o out.nc
    refused prose "no ABACUS sparse matrix"
    run "$BIN/mkgraph" --log prose "$RUN/STRU" -o out.nc
    refused prose "no log"
    cp -r "$TINY/nspin2" .
    rm nspin2/OUT.tiny/data-HR-sparse_SPIN1.csr
    run "$BIN/mkgraph" --abacus nspin2 -o out.nc
    refused nspin2 "no second file"
    rm nspin2/OUT.tiny/data-HR*
    run "$BIN/mkgraph" --abacus nspin2 -o out.nc
    refused nspin2 "no H(R)"
}

@test "two atoms on one spot" {
    awk '/^N$/ && p {f = 1} /ATOMIC_POSITIONS/ {p = 1} f && NF > 6 {print "1.02 0.03 0.01"; next} {print}' "$RUN/STRU" > STRU
    run "$BIN/mkgraph" STRU -o out.nc
    refused STRU "one spot" "atoms 1 and 2"
}

@test "wrong command lines end with 2" {
    run -2 "$BIN/mkgraph" --abacus "$TINY/nspin4" --label "$HR"
    run -2 "$BIN/mkgraph" --abacus-h0 "$TINY/nspin4/h0" "$RUN/STRU"
    run -2 "$BIN/mkgraph" --cutoff -1 "$RUN/STRU"
    run -2 "$BIN/mkgraph" --nonsense
    run -2 "$BIN/mkgraph" --precision half "$RUN/STRU"
}

@test "a full disk, an unwritable folder" {
    [ -w /dev/full ] || skip "no /dev/full"
    run -1 "$BIN/mkgraph" --abacus "$RUN" -o /dev/full
    run -1 "$BIN/mkgraph" --abacus "$RUN" -o /nonexistent/out.nc
    [ "${#lines[@]}" -eq 1 ]
}

@test "the same bytes at every run" {
    "$BIN/mkgraph" --abacus "$TINY/nspin4" --no-history -o a.nc
    "$BIN/mkgraph" --abacus "$TINY/nspin4" --no-history -o b.nc
    cmp a.nc b.nc
}

@test "the GaAs run of the repository" {
    run -0 "$BIN/mkgraph" -v --abacus "$DATA/../../pipelines/GaAs" -o gaas.nc
    [[ "$output" == *"2 atoms, 38 orbitals, 270 pairs (198 within 8 Å), spin 4"* ]]
    run -0 ncdump -h gaas.nc
    [[ "$output" == *":efermi = 7.709013411"* ]]
    [[ "$output" == *":nelec = 18."* ]]
}

@test "all real runs" {
    [ -d "$SHARED/data/abacus" ] || skip "no ../shared"
    for crystal in "$SHARED"/data/abacus/*/; do
        "$BIN/mkgraph" --abacus "$crystal" -o "$(basename "$crystal").nc"
        run -0 ncdump -h "$(basename "$crystal").nc"
        [[ "$output" == *"h0(spin"* && "$output" == *"h_label(spin"* && "$output" == *"overlap(elem)"* ]]
    done
}

@test "S(R) against the structure: named where the orbitals are at hand, --no-verify" {
    RAW=$SHARED/data/abacus/GaAs
    [ -d "$RAW" ] || skip "no published orbitals"
    xz -dc "$RAW"/scf/OUT.ABACUS/data-SR-sparse_SPIN0.csr.xz > sr.csr
    cp "$RAW/scf/STRU" STRU
    export NEXTHAM_ORBITAL=$SHARED/data/orbital
    run -0 --separate-stderr "$BIN/mkgraph" -v --overlap sr.csr -o good.nc STRU
    [[ "$stderr" == *"S(R) is that of the structure within "* ]]
    run -0 ncdump -h good.nc
    [[ "$output" == *':orbital_hash = "Ga:'*' As:'* ]]
    awk '/LATTICE_CONSTANT/ { print; getline; print $1 * 1.01; next } { print }' STRU > stretched
    run "$BIN/mkgraph" --overlap sr.csr -o out.nc stretched
    refused sr.csr "another structure"
    run -0 "$BIN/mkgraph" --overlap sr.csr --no-verify -o stretched.nc stretched
    run -0 ncdump -h stretched.nc
    [[ "$output" != *orbital_hash* ]]
    mkdir other
    cp "$SHARED"/data/orbital/Ga_*.orb "$SHARED"/data/orbital/As_*.orb other
    sed -i 's/1\.0/1.1/' other/As_*.orb
    run "$BIN/mkgraph" --orbital-dir other --overlap sr.csr -o out.nc STRU
    refused sr.csr "other orbitals"
    # without orbitals, what can be seen without them
    run -0 --separate-stderr env -u NEXTHAM_ORBITAL "$BIN/mkgraph" -v --basis Ga:2s2p2d1f,As:2s2p1d --overlap sr.csr -o good.nc STRU
    [[ "$stderr" == *"S(R) is not made again from the structure: "* ]]
    awk '/POSITIONS/ { on = 1 } on && NF >= 3 && $1 > 0.2 { $1 += 1.3 } { print }' STRU > moved
    ! cmp -s STRU moved
    run env -u NEXTHAM_ORBITAL "$BIN/mkgraph" --basis Ga:2s2p2d1f,As:2s2p1d --overlap sr.csr -o out.nc moved
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
}
