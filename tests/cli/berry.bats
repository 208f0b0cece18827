#!/usr/bin/env bats
# berry: a two-band model whose Chern number, Hall conductivity and curvature are known, and the same for both spins; masses of a
# chain; bad input.

load helper
bats_require_minimum_version 1.5.0

setup() {
    T=$BATS_TEST_TMPDIR
    cd "$T" || exit 1
}

# H = sin x s_x + sin y s_y + (m + cos x + cos y) s_z on a square lattice of 3 Å, layers 5 Å apart; Chern number sign(m) for |m| < 2 and 0 beyond.
# model M SPIN [POSITION]: SPIN 4 has the complex conjugate in the other spin, SPIN mag nothing there.
model() {
    awk -v m="$1" -v spin="$2" -v position="${3-yes}" 'BEGIN {
        n = spin == 1 ? 1 : 4
        up = "0.5,0, 0,0.5, 0,0.5, -0.5,0,  0.5,0, 0.5,0, -0.5,0, -0.5,0,  " m ",0, 0,0, 0,0, " (-m) ",0,  0.5,0, -0.5,0, 0.5,0, -0.5,0,  0.5,0, 0,-0.5, 0,-0.5, -0.5,0"
        down = "0.5,0, 0,-0.5, 0,-0.5, -0.5,0,  0.5,0, 0.5,0, -0.5,0, -0.5,0,  " m ",0, 0,0, 0,0, " (-m) ",0,  0.5,0, -0.5,0, 0.5,0, -0.5,0,  0.5,0, 0,0.5, 0,0.5, -0.5,0"
        if (spin == "mag") down = up
        zero = "0"; for (i = 1; i < 40; i++) zero = zero ",0"
        h = n == 1 ? up : up ", " zero ", " zero ", " down
        r = "0"; for (i = 1; i < 60; i++) r = r ",0"
        print "netcdf m {\ndimensions: xyz = 3 ; ri = 2 ; spin = " n " ; atom = 1 ; species = 1 ; shell = 2 ; pair = 5 ; elem = 20 ;"
        print "variables: double lattice(xyz, xyz) ; double position(atom, xyz) ; int atom_species(atom) ; int atomic_number(species) ;"
        print "int species_shells(species) ; int shell_l(shell) ; int pair_src(pair) ; int pair_dst(pair) ; int pair_cell(pair, xyz) ;"
        print "double pair_distance(pair) ; int64 pair_start(pair) ; double overlap(elem) ; double h_pred(spin, elem, ri) ;"
        if (position == "yes") print "double position_matrix(xyz, elem) ;"
        print ":Conventions = \"NextHAM-1\" ; :cutoff = 4. ; :nelec = " (spin == 1 ? 2 : 2) ". ;\ndata:"
        print "lattice = 3,0,0, 0,3,0, 0,0,5 ; position = 0,0,0 ; atom_species = 0 ; atomic_number = 1 ; species_shells = 2 ; shell_l = 0, 0 ;"
        print "pair_src = 0,0,0,0,0 ; pair_dst = 0,0,0,0,0 ; pair_cell = -1,0,0, 0,-1,0, 0,0,0, 0,1,0, 1,0,0 ;"
        print "pair_distance = 3,3,0,3,3 ; pair_start = 0,4,8,12,16 ; overlap = 0,0,0,0, 0,0,0,0, 1,0,0,1, 0,0,0,0, 0,0,0,0 ;"
        print "h_pred = " h " ;"
        if (position == "yes") print "position_matrix = " r " ;"
        print "}" }' > m.cdl
    ncgen -k nc4 -o m.nc m.cdl
}

rows() { grep -v '^#' "$1"; }

refused() { # STATUS TEXT...
    [ "$status" -eq "$1" ]
    one_line
    for text in "${@:2}"; do [[ "$output" == *"$text"* ]] || { echo "no \"$text\" in: $output"; return 1; }; done
    [ ! -e out ]
}

@test "curvature by hand, on a path, in a plane, from any number of threads" {
    model -1.2 1
    "$BIN/berry" -q --path "G 0 0 0; M .5 .5 0" -n 10 -j 1 m.nc > path
    "$BIN/berry" -q --path "G 0 0 0; M .5 .5 0" -n 10 -j 3 m.nc > again
    cmp path again
    # x = y = t: d = (sin, sin, m + 2 cos), d . (dx d x dy d) = cos^2 (m + 2 cos) + 2 sin^2 cos; both spins
    rows path | awk '
        { t = 2 * atan2(0, -1) * $3; s = sin(t); c = cos(t); z = -1.2 + 2 * c
          o = 2 * 9 * (c * c * z + 2 * s * s * c) / (2 * (2 * s * s + z * z) ^ 1.5)
          if (($8 - o) ^ 2 > 1e-10 * o ^ 2 + 1e-24 || $6 ^ 2 + $7 ^ 2 > 1e-16) { print $0, o; bad = 1 } }
        END { exit bad || NR != 11 }'
    [ "$(rows path | sed -n '1p;$p' | cut -f2 | tr '\n' ' ')" = "G M " ]
    "$BIN/berry" -q --plane 3 --height .25 --mesh 6 5 1 m.nc > plane
    [ "$(rows plane | cut -f5 | sort -u)" = 0.25 ]
    [ "$(rows plane | wc -l)" -eq 30 ]
}

@test "Chern numbers, and the Hall conductivity that belongs to them" {
    for m in -1.2 0.7 2.6; do
        model $m 1
        "$BIN/berry" -q --compute chern --mesh 10 10 10 m.nc > chern
        "$BIN/berry" -q --compute hall --mesh 40 40 1 m.nc > hall
        c=$(rows chern | awk '$1 == "k3" { print $3 }')
        case $m in -1.2 | 0.7) [ "${c#-}" -eq 1 ] ;; *) [ "$c" -eq 0 ] ;; esac
        rows chern | awk '$1 != "k3" && $3 != 0 { exit 1 }'
        # -2 c e^2/h a layer of 5 Å
        rows hall | awk -v c="$c" '{ s = -2 * c * 3.87404586e-5 / 5e-10; if (($4 - s) ^ 2 > 1e-6 * 77481 ^ 2 * 4 || $2 != 0) { print $4, s; exit 1 } }'
    done
    model -1.2 1
    "$BIN/berry" -q --compute chern --plane 3 --height .3 --mesh 8 8 1 --centres m.nc > centres
    [ "$(rows centres | wc -l)" -eq 9 ]
}

@test "processes share the k-points" {
    command -v mpirun > /dev/null || skip "no mpirun"
    model -1.2 1
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n 2 "$BIN/berry" -q -j 1 --plane 3 --mesh 5 3 1 m.nc > two 2> said || {
        grep -q 'built without MPI' said && skip "no MPI"
        cat said
        return 1
    }
    "$BIN/berry" -q --plane 3 --mesh 5 3 1 m.nc > one
    cmp one two
}

@test "Z2: a stack of quantum spin Hall layers, and an ordinary one; a magnet has none" {
    model -1.2 4
    "$BIN/berry" -q --compute z2 --mesh 16 16 16 m.nc > z2
    grep -qx '# Z2 = 0;(001)' z2
    rows z2 | awk '{ if ($3 != ($1 == "k3")) exit 1 } END { exit NR != 6 }'
    "$BIN/berry" -q --compute z2 --plane 3 --mesh 16 16 1 --centres m.nc > plane
    [ "$(rows plane | wc -l)" -ge 20 ]
    model 2.6 4
    "$BIN/berry" -q --compute z2 --mesh 8 8 8 m.nc > z2
    grep -qx '# Z2 = 0;(000)' z2
    model -1 mag
    run "$BIN/berry" --compute z2 --mesh 8 8 8 -o out m.nc
    refused 1 "its time reversal differ by up to" "--time-reversal"
    run "$BIN/berry" -q --compute z2 --time-reversal --mesh 8 8 8 -o out m.nc # the mean has lost its s_x: gapless
    refused 1 "no gap above band 2"
    model -1.2 1
    run "$BIN/berry" -q --compute z2 -o out m.nc
    refused 1 "spin-orbit"
}

@test "masses of a chain with overlap, at a point and at the edge that is looked for" {
    ncgen -k nc4 -o chain.nc "$DATA/chain.cdl"
    "$BIN/berry" -q --compute mass --matrix h_label --at "0 0 0" --band 1 chain.nc > mass
    # E = (-9 - 8 cos - 2 cos 2)/(1 + .8 cos + .2 cos 2) at 0: n = -19, d = 2, n'' = 16, d'' = -1.6; both spins; m/m_e = 7.61996/(a^2 E'')
    rows mass | awk '
        $7 == "given" && $8 == 1 { e = (16 - 9.5 * 1.6) / 2; m = 7.619964231 / (4 * e); if (($12 / m - 1) ^ 2 > 1e-10 || $11 != 0 || $6 != -9.5) { print; exit 1 } n++ }
        $7 == "given" && $8 == 0 && $12 != "inf" { exit 1 }
        $7 == "principal" { p++ }
        END { exit n != 2 || p != 3 }'
    model -1.2 1
    "$BIN/berry" -q --compute mass --mesh 7 7 1 --direction "1 1 0" m.nc > edges
    grep -q '^vbm' edges
    grep -q '^cbm' edges
    # at the edge both bands have the same mass, of opposite sign
    rows edges | awk '$1 == "vbm" && $7 == "given" { v = $12 } $1 == "cbm" && $7 == "given" { c = $12; s = $11 } END { exit !(v < 0 && (v + c) ^ 2 < 1e-8 * c ^ 2 && s ^ 2 < 1e-10) }'
}

@test "no position matrix, no whole number of bands, no gap, bands that meet" {
    model -1.2 1 no
    run "$BIN/berry" -q --mesh 2 2 1 -o out m.nc
    refused 1 "no variable position_matrix" "--no-position"
    run -0 "$BIN/berry" --no-position --mesh 2 2 1 m.nc
    [[ "$output" == *"dipoles within atoms and bonds are left out"* ]]
    "$BIN/berry" -q --compute chern --mesh 8 8 8 m.nc # needs none
    run "$BIN/berry" -q --compute chern --nelec 3 -o out m.nc
    refused 1 "fill no whole number of bands"
    run "$BIN/berry" -q --compute chern --occupied 2 -o out m.nc
    refused 1 "2 filled bands of 2"
    run "$BIN/berry" -q --compute hall --no-position --mesh 2 2 1 --nelec 5 -o out m.nc
    refused 1 "the bands hold 4 electrons"
    model 0 1 # closed at (1/2, 0)
    run "$BIN/berry" -q --compute chern --mesh 8 8 8 -o out m.nc
    refused 1 "no gap above band 1"
    run "$BIN/berry" -q --mesh 2 2 1 --gamma -o out m.nc
    refused 1 "bands 1 and 2 are" "k-point"
    run "$BIN/berry" -q --compute mass --at "0 0 0" --band 3 -o out m.nc
    refused 1 "band 3 of 2"
    run "$BIN/berry" -q --compute mass --at "0 0" -o out m.nc
    refused 1 "--at"
}

@test "wrong command lines" {
    for wrong in "" "--mesh 2 2 2 --plane 3" "--mesh 2 2 1 --height .5" "--compute hall --path auto" "--compute chern --path auto" "--compute z2 --mesh 3 8 8" \
        "--compute mass" "--compute mass --mesh 2 2 2 --at 0" "--compute chern --efermi 0" "--mesh 2 2 2 --occupied 1 --nelec 2" "--mesh 2 2 2 --occupied 0" \
        "--mesh 2 2 2 --temperature 0" "--mesh 2 2 2 --degenerate 0" "--mesh 2 2 2 --centres" "--mesh 2 2 2 --time-reversal" "--mesh 2 2 2 --band 1" \
        "--compute mass --at 0 --slope 0" "--compute z2 --height .5" "--mesh 2 2 2 --nelec -2" "--compute hall --mesh 2 2 2 --plane 1"; do
        # shellcheck disable=SC2086
        run "$BIN/berry" $wrong -o out /nonexistent
        refused 2 || { echo "with: $wrong"; return 1; }
    done
}
