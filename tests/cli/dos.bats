# dos: numbers that can be checked by hand, both kinds of input, projections and spin, bad input.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    sed 's/:cutoff = 2.5 ;/:cutoff = 2.5 ; :nelec = 1. ;/' "$DATA/chain.cdl" > "$T/chain.cdl"
    ncgen -k nc4 -o "$T/chain.nc" "$T/chain.cdl"
}

# rows FILE: the numbers of a table
rows() { grep -v '^#' "$1"; }

# A simple cubic lattice of s orbitals, E = -2 (cos k1 + cos k2 + cos k3) eV, with spin: electrons half filling it.
cubic() {
    /usr/bin/python3 - "$T/cubic.cdl" "${1:-1}" <<'PY'
import sys
cells = [(0, 0, 0)] + [tuple(s * (i == d) for i in range(3)) for d in range(3) for s in (1, -1)]
cells.sort()
n = len(cells)
h = ", ".join("%g, 0" % (0 if c == (0, 0, 0) else -1) for c in cells)
zero = ", ".join(["0, 0"] * n)
row = lambda v: ", ".join(str(x) for x in v)
open(sys.argv[1], "w").write(f"""netcdf cubic {{
dimensions: xyz = 3 ; ri = 2 ; spin = 4 ; atom = 1 ; species = 1 ; shell = 1 ; pair = {n} ; elem = {n} ;
variables:
  double lattice(xyz, xyz) ; double position(atom, xyz) ; int atom_species(atom) ; int atomic_number(species) ;
  int species_shells(species) ; int shell_l(shell) ; int pair_src(pair) ; int pair_dst(pair) ; int pair_cell(pair, xyz) ;
  double pair_distance(pair) ; int64 pair_start(pair) ; double overlap(elem) ; double h_pred(spin, elem, ri) ;
  :Conventions = "NextHAM-1" ; :cutoff = 3.5 ; :nelec = {sys.argv[2]} ;
data:
  lattice = 3, 0, 0, 0, 3, 0, 0, 0, 3 ; position = 0, 0, 0 ; atom_species = 0 ; atomic_number = 1 ; species_shells = 1 ;
  shell_l = 0 ; pair_src = {row([0] * n)} ; pair_dst = {row([0] * n)} ; pair_cell = {row(x for c in cells for x in c)} ;
  pair_distance = {row(0 if c == (0, 0, 0) else 3 for c in cells)} ; pair_start = {row(range(n))} ;
  overlap = {row(int(c == (0, 0, 0)) for c in cells)} ;
  h_pred = {h}, {zero}, {zero}, {h} ;
}}
""")
PY
    ncgen -k nc4 -o "$T/cubic.nc" "$T/cubic.cdl"
}

@test "a cubic band: Fermi level, number of electrons, the known density at the centre" {
    /usr/bin/python3 -c '' || skip "no Python"
    cubic
    run "$BIN/dos" --mesh 16 16 16 --step 0.1 -o "$T/dos.tsv" "$T/cubic.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == *"tetrahedra on a 16x16x16 mesh; Fermi level "*", no gap, "* ]]
    rows "$T/dos.tsv" | awk -F'\t' '
        NF != 3 { bad = 1 }
        { sum += 0.1 * $2; last = $3; if ($2 < -1e-12) bad = 1 }
        # 0.1427/t for each spin
        $1 ^ 2 < 1e-12 { if (($2 - 0.2854) ^ 2 > 0.006 ^ 2 || ($3 - 1) ^ 2 > 1e-14) bad = 1; at_zero = 1 }
        END { exit bad || !at_zero || (sum - 2) ^ 2 > 1e-14 || (last - 2) ^ 2 > 1e-18 }'
    grep -q '^# gap: 0.000000 eV (none, the bands overlap)$' "$T/dos.tsv"
    # energies on the scale of the Hamiltonian are those plus the Fermi level
    level=$(sed -n 's/^# Fermi level: \([^ ]*\) .*/\1/p' "$T/dos.tsv")
    awk -v e="$level" 'BEGIN { exit !(e ^ 2 < 1e-6) }'
    "$BIN/dos" -q --mesh 16 16 16 --nelec 0.3 "$T/cubic.nc" > "$T/less.tsv"
    rows "$T/less.tsv" | awk '$1 ^ 2 < 1e-12 && ($3 - 0.3) ^ 2 < 1e-12 { good = 1 } END { exit !good }'
}

@test "a Hamiltonian, its eigenvalues, a pipe, one thread or three: the same table" {
    "$BIN/dos" -q --matrix h_label --mesh 12 1 1 -j 1 -o "$T/a.tsv" "$T/chain.nc"
    "$BIN/geneig" --matrix h_label --mesh 12 1 1 --gamma -o "$T/eig.nc" "$T/chain.nc"
    "$BIN/dos" -q -j 3 -o "$T/b.tsv" "$T/eig.nc"
    cmp "$T/a.tsv" "$T/b.tsv"
    "$BIN/fourier" --matrix h_label --mesh 12 1 1 --gamma "$T/chain.nc" | "$BIN/geneig" | "$BIN/dos" -q > "$T/c.tsv"
    cmp "$T/a.tsv" "$T/c.tsv"
    # half of the chain is filled at k = 1/4, (-9 + 2)/(1 - 0.2); linear interpolation between the points of this mesh hits it
    grep -q '^# Fermi level: -8.750000 eV' "$T/a.tsv"
}

@test "Gaussians: any mesh, the same number of electrons" {
    "$BIN/geneig" --matrix h_label --mesh 40 1 1 -o "$T/eig.nc" "$T/chain.nc"
    "$BIN/dos" -q --method gaussian --width 0.05 --step 0.01 -o "$T/dos.tsv" "$T/eig.nc"
    rows "$T/dos.tsv" | awk '{ s += 0.01 * $2; n = $3 } $1 ^ 2 < 1e-12 { at = $3 }
        END { exit (s - 2) ^ 2 > 1e-14 || (n - 2) ^ 2 > 1e-18 || (at - 1) ^ 2 > 1e-14 }'
    grep -q 'method: Gaussians of standard deviation 0.05 eV at 40 k-points' "$T/dos.tsv"
    run "$BIN/dos" "$T/eig.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == "dos: $T/eig.nc: the k-points are no complete Gamma-centred mesh"*"--gamma; or --method gaussian)" ]]
    one_line
}

@test "projections add up to the whole; from a file with finer ones the same" {
    run=pipelines/GaAs
    "$BIN/mkgraph" -q --abacus $run -o "$T/graph.nc"
    "$BIN/dos" -q --matrix h_label --mesh 3 3 3 --project element -o "$T/a.tsv" "$T/graph.nc"
    [ "$(grep '^#energy' "$T/a.tsv")" = "#energy_eV	dos	electrons	Ga	As" ]
    rows "$T/a.tsv" | awk '{ if (($2 - $4 - $5) ^ 2 > 1e-10 * (1 + $2 ^ 2)) { print; exit 1 } }'
    "$BIN/geneig" -q --matrix h_label --mesh 3 3 3 --gamma --project atom-shell -o "$T/eig.nc" "$T/graph.nc"
    "$BIN/dos" -q --project element -o "$T/b.tsv" "$T/eig.nc"
    paste <(rows "$T/a.tsv") <(rows "$T/b.tsv") | awk '{ for (i = 1; i <= 5; i++) if (($i - $(5 + i)) ^ 2 > 1e-8) { print; exit 1 } }'
    "$BIN/dos" -q --project atom "$T/eig.nc" | grep -q "^#energy_eV	dos	electrons	Ga1	As2$"
    "$BIN/dos" -q --project shell "$T/eig.nc" | grep -q "^#energy_eV	dos	electrons	Ga-s	Ga-p	Ga-d"
    # a filled d shell of Ga, 18 electrons in all, and a gap
    "$BIN/dos" -q --project shell "$T/eig.nc" > "$T/shell.tsv"
    awk -F': ' '/^# below the Fermi level, / { sum += $2 } /, Ga-d: / { d = $2 } END { exit !(d > 9.9 && d < 10.2) || (sum - 18) ^ 2 > 1e-8 }' "$T/shell.tsv"
    grep -q '^# gap: 0\.[0-9]* eV (direct)$' "$T/shell.tsv"
    # numbers of electrons in place of densities
    "$BIN/dos" -q --project element --integrated "$T/eig.nc" > "$T/sum.tsv"
    rows "$T/sum.tsv" | awk '{ if (($3 - $4 - $5) ^ 2 > 1e-8) { print; exit 1 } } END { exit ($3 - 76) ^ 2 > 1e-8 }'
}

@test "spin: zero in all where time reversal holds, as much as the field says where it does not" {
    # uu lower by 1 eV, dd higher: two bands, polarised
    sed 's/^  h_label = -1,0, -4,0, -9,0/  h_label = -1,0, -4,0, -19,0/' "$T/chain.cdl" | ncgen -k nc4 -o "$T/field.nc"
    "$BIN/dos" -q --matrix h_label --mesh 8 1 1 --spin --integrated "$T/field.nc" > "$T/dos.tsv"
    [ "$(grep '^#energy' "$T/dos.tsv")" = "#energy_eV	dos	electrons	sigma_x	sigma_y	sigma_z" ]
    grep -q '^# below the Fermi level, sigma_z: 1.000000' "$T/dos.tsv"
    rows "$T/dos.tsv" | awk '{ if ($4 ^ 2 + $5 ^ 2 > 1e-16) exit 1 } END { exit $6 ^ 2 > 1e-16 }'
    "$BIN/dos" -q --matrix h_label --mesh 8 1 1 --spin "$T/chain.nc" | grep -v '^#' | awk '{ if ($4 ^ 2 + $5 ^ 2 + $6 ^ 2 > 1e-10) exit 1 }'
}

@test "JSON and summary have the same numbers; gnuplot makes a picture" {
    "$BIN/dos" -q --mesh 12 1 1 --format json --title 'a "b"' -o "$T/dos.json" "$T/chain.nc"
    "$BIN/dos" -q --mesh 12 1 1 -o "$T/dos.tsv" "$T/chain.nc"
    /usr/bin/python3 - "$T/dos.json" "$T/dos.tsv" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
rows = [[float(x) for x in line.split()] for line in open(sys.argv[2]) if line[0] != "#"]
assert d["title"] == 'a "b"' and d["nelec"] == 1 and len(d["dos"]) == len(rows)
for i, r in enumerate(rows):
    assert abs(d["energy_eV"][i] - r[0]) < 1e-6 and abs(d["dos"][i] - r[1]) < 1e-6 and abs(d["electrons"][i] - r[2]) < 1e-6
PY
    run "$BIN/dos" -q --mesh 12 1 1 --format summary "$T/chain.nc"
    [ "$(cut -f3 <<< "${lines[0]}")" = efermi_eV ]
    [ "$(cut -f3 <<< "${lines[1]}")" = "$(sed -n 's/^# Fermi level: \([^ ]*\) .*/\1/p' "$T/dos.tsv")" ]
    command -v gnuplot > /dev/null || skip "no gnuplot"
    for suffix in svg png pdf; do
        "$BIN/dos" -q --mesh 12 1 1 --project element --format gnuplot --picture "$T/it's.$suffix" "$T/chain.nc" > "$T/dos.gp"
        gnuplot "$T/dos.gp"
        [ -s "$T/it's.$suffix" ]
    done
}

@test "zero of energy: electrons, --efermi, the file's, none" {
    ncgen -k nc4 -o "$T/none.nc" "$DATA/chain.cdl"
    run "$BIN/dos" --matrix h_label --mesh 4 1 1 "$T/none.nc"
    [ "$status" -eq 1 ]
    [ "$output" = "dos: $T/none.nc: neither a Fermi level nor a number of electrons: give --efermi or --nelec (--absolute takes energies as they are)" ]
    "$BIN/dos" -q --matrix h_label --mesh 4 1 1 --efermi -8 "$T/none.nc" | grep -q '^# Fermi level: -8.000000 eV (--efermi)$'
    "$BIN/dos" -q --matrix h_label --mesh 4 1 1 --absolute "$T/none.nc" > "$T/dos.tsv"
    grep -q '^# energies: on the scale of the Hamiltonian' "$T/dos.tsv"
    ! grep -q 'Fermi level:' "$T/dos.tsv"
    run "$BIN/dos" --matrix h_label --mesh 4 1 1 --nelec 2.5 "$T/none.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"the bands hold 2 electrons, 2.5 are there" ]]
}

@test "bad input: one line that says what is missing" {
    refused() { # STATUS TEXT COMMAND...
        run "$BIN/dos" "${@:3}"
        [ "$status" -eq "$1" ] && [[ "$output" == *"$2"* ]] && one_line || { echo "$output"; return 1; }
    }
    "$BIN/geneig" --mesh 4 1 1 --gamma -o "$T/eig.nc" "$T/chain.nc"
    refused 1 "no projections in it: geneig --project shell" --project shell "$T/eig.nc"
    refused 1 "no <sigma> in it: geneig --spin" --spin "$T/eig.nc"
    "$BIN/geneig" --mesh 4 1 1 --gamma --project shell -o "$T/shell.nc" "$T/chain.nc"
    refused 1 "projections by shell do not give those by atom" --project atom "$T/shell.nc"
    "$BIN/geneig" --path "G 0 0 0; X .5 0 0" -o "$T/path.nc" "$T/chain.nc"
    refused 1 "k-points along a path do not sample the zone" "$T/path.nc"
    refused 1 "k-points along a path do not sample the zone" --method gaussian "$T/path.nc"
    "$BIN/geneig" --mesh 4 1 1 --gamma --window -7: -o "$T/window.nc" "$T/chain.nc"
    refused 1 "other bands than the first one" --nelec 1 "$T/window.nc"
    "$BIN/fourier" --mesh 4 1 1 -o "$T/hk.nc" "$T/chain.nc"
    refused 1 "neither eigenvalues (variable eigenvalue) nor a real-space file" "$T/hk.nc"
    printf nothing > "$T/text"
    refused 1 "$T/text" "$T/text"
    refused 2 "no --mesh" --mesh 2 2 2 "$T/eig.nc"
    refused 2 "--width belongs to --method gaussian" --width 0.1 "$T/eig.nc"
    refused 2 "--step: a positive number" --step 0 "$T/eig.nc"
    refused 2 "--efermi or --nelec" --efermi 1 --nelec 2 "$T/eig.nc"
    refused 2 "--mesh: three positive numbers" --mesh 0 1 1 "$T/chain.nc"
    refused 2 "--integrated belongs to" --integrated "$T/eig.nc"
    refused 1 "points are possible" --step 1e-9 "$T/eig.nc"
    spinless
    refused 1 "without spin" --spin --mesh 2 1 1 "$T/spinless.nc"
    refused 1 "h_label" --matrix h_label --mesh 2 1 1 "$T/bare.nc"
}

spinless() {
    sed 's/spin = 4/spin = 1/; s/^  h_label = .*,$/  h_label = -1,0, -4,0, -9,0, -4,0, -1,0 ;/; s/^  h_pred = .*,$/  h_pred = -1,0, -4,0, -9,0, -4,0, -1,0 ;/
        s/^  h0 = .*,$/  h0 = -1,0, -4,0, -9,0, -4,0, -1,0 ;/; /^   *[-0-9]/d' "$T/chain.cdl" > "$T/spinless.cdl"
    ncgen -k nc4 -o "$T/spinless.nc" "$T/spinless.cdl"
    sed '/h_label/s/h_label/other/g' "$T/spinless.cdl" | ncgen -k nc4 -o "$T/bare.nc"
}

@test "without spin two electrons a band" {
    spinless
    "$BIN/dos" -q --mesh 12 1 1 "$T/spinless.nc" | grep -v '^#' | awk '{ s += 0.02 * $2 } END { exit (s - 2) ^ 2 > 1e-12 }'
    "$BIN/dos" -q --mesh 12 1 1 --project atom "$T/spinless.nc" | grep -q '^# below the Fermi level, H1: 1.000000'
}

@test "eigenvalue files with projections that lie" {
    "$BIN/geneig" --no-history --mesh 2 1 1 --gamma --project element --spin -o "$T/eig.nc" "$T/chain.nc"
    ncdump "$T/eig.nc" > "$T/eig.cdl"
    lies() { # TEXT SED
        sed "$2" "$T/eig.cdl" > "$T/lie.cdl"
        ! cmp -s "$T/eig.cdl" "$T/lie.cdl"
        ncgen -k nc4 -o "$T/lie.nc" "$T/lie.cdl"
        run "$BIN/dos" --project element --spin "$T/lie.nc"
        [ "$status" -eq 1 ] && [[ "$output" == *"$1"* ]] && one_line || { echo "$output"; return 1; }
    }
    lies 'projected_by: "elements", expected element' 's/projected_by = "element"/projected_by = "elements"/'
    lies 'projected_by: ""' '/projected_by/d'
    lies 'variable projection: k-point 1, band 1' '/^ projection =/{n;s/^ *[0-9.e+-]*/ NaN/}'
    lies 'variable lattice' '/^ lattice =/{n;s/2/NaN/}'
    lies 'volume' '/^ lattice =/{n;s/2/0/}'
    lies 'group_name' 's/string group_name/string other_name/; s/group_name:/other_name:/; s/^ group_name/ other_name/'
}
