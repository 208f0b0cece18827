#!/usr/bin/env bats
# h0build: made-up species with their symmetries everywhere; the six reference crystals where their data are.

load helper
bats_require_minimum_version 1.5.0

setup_file() {
    /usr/bin/python3 tests/data/make_species.py "$BATS_FILE_TMPDIR"
}

setup() {
    M=$BATS_FILE_TMPDIR
    CHECK="/usr/bin/python3 $PWD/tests/cli/h0build_check.py"
    export NEXTHAM_PSEUDO=$M/pseudo NEXTHAM_ORBITAL=$M/orbital
    cd "$BATS_TEST_TMPDIR" || exit 1
    poscar 0 0 0 > POSCAR
    SMALL="--ecut 30 -q"
}

# Zincblende BN, a little rattled; the atoms moved by x y z (fractional).
poscar() {
    awk -v x="$1" -v y="$2" -v z="$3" 'BEGIN {
        print "BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect"
        printf "%.15f %.15f %.15f\n%.15f %.15f %.15f\n", 0.1 + x, 0.12 + y, 0.14 + z, 0.36 + x, 0.35 + y, 0.4 + z }'
}

# One line on stderr that names the program and has the given texts; exit 1; nothing left behind.
refused() {
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "${lines[0]}" == "h0build: "* ]]
    for text in "$@"; do
        [[ "${lines[0]}" == *"$text"* ]] || { echo "no \"$text\" in: ${lines[0]}"; return 1; }
    done
    [ -z "$(find . -name 'out.nc*')" ]
}

@test "hermitian, its own time reversal, all electrons; the same bytes from any number of threads, from a pipe" {
    "$BIN/h0build" $SMALL --no-history -j 1 POSCAR -o one.nc
    "$BIN/h0build" $SMALL --no-history -j 3 POSCAR -o three.nc
    cmp one.nc three.nc
    "$BIN/h0build" $SMALL --no-history - < POSCAR | cat > pipe.nc
    $CHECK same one.nc pipe.nc 0
    $CHECK symmetries one.nc
    run -0 ncdump -h one.nc
    [[ "$output" == *":nelec = 8. ;"* && "$output" == *":ecut = 30. ;"* && "$output" == *':title = "BN"'* ]]
    [[ "$output" == *':orbital_hash = "B:'*' N:'* && "$output" == *':pseudo_hash = "B:'* && "$output" == *":grid = "* ]]
    [[ "$output" != *kinetic* && "$output" != *position_matrix* ]]
}

@test "atoms moved by lattice vectors are the same atoms; by a step of the grid, the same crystal" {
    "$BIN/h0build" $SMALL POSCAR -o a.nc
    n=$(ncdump -h a.nc | sed -n 's/.*:grid = \([0-9]*\),.*/\1/p')
    poscar 2 -1 1 > moved
    "$BIN/h0build" $SMALL moved -o b.nc
    $CHECK same a.nc b.nc 1e-9
    poscar "$(awk "BEGIN { print 1 / $n }")" 0 "$(awk "BEGIN { print -2 / $n }")" > step
    "$BIN/h0build" $SMALL step -o c.nc
    $CHECK same a.nc c.nc 1e-8
}

@test "a supercell folds into its cell" {
    cat > small <<'END'
BN
1
3.7 0 0
0.2 3.6 0
0 0.3 3.5
B N
1 1
Direct
0.1 0.2 0.3
0.55 0.7 0.8
END
    awk 'NR == 3 { print 2 * $1, 2 * $2, 2 * $3; next } NR == 6 { print "B N B N"; next } NR == 7 { print "1 1 1 1"; next }
         NR < 9 { print; next } { x[NR] = $1; rest[NR] = $2 " " $3 }
         END { for (k = 0; k < 2; k++) for (i = 9; i <= 10; i++) printf "%.15f %s\n", (x[i] + k) / 2, rest[i] }' small > big
    "$BIN/h0build" --ecut 31 -q small -o small.nc
    "$BIN/h0build" --ecut 31 -q big -o big.nc
    a=$(ncdump -h small.nc | sed -n 's/.*:grid = \([0-9]*\),.*/\1/p')
    b=$(ncdump -h big.nc | sed -n 's/.*:grid = \([0-9]*\),.*/\1/p')
    [ "$b" -eq $((2 * a)) ]
    $CHECK folded small.nc big.nc 0 1e-8
}

@test "a rotated crystal has the same bands" {
    for angle in 0 0.7; do
        awk -v t=$angle 'BEGIN { c = cos(t); s = sin(t) }
            function turn(x, y, z,  u, v) { u = c * x - s * y; v = s * x + c * y; return sprintf("%.15f %.15f %.15f", u, c * v - s * z, s * v + c * z) }
            BEGIN { print 2
                print "Lattice=\"" turn(0, 1.8, 1.8), turn(1.8, 0, 1.8), turn(1.8, 1.8, 0) "\" Properties=species:S:1:pos:R:3"
                print "B", turn(0.1, 0.2, 0.3); print "N", turn(1.05, 1.1, 1.2) }' > $angle.xyz
        "$BIN/h0build" $SMALL $angle.xyz | "$BIN/geneig" -q --matrix h0 --mesh 2 2 2 -o $angle.nc
        values $angle.nc eigenvalue > $angle.txt
    done
    paste 0.txt 0.7.txt | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > worst) worst = d } END { print NR, worst; exit !(NR > 50 && worst < 1e-6) }'
}

@test "without spin, T, r(R), single precision" {
    "$BIN/h0build" $SMALL --kinetic --position POSCAR -o four.nc
    "$BIN/h0build" $SMALL --nspin 1 POSCAR -o one.nc
    $CHECK scalar four.nc one.nc
    NEXTHAM_PSEUDO=$M/scalar "$BIN/h0build" $SMALL --nspin 1 POSCAR -o scalar.nc
    $CHECK position four.nc
    run -0 ncdump -h four.nc
    [[ "$output" == *"double kinetic(elem)"* && "$output" == *"double position_matrix(xyz, elem)"* ]]
    "$BIN/h0build" $SMALL --precision single POSCAR -o single.nc
    run -0 ncdump -h single.nc
    [[ "$output" == *"float h0(spin, elem, ri)"* && "$output" == *"float overlap(elem)"* ]]
    $CHECK same four.nc single.nc 1e-4
}

@test "a magnetisation splits the spins" {
    "$BIN/h0build" $SMALL --abacus-magnetism POSCAR -o m.nc
    run $CHECK symmetries m.nc
    [ "$status" -eq 1 ]
    [[ "$output" =~ ^hermitian\ (0.0e.00|[0-9.]+e-1[0-9]),\ time\ reversal\ [0-9.]+e([+]|-0[12]) ]]
    run -2 "$BIN/h0build" --abacus-magnetism --nspin 1 POSCAR -o out.nc
}

@test "STRU names its own files: in the folders, or beside it" {
    mkdir run
    cp "$M"/pseudo/B.upf run/boron.UPF
    cp "$M"/pseudo/N.upf run
    cp "$M"/orbital/*.orb run
    cat > run/STRU <<'END'
ATOMIC_SPECIES
B 10.8 boron.UPF upf201
N 14.0 ./N.upf
NUMERICAL_ORBITAL
B_made.orb
N_made.orb
LATTICE_CONSTANT
1.8897261246257702
LATTICE_VECTORS
0 1.8 1.8
1.8 0 1.8
1.8 1.8 0
ATOMIC_POSITIONS
Direct
B
0
1
0.1 0.12 0.14
N
0
1
0.36 0.35 0.4
END
    "$BIN/h0build" $SMALL POSCAR -o a.nc
    env -u NEXTHAM_PSEUDO -u NEXTHAM_ORBITAL "$BIN/h0build" $SMALL run/STRU -o b.nc
    $CHECK same a.nc b.nc 1e-8
    env -u NEXTHAM_PSEUDO ABACUS_PSEUDO=run "$BIN/h0build" $SMALL --orbital-dir run - < run/STRU > c.nc
    $CHECK same a.nc c.nc 1e-8
    run "$BIN/h0build" $SMALL run/STRU -o out.nc # the folder has no boron.UPF
    refused boron.UPF
}

@test "bad input: one line each" {
    run env -u NEXTHAM_PSEUDO -u ABACUS_PSEUDO "$BIN/h0build" $SMALL POSCAR -o out.nc
    refused "B: no folder" --pseudo-dir NEXTHAM_PSEUDO
    sed 's/B N/B Xe/' POSCAR > xenon
    run "$BIN/h0build" $SMALL xenon -o out.nc
    refused "no file Xe_*.upf"
    for kind in "US ultrasoft" "PAW PAW" "scalar scalar-relativistic"; do
        run env NEXTHAM_PSEUDO="$M/${kind% *}" "$BIN/h0build" $SMALL POSCAR -o out.nc
        refused "B.upf" "${kind#* }"
    done
    mkdir wrong
    cp "$M/orbital/B_made.orb" wrong/N_made.orb
    cp "$M/orbital/B_made.orb" wrong
    run "$BIN/h0build" $SMALL --orbital-dir wrong POSCAR -o out.nc
    refused N_made.orb "orbitals of B where those of N"
    cp "$M"/pseudo/*.upf wrong
    head -c 20000 "$M/pseudo/N.upf" > wrong/N.upf
    run "$BIN/h0build" $SMALL --pseudo-dir wrong POSCAR -o out.nc
    refused N.upf truncated
    cp "$M/pseudo/B.upf" wrong/N.upf
    run "$BIN/h0build" $SMALL --pseudo-dir wrong POSCAR -o out.nc
    refused "of B where that of N"
    cp "$M/pseudo/N.upf" wrong/N.upf
    cp "$M/pseudo/N.upf" wrong/N_too.upf
    run "$BIN/h0build" $SMALL --pseudo-dir wrong POSCAR -o out.nc
    refused "several files"
    sed '10s/.*/0.1001 0.12 0.14/' POSCAR > spot
    run "$BIN/h0build" $SMALL spot -o out.nc
    refused spot "1 and 2" spot
    sed '2s/.*/0.1/' POSCAR > nanometres
    run "$BIN/h0build" $SMALL nanometres -o out.nc
    refused nanometres "Å"
    sed '2s/.*/1e-10/' POSCAR > metres
    run "$BIN/h0build" $SMALL metres -o out.nc
    refused metres
    sed '3s/.*/0 0.2 0.2/; 4s/.*/0.2 0 0.2/; 6s/.*/B/; 7s/.*/1/' POSCAR > flat
    run "$BIN/h0build" $SMALL flat -o out.nc
    refused flat "too small"
    run "$BIN/h0build" $SMALL --memory 0.01 POSCAR -o out.nc
    refused "GB are needed" "0.0 GB are allowed"
    for option in "--ecut 0" "--cutoff -1" "--memory 0"; do
        run -2 "$BIN/h0build" $option POSCAR -o out.nc
        one_line
    done
}

# --- the published pseudopotentials and orbitals, where they are ---

real() {
    [ -d "$SHARED/data/h0ref" ] || skip "no reference crystals"
    [[ $BIN != */san/* ]] || skip "minutes under the sanitizers: the made-up crystals above go through the same code"
    export NEXTHAM_PSEUDO=$SHARED/data/pseudo NEXTHAM_ORBITAL=$SHARED/data/orbital
}

@test "docs/h0.md 12: six crystals against the reference" {
    real
    for name in Si GaAs MgO Au PbTe MoS2; do
        "$BIN/h0build" -q "$SHARED/data/abacus/$name/h0/STRU" -o $name.nc
        echo -n "# $name against the reference:  " >&3
        $CHECK against $name.nc "$SHARED/data/h0ref/$name.nc" >&3
    done
}

@test "docs/h0.md 12: six crystals against ABACUS's matrices, which are magnetised" {
    real
    for name in Si GaAs MgO Au PbTe MoS2; do
        "$BIN/h0build" -q --abacus-magnetism "$SHARED/data/abacus/$name/h0/STRU" -o $name.nc
        "$BIN/mkgraph" -q --abacus "$SHARED/data/abacus/$name" --cutoff 1 -o ref.nc
        echo -n "# $name against ABACUS:  " >&3
        $CHECK against $name.nc ref.nc >&3
    done
}

@test "crystals of other elements" {
    real
    cd "$BATS_TEST_TMPDIR"
    for name in CdTe-mp-406 LiHf-mp-973948 CaReBi-mp-631458 Hg-mp-1017981; do
        [ -e "$SHARED/data/labels/$name.nc.xz" ] || skip "no labels"
        xz -dc "$SHARED/data/labels/$name.nc.xz" > label.nc
        $CHECK structure label.nc > s.xyz
        "$BIN/h0build" -q s.xyz -o h.nc
        echo -n "# $name:  " >&3
        $CHECK against h.nc label.nc >&3
    done
}
