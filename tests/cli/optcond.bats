#!/usr/bin/env bats
# optcond: a molecule's line by hand, tables that agree with each other, bad input; GaAs where its data are.

load helper
bats_require_minimum_version 1.5.0

setup() {
    T=$BATS_TEST_TMPDIR
    cd "$T" || exit 1
}

# A hydrogen molecule far from the next: bonding and antibonding level at -+2 eV, orbitals 1 Å apart as points. h_pred has
# half of the splitting. $1: nelec line, $2: position_matrix or nothing
molecule() {
    cat > m.cdl <<CDL
netcdf m {
dimensions: xyz = 3 ; ri = 2 ; spin = 1 ; atom = 2 ; species = 1 ; shell = 1 ; pair = 4 ; elem = 4 ;
variables:
  double lattice(xyz, xyz) ; double position(atom, xyz) ; int atom_species(atom) ; int atomic_number(species) ;
  int species_shells(species) ; int shell_l(shell) ; int pair_src(pair) ; int pair_dst(pair) ; int pair_cell(pair, xyz) ;
  double pair_distance(pair) ; int64 pair_start(pair) ; double overlap(elem) ; double h_label(spin, elem, ri) ;
  double h_pred(spin, elem, ri) ;
  ${2:+double position_matrix(xyz, elem) ;}
  :Conventions = "NextHAM-1" ; :cutoff = 2. ; ${1-:nelec = 2. ;}
data:
  lattice = 10, 0, 0, 0, 10, 0, 0, 0, 10 ; position = 0, 0, 0, 1, 0, 0 ;
  atom_species = 0, 0 ; atomic_number = 1 ; species_shells = 1 ; shell_l = 0 ;
  pair_src = 0, 0, 1, 1 ; pair_dst = 0, 1, 0, 1 ; pair_cell = 0,0,0, 0,0,0, 0,0,0, 0,0,0 ;
  pair_distance = 0, 1, 1, 0 ; pair_start = 0, 1, 2, 3 ;
  overlap = 1, 0, 0, 1 ; h_label = 0,0, -2,0, -2,0, 0,0 ; h_pred = 0,0, -1,0, -1,0, 0,0 ;
  ${2:+position_matrix = $2 ;}
}
CDL
    ncgen -k nc4 -o m.nc m.cdl
}
POINTS="0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0"

rows() { grep -v '^#' "$1"; }

refused() { # STATUS TEXT...
    [ "$status" -eq "$1" ]
    one_line
    for text in "${@:2}"; do [[ "$output" == *"$text"* ]] || { echo "no \"$text\" in: $output"; return 1; }; done
    [ ! -e out ]
}

@test "one line: sigma, epsilon, n, kappa, absorption by hand" {
    molecule ":nelec = 2. ;" "$POINTS"
    # |<+|x|->| = 0.5 Å, E = 4 eV, two electrons: effective electrons along x (2 m/hbar^2) 2 * 0.25 * 4
    "$BIN/optcond" --matrix h_label --mesh 1 1 1 --component xx --energy 0:8 --step 1 --eta 0.2 m.nc > xx 2> said
    grep -q "lowest transition 4 eV" said
    rows xx | awk '
        function abs(x) { return x < 0 ? -x : x }
        { z2 = $1 * $1 - 0.04; z2i = 0.4 * $1              # (E + 0.2i)^2
          # sigma = (i e^2/hbar V) 2 |p|^2/D * 2 z/(z^2 - D^2), |p| = 4 * 0.5
          f = 1e10 * 2.434134807e-4 / 1000 * 4
          dr = z2 - 16; di = z2i; d = dr * dr + di * di
          re = (2 * $1 * dr + 0.4 * di) / d; im = (0.4 * dr - 2 * $1 * di) / d
          if (abs($2 + f * im * 2 / 4 * 1) > 1e-6 * f || abs($3 - f * re * 2 / 4) > 1e-6 * f) { print $1, $2, $3, -f * im / 2, f * re / 2; bad = 1 }
          # epsilon = 1 + (e^2/eps0 V) 2 * 2 |p|^2/D /(D^2 - z^2)
          g = 180.9512801 / 1000 * 4 * 4 / 4
          er = 1 - g * dr / d; ei = g * di / d
          if (abs($4 - er) > 1e-6 || abs($5 - ei) > 1e-6) { print "epsilon", $1, $4, $5, er, ei; bad = 1 }
          if (abs($6 * $6 - $7 * $7 - $4) > 1e-6 || abs(2 * $6 * $7 - $5) > 1e-6 || abs($8 - 2 * $1 * $7 / 1.973269804e-5) > 1e-5 * (1 + $8)) { print "n", $0; bad = 1 }
          n++ }
        END { exit bad || n != 9 }'
    grep -q '^# h_label: f-sum rule: 0.1750 electrons' xx # mean of the three directions of 2 * 2 * 4/(7.62 * 4)
}

@test "the mean, one component, all components, JSON: the same numbers; y and z see nothing" {
    molecule ":nelec = 2. ;" "$POINTS"
    O="-q --matrix h_label --mesh 2 1 1 --energy 3:5 --step .5 m.nc"
    "$BIN/optcond" $O > mean
    "$BIN/optcond" --component xx $O > xx
    "$BIN/optcond" --component all $O > all
    "$BIN/optcond" --component xx --format json $O > json
    paste <(rows mean) <(rows xx) <(rows all) | awk '
        { if (($2 - $11 / 3) ^ 2 > 1e-10 * $2 ^ 2 || ($11 - $20) ^ 2 > 1e-12 * $11 ^ 2 || $28 != 0 || $36 != 0) { print; bad = 1 } n++ }
        END { exit bad || n != 5 }'
    /usr/bin/python3 - <<'PY'
import json
j = json.load(open("json"))
rows = [line.split() for line in open("xx") if line[0] != "#"]
c = j["curves"][0]
assert c["matrix"] == "h_label" and j["units"]["sigma"] == "S/m" and len(j["energy"]) == 5
for i, r in enumerate(rows):
    for name, x in (("sigma_xx_re", 1), ("sigma_xx_im", 2), ("epsilon_re", 3), ("epsilon_im", 4), ("n", 5), ("absorption_1/cm", 7)):
        assert abs(c[name][i] - float(r[x])) <= 1e-6 * abs(float(r[x])) + 1e-9, (name, i)
PY
}

@test "several matrices in one table, and in one picture" {
    molecule ":nelec = 2. ;" "$POINTS"
    O="-q --mesh 1 1 1 --component xx --energy 1:6 --step 1"
    "$BIN/optcond" $O --matrix h_label --matrix h_pred m.nc > both
    "$BIN/optcond" $O < m.nc > pred
    [ "$(grep '^#energy' both | awk '{ print $2, $10 }')" = "h_label:sigma_re_S/m h_pred:sigma_re_S/m" ]
    cmp <(rows both | cut -f10-) <(rows pred | cut -f2-)
    command -v gnuplot > /dev/null || skip "no gnuplot"
    "$BIN/optcond" $O --matrix h_label --matrix h_pred --title "it's" --format gnuplot --picture p.svg m.nc > p.gp
    gnuplot p.gp
    grep -q '<svg' p.svg
    grep -q 'self-consistent' p.svg
}

@test "a metal: the Drude weight is apart, and added on request; Gaussians; the same from any number of threads" {
    ncgen -k nc4 -o chain.nc "$DATA/chain.cdl"
    O="--matrix h_label --mesh 64 1 1 --nelec 0.7 --energy .1:2 --step .1 --no-position"
    run -0 "$BIN/optcond" $O -o apart chain.nc
    [[ "$output" == *"has a Drude weight of"*"(--drude)"* && "$output" == *"--no-position: "* && "$output" == *"no transition up to 2 eV"* ]]
    grep -q "^# h_label: plasma frequency .* yy 0.0000 zz 0.0000; its Drude term is not in sigma" apart
    rows apart | awk '$2 != 0 { exit 1 }'
    "$BIN/optcond" -q $O --drude --drude-eta .05 --component xx -o drude chain.nc
    w=$(sed -n 's/^# h_label: plasma frequency.*xx \([0-9.]*\) .*/\1/p' drude)
    rows drude | awk -v w="$w" '{ r = 13451.88685 * w * w * .05 / ($1 * $1 + .0025); if (($2 / r - 1) ^ 2 > 1e-7) { print $2, r; exit 1 } }'
    molecule ":nelec = 2. ;" "$POINTS"
    for j in 1 3; do "$BIN/optcond" -q -j $j --broadening gaussian --matrix h_label --mesh 5 3 1 m.nc > "$j"; done
    cmp 1 3
}

@test "processes share the k-points" {
    command -v mpirun > /dev/null || skip "no mpirun"
    molecule ":nelec = 2. ;" "$POINTS"
    O="-q -j 1 --matrix h_label --mesh 3 2 1 m.nc"
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n 2 "$BIN/optcond" $O > two 2> said || {
        grep -q 'built without MPI' said && skip "no MPI"
        cat said
        return 1
    }
    "$BIN/optcond" $O > one
    paste <(rows one) <(rows two) | awk '{ if (($2 - $11) ^ 2 > 1e-14 * $2 ^ 2) exit 1; n++ } END { exit n != 501 }'
}

@test "no position matrix, no electrons, too many, no such matrix" {
    molecule ":nelec = 2. ;"
    run "$BIN/optcond" -q --mesh 2 2 2 -o out m.nc
    refused 1 "no variable position_matrix" "h0build --position" "--no-position"
    run -0 "$BIN/optcond" --matrix h_label --mesh 1 1 1 --no-position m.nc
    [[ "$output" == *"dipoles within atoms and bonds are left out"* ]]
    molecule "" "$POINTS"
    run "$BIN/optcond" -q --mesh 2 2 2 -o out m.nc
    refused 1 "no number of electrons"
    "$BIN/optcond" -q --mesh 2 2 2 --nelec 2 m.nc > nelec
    "$BIN/optcond" -q --mesh 2 2 2 --efermi 0 m.nc > efermi
    cmp <(rows nelec) <(rows efermi)
    run "$BIN/optcond" -q --mesh 2 2 2 --nelec 4 -o out m.nc
    refused 1 "the bands hold 4 electrons, 4 are there"
    run "$BIN/optcond" -q --mesh 2 2 2 --efermi -100 -o out m.nc
    refused 1 "no state holds an electron"
    run "$BIN/optcond" -q --mesh 2 2 2 --nelec 2 --matrix h0 -o out m.nc
    refused 1 "no variable h0"
    molecule ":nelec = 2. ;" "0, 0, 0.1, 1, 0, 0, 0, 0, 0, 0, 0, 0"
    run "$BIN/optcond" -q --mesh 2 2 2 -o out m.nc
    refused 1 "position_matrix: pair 1 " "reverse pair"
    run "$BIN/optcond" -q --mesh 2 2 2 -o out "$DATA/chain.cdl"
    refused 1
}

@test "wrong command lines" {
    for wrong in "" "--mesh 0 1 1" "--mesh 2 2 2 --eta 0" "--mesh 2 2 2 --step -1" "--mesh 2 2 2 --energy -1:2" "--mesh 2 2 2 --energy 1:" \
        "--mesh 2 2 2 --matrix hk" "--mesh 2 2 2 --matrix h0 --matrix h0" "--mesh 2 2 2 --nelec 2 --efermi 0" "--mesh 2 2 2 --temperature 0" \
        "--mesh 2 2 2 --drude-eta .1" "--mesh 2 2 2 --picture a.png" "--mesh 2 2 2 --format gnuplot --component all" \
        "--mesh 2 2 2 --adaptive -1" "--mesh 2 2 2 --degenerate 0" "--mesh 2 2 2 --nelec -3"; do
        # shellcheck disable=SC2086
        run "$BIN/optcond" $wrong -o out /nonexistent
        refused 2 || { echo "with: $wrong"; return 1; }
    done
}

@test "a mesh that is coarse for the broadening is said; adaptive broadening follows it" {
    command -v /usr/bin/python3 > /dev/null && /usr/bin/python3 -c 'import numpy' 2> /dev/null || skip "no numpy"
    [ -x "$BIN/h0build" ] || skip "no h0build"
    (cd "$OLDPWD" && /usr/bin/python3 tests/data/make_species.py "$T")
    printf 'BN\n3.615\n0 .5 .5\n.5 0 .5\n.5 .5 0\nB N\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > POSCAR
    "$BIN/h0build" -q --ecut 30 --nspin 1 --pseudo-dir pseudo --orbital-dir orbital --position POSCAR -o g.nc
    run -0 "$BIN/optcond" --matrix h0 --mesh 3 3 3 --eta .01 --energy 0:40 --step .5 -o a g.nc
    [[ "$output" == *"the mesh is coarse for eta = 0.01 eV"* ]]
    run -0 "$BIN/optcond" --matrix h0 --mesh 3 3 3 --eta .01 --adaptive 1 --energy 0:40 --step .5 -o b g.nc
    [[ "$output" != *"coarse"* ]]
    # cubic: xx = yy = zz and nothing else; the sum rule does not know the broadening
    "$BIN/optcond" -q --matrix h0 --mesh 3 3 3 --gamma --component all --energy 1:40 --step 1 g.nc > all
    rows all | awk '{ for (x = 2; x < 20; x++) { d = (x - 2) % 8 < 2 ? $(2 + (x % 2)) : 0; if (($x - d) ^ 2 > 1e-10 * ($2 ^ 2 + $3 ^ 2)) { print x, $x, d; exit 1 } } }'
    [ "$(grep 'f-sum' a)" = "$(grep 'f-sum' b)" ]
}

@test "GaAs with spin-orbit coupling: cubic, its electrons, a dielectric constant" {
    [ -d "$SHARED/data/pseudo" ] && [ -x "$BIN/h0build" ] || skip "no data"
    printf 'GaAs\n5.653\n0 .5 .5\n.5 0 .5\n.5 .5 0\nGa As\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > POSCAR
    "$BIN/h0build" -q --ecut 60 --pseudo-dir "$SHARED/data/pseudo" --orbital-dir "$SHARED/data/orbital" --position POSCAR -o g.nc
    "$BIN/optcond" -q --matrix h0 --mesh 4 4 4 --gamma --component all --energy 0:20 --step .5 --eta .3 g.nc > all
    rows all | awk '{ for (x = 2; x < 20; x++) { d = (x - 2) % 8 < 2 ? $(2 + (x % 2)) : 0; if (($x - d) ^ 2 > 1e-8 * ($2 ^ 2 + $3 ^ 2)) { print x, $x, d; exit 1 } } }'
    "$BIN/optcond" -q --matrix h0 --mesh 4 4 4 --energy 0:0 --eta .3 g.nc > zero
    sed -n 's/^# h0: f-sum rule: \([0-9.]*\) electrons.* of 18$/\1/p' zero | awk '{ if ($1 < 17 || $1 > 20) exit 1; n++ } END { exit !n }'
    rows zero | awk '{ if ($4 < 10 || $4 > 14 || $5 != 0) { print; exit 1 } }'
    # without the position matrix the sum rule shows that the numbers are worthless
    "$BIN/optcond" -q --no-position --matrix h0 --mesh 4 4 4 --energy 0:0 g.nc > middle
    sed -n 's/^# h0: f-sum rule: \([0-9.]*\) electrons.*/\1/p' middle | awk '{ exit !($1 > 100) }'
}
