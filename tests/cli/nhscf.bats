# nhscf: the self-consistent Hamiltonian, its energies, and how far another one is from it. On a fresh clone with made-up elements
# (tests/data/make_species.py); where ../shared is, against ABACUS's converged runs.
load helper

setup_file() {
    export MADE=$BATS_FILE_TMPDIR
    /usr/bin/python3 "$PWD/tests/data/make_species.py" "$MADE"
    export NEXTHAM_PSEUDO=$MADE/pseudo NEXTHAM_ORBITAL=$MADE/orbital
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n.1 .12 .14\n.36 .35 .4\n' > "$MADE/BN.vasp"
    BIN=${NH_BIN:-$PWD/bin}
    "$BIN/h0build" -q --ecut 20 -o "$MADE/h0.nc" "$MADE/BN.vasp"
    "$BIN/nhscf" -q --mesh 3 3 2 --threshold 1e-9 -o "$MADE/label.nc" "$MADE/h0.nc"
}

setup() {
    T=$BATS_TEST_TMPDIR
}

attribute() { # FILE NAME
    ncdump -p 9,17 -h "$1" | awk -v name=":$2" '$1 == name { sub(/;/, ""); print $3; exit }'
}

near() { # A B TOLERANCE
    awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && b != "" && d <= t) }' ||
        { echo "$1 and $2 differ by more than $3"; return 1; }
}

nhscf() { "$BIN/nhscf" -q --mesh 3 3 2 "$@"; }

@test "a made-up crystal: converged, its iterations and energies in the file, S and H0 as they were" {
    [ "$(attribute "$MADE/label.nc" converged)" = 1. ]
    [ "$(values "$MADE/label.nc" scf_drho | tail -1 | awk '{ print $1 < 1e-9 }')" -eq 1 ]
    values "$MADE/label.nc" scf_energy | awk '{ e[NR] = $1 } END { d = e[NR] - e[NR - 1]; exit !(NR > 3 && d < 1e-7 && d > -1e-7) }'
    # the energy is stationary: within 1e-6 Ry where the density is still 5e-4 away
    paste <(values "$MADE/label.nc" scf_drho) <(values "$MADE/label.nc" scf_energy) | awk '
        { drho[NR] = $1; e[NR] = $2 }
        END { for (i = 1; i <= NR; i++) if (drho[i] < 5e-4) { n++; d = e[i] - e[NR]; if (d > 1.4e-5 || d < -1.4e-5) bad = 1 } exit bad || n < 4 }'
    # the terms add up
    total=$(for t in one_electron hartree xc ewald entropy; do attribute "$MADE/label.nc" energy_$t; done | awk '{ s += $1 } END { printf "%.10f", s }')
    near "$total" "$(attribute "$MADE/label.nc" energy_total)" 1e-8
    near "$(attribute "$MADE/label.nc" nelec)" 8 0
    cmp <(values "$MADE/h0.nc" h0) <(values "$MADE/label.nc" h0)
    cmp <(values "$MADE/h0.nc" overlap) <(values "$MADE/label.nc" overlap)
    # half of the 3 x 3 x 2 points, weights 1
    [ "$(values "$MADE/label.nc" scf_weight | wc -l)" -eq 10 ]
    near "$(values "$MADE/label.nc" scf_weight | awk '{ s += $1 } END { print s }')" 1 1e-12
    # other programs read it: geneig finds the same Fermi level region, and the same bands at Gamma
    "$BIN/geneig" -q --matrix h_label --mesh 1 1 1 --gamma -o "$T/eig.nc" "$MADE/label.nc"
    near "$(values "$T/eig.nc" eigenvalue | head -3 | tail -1)" "$(values "$MADE/label.nc" scf_band | head -3 | tail -1)" 1e-8
}

@test "any number of threads: the same bytes" {
    nhscf -j 1 --no-history -o "$T/one.nc" "$MADE/h0.nc"
    nhscf -j 2 --no-history -o "$T/two.nc" "$MADE/h0.nc"
    for v in h_label scf_energy scf_drho scf_band; do cmp <(values "$T/one.nc" $v) <(values "$T/two.nc" $v); done
}

@test "S and H0 are made where the file has none; through a pipe" {
    "$BIN/mkgraph" -q --basis B:2s1p,N:1s2p1d -o "$T/bare.nc" "$MADE/BN.vasp"
    nhscf --ecut 20 --threshold 1e-9 < "$T/bare.nc" > "$T/label.nc"
    near "$(attribute "$T/label.nc" energy_total)" "$(attribute "$MADE/label.nc" energy_total)" 1e-7
    /usr/bin/python3 tests/cli/nhscf_reference.py "$T/label.nc" "$MADE/label.nc" | tee "$T/table"
    awk -F'\t' '/^(overlap|h0|h_label)/ && $2 > 1e-3 { bad = 1 } END { exit bad || NR < 3 }' "$T/table"
}

@test "begun with its own result one iteration follows; a bad start ends at the same place" {
    nhscf --start h_label -o "$T/again.nc" "$MADE/label.nc"
    [ "$(values "$T/again.nc" scf_drho | wc -l)" -eq 2 ]
    near "$(attribute "$T/again.nc" energy_total)" "$(attribute "$MADE/label.nc" energy_total)" 1e-7
    nhscf --threshold 1e-9 --mixing 0.3 --kerker 1 --history 4 -o "$T/other.nc" "$MADE/h0.nc"
    near "$(attribute "$T/other.nc" energy_total)" "$(attribute "$MADE/label.nc" energy_total)" 1e-7
}

@test "no convergence: one line, exit status 3, the file is there and says so" {
    run nhscf --max-iterations 2 -o "$T/label.nc" "$MADE/h0.nc"
    [ "$status" -eq 3 ]
    one_line
    [[ "$output" == "nhscf: $MADE/h0.nc: not converged after 2 iterations: drho "* ]]
    [ "$(attribute "$T/label.nc" converged)" = 0. ]
    [ "$(values "$T/label.nc" h_label | wc -l)" -gt 100 ]
}

@test "the table of iterations on stderr" {
    run "$BIN/nhscf" --mesh 1 1 1 -o "$T/label.nc" "$MADE/h0.nc"
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == *drho*energy*Fermi*seconds* ]]
    [ "$(values "$T/label.nc" scf_drho | wc -l)" -eq $((${#lines[@]} - 1)) ]
}

@test "without spin" {
    "$BIN/h0build" -q --nspin 1 --ecut 20 -o "$T/h0.nc" "$MADE/BN.vasp"
    nhscf -o "$T/label.nc" "$T/h0.nc"
    [ "$(attribute "$T/label.nc" converged)" = 1. ]
    near "$(attribute "$T/label.nc" energy_ewald)" "$(attribute "$MADE/label.nc" energy_ewald)" 1e-8
    # spin-orbit coupling is all that is missing
    near "$(attribute "$T/label.nc" energy_total)" "$(attribute "$MADE/label.nc" energy_total)" 0.5
}

@test "the certificate: none of the converged one, more of H0; as text, as JSON, in a file" {
    number() { nhscf --check --json --start "$1" "$MADE/label.nc" | /usr/bin/python3 -c "import json, sys; print(json.load(sys.stdin)['$2'])"; }
    awk -v a="$(number h_label gauge_mae_meV)" -v b="$(number h0 gauge_mae_meV)" 'BEGIN { print a, b; exit !(a < 1e-6 && b > 0.1) }'
    awk -v a="$(number h_label drho)" -v b="$(number h0 drho)" 'BEGIN { print a, b; exit !(a < 1e-8 && b > 1e-4) }'
    awk -v a="$(number h_label mean_band_error_meV)" -v b="$(number h0 mean_band_error_meV)" 'BEGIN { print a, b; exit !(a < 1e-4 && b > 1) }'
    run nhscf --check --start h0 -o "$T/checked.nc" "$MADE/h0.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == "h0 of $MADE/h0.nc, against"*"residual, Gauge MAE"*meV*"bands, first order"* ]]
    near "$(attribute "$T/checked.nc" check_gauge_mae | awk '{ print 1000 * $1 }')" "$(number h0 gauge_mae_meV)" 1e-3
    # a shift of the zero of energy is no error
    /usr/bin/python3 - "$MADE/label.nc" "$T/shifted.nc" << 'END'
import shutil, sys
import netCDF4
shutil.copy(*sys.argv[1:])
with netCDF4.Dataset(sys.argv[2], "a") as d:
    h = d["h_label"][:]
    h[0, :, 0] += 0.3 * d["overlap"][:]
    h[3, :, 0] += 0.3 * d["overlap"][:]
    d["h_label"][:] = h
END
    run nhscf --check --json --start h_label "$T/shifted.nc"
    echo "$output" | /usr/bin/python3 -c '
import json, sys
c = json.load(sys.stdin)
assert abs(c["shift_meV"] + 300) < 0.1 and c["gauge_mae_meV"] < 0.01 and c["mean_band_error_meV"] < 0.01, c'
}

@test "first order: bands of H plus their errors are the bands of H', where the two are close" {
    /usr/bin/python3 - "$MADE/label.nc" "$T/near.nc" << 'END'
import shutil, sys
import netCDF4
shutil.copy(*sys.argv[1:])
with netCDF4.Dataset(sys.argv[2], "a") as d:
    d["h_label"][:] += 0.02 * (d["h0"][:] - d["h_label"][:])
END
    nhscf --check --start h_label -o "$T/checked.nc" "$T/near.nc" > /dev/null
    # with a threshold that is met at once the H of the only iteration is H'
    nhscf --start h_label --threshold 1e9 -o "$T/first.nc" "$T/near.nc"
    [ "$(values "$T/first.nc" scf_drho | wc -l)" -eq 2 ]
    /usr/bin/python3 - "$T/checked.nc" "$T/first.nc" << 'END'
import sys
import netCDF4, numpy as np
c, f = (netCDF4.Dataset(p) for p in sys.argv[1:])
e, d = (np.ma.filled(c[v][:], np.nan) for v in ("check_band", "check_band_error"))
there = np.isfinite(d)
assert there[:, :8].all() and np.allclose(c["check_kpoint"][:], f["scf_kpoint"][:])
rest = (e + d - f["scf_band"][:, : e.shape[1]])[there]
print("largest change", np.abs(d[there]).max(), "eV, beyond first order", np.abs(rest).max())
assert np.abs(d[there]).max() > 1e-3 and np.abs(rest).max() < 0.05 * np.abs(d[there]).max()
assert abs(np.median(d[there]) - c.check_shift) < 1e-12
END
}

@test "what is wrong, in one line" {
    refused() { # STATUS TEXT ARGUMENTS...
        run nhscf "${@:3}"
        echo "$output"
        [ "$status" -eq "$1" ] && one_line && [[ "$output" == "nhscf: "*"$2"* ]]
    }
    refused 2 "--mesh" --mesh 0 1 1 "$MADE/h0.nc"
    refused 2 "--smearing" --smearing 0 "$MADE/h0.nc"
    refused 2 "--threshold" --threshold 0 "$MADE/h0.nc"
    refused 2 "--json" --json "$MADE/h0.nc"
    refused 2 "--mixing" --mixing 2 "$MADE/h0.nc"
    refused 1 "h_pred" --start h_pred -o "$T/x.nc" "$MADE/h0.nc"
    refused 1 "h_pred" --check "$MADE/h0.nc"
    refused 1 "nowhere" --pseudo-dir "$T/nowhere" -o "$T/x.nc" "$MADE/h0.nc"
    refused 1 "no file B_*.orb" --orbital-dir "$T" -o "$T/x.nc" "$MADE/h0.nc"
    # other orbitals: other shells, or the same shells and other functions
    sed 's/(0, 0.35), (0, 0.9)/(0, 0.35)/' tests/data/make_species.py > "$T/other.py"
    sed 's/(0, 0.35)/(0, 0.3)/' tests/data/make_species.py > "$T/wider.py"
    for kind in other wider; do /usr/bin/python3 "$T/$kind.py" "$T/$kind"; done
    refused 1 "B: the crystal has shells 2s1p, its orbital file 1s1p" --orbital-dir "$T/other/orbital" -o "$T/x.nc" "$MADE/h0.nc"
    refused 1 "made with other orbitals" --orbital-dir "$T/wider/orbital" -o "$T/x.nc" "$MADE/h0.nc"
    refused 1 "scalar-relativistic" --pseudo-dir "$MADE/scalar" -o "$T/x.nc" "$MADE/h0.nc"
    cp -r "$MADE/pseudo" "$T/pseudo"
    echo ' ' >> "$T/pseudo/N.upf"
    refused 1 "made with other pseudopotentials" --pseudo-dir "$T/pseudo" -o "$T/x.nc" "$MADE/h0.nc"
    # the same where the file names nothing: by its overlap
    /usr/bin/python3 - "$MADE/h0.nc" "$T/nameless.nc" << 'END'
import shutil, sys
import netCDF4
shutil.copy(*sys.argv[1:])
with netCDF4.Dataset(sys.argv[2], "a") as d:
    del d.orbital_hash, d.pseudo_hash
END
    refused 1 "overlap: differs" --orbital-dir "$T/wider/orbital" -o "$T/x.nc" "$T/nameless.nc"
    # an atom that is not where its overlap says
    /usr/bin/python3 - "$MADE/h0.nc" "$T/moved.nc" << 'END'
import shutil, sys
import netCDF4
shutil.copy(*sys.argv[1:])
with netCDF4.Dataset(sys.argv[2], "a") as d:
    d["overlap"][:] = d["overlap"][::-1]
END
    refused 1 "overlap: differs" -o "$T/x.nc" "$T/moved.nc"
    [ ! -e "$T/x.nc" ]
    refused 1 "GB are needed" --memory 0.001 -o "$T/x.nc" "$MADE/h0.nc"
}

@test "atoms outside the home cell: the same energy; a cell twice as long: twice of it" {
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n1.1 -.88 .14\n.36 .35 2.4\n' > "$T/away.vasp"
    "$BIN/h0build" -q --ecut 20 -o "$T/away.nc" "$T/away.vasp"
    nhscf --threshold 1e-9 -o "$T/away-label.nc" "$T/away.nc"
    near "$(attribute "$T/away-label.nc" energy_total)" "$(attribute "$MADE/label.nc" energy_total)" 1e-7
    # twice as long along the first axis, half of the k-points there: the grid has the same points
    printf 'BN\n1\n0 3.6 3.6\n1.8 0 1.8\n1.8 1.8 0\nB N\n2 2\nDirect\n.05 .12 .14\n.55 .12 .14\n.18 .35 .4\n.68 .35 .4\n' > "$T/long.vasp"
    "$BIN/h0build" -q --ecut 22 "$T/long.vasp" | "$BIN/nhscf" -q --mesh 1 3 2 --threshold 1e-9 -o "$T/long.nc"
    "$BIN/h0build" -q --ecut 22 "$MADE/BN.vasp" | "$BIN/nhscf" -q --mesh 2 3 2 --threshold 1e-9 -o "$T/short.nc"
    near "$(attribute "$T/long.nc" energy_total)" "$(attribute "$T/short.nc" energy_total | awk '{ printf "%.10f", 2 * $1 }')" 1e-6
}

@test "several processes share the k-points" {
    command -v mpirun > /dev/null || skip "no mpirun"
    [[ $BIN != */san/* ]] || skip "built without MPI"
    ncdump -v h_label "$MADE/label.nc" > /dev/null
    mpirun --allow-run-as-root --oversubscribe -n 2 "$BIN/nhscf" -q -j 1 --mesh 3 3 2 --threshold 1e-9 -o "$T/two.nc" "$MADE/h0.nc"
    near "$(attribute "$T/two.nc" energy_total)" "$(attribute "$MADE/label.nc" energy_total)" 1e-9
    /usr/bin/python3 tests/cli/nhscf_reference.py "$T/two.nc" "$MADE/label.nc" | awk -F'\t' '/^h_label/ && $2 > 1e-5 { bad = 1 } END { exit bad }'
}

# meets NAME MESH...: docs/scf.md 10 for a crystal of ../shared: S, the converged H and the energies of a reference run (whose Fermi level in
# a gap follows another rule); ABACUS's Fermi level, its total energy, and its eigenvalues at all its k-points.
meets() {
    local data=$SHARED/data run=$SHARED/data/abacus/$1/scf/OUT.ABACUS
    [ -d "$data/pseudo" ] && [ -e "$data/h0ref/$1.nc" ] || skip "no reference data"
    [[ $1 == Si || $BIN != */san/* ]] || skip "minutes under the sanitizers: silicon goes through the same code"
    export NEXTHAM_PSEUDO=$data/pseudo NEXTHAM_ORBITAL=$data/orbital
    "$BIN/h0build" -q -o "$T/h0.nc" "$data/abacus/$1/scf/STRU"
    "$BIN/nhscf" -q --mesh "${@:2:3}" --threshold 1e-8 -o "$T/label.nc" "$T/h0.nc"
    /usr/bin/python3 tests/cli/nhscf_reference.py "$T/label.nc" "$data/h0ref/$1.nc" > "$T/table"
    # last values in ABACUS's log, in eV
    xz -dc "$run/running_scf.log.xz" > "$T/log"
    printf 'ABACUS EFERMI\t%s\n' "$(awk '/E_Fermi/ { x = $3 } END { print x }' "$T/log" | awk -v a="$(attribute "$T/label.nc" efermi)" '{ print a - $1 }')" >> "$T/table"
    printf 'ABACUS E\t%s\n' "$(awk '/E_KohnSham/ { x = $2 } END { print x }' "$T/log" | awk -v a="$(attribute "$T/label.nc" energy_total)" '{ print a / 13.605698066 - $1 }')" >> "$T/table"
    "$BIN/geneig" -q --matrix h_label --kpath "$data/abacus/$1/scf/KPT" -o "$T/eig.nc" "$T/label.nc"
    xz -dc "$run/istate.info.xz" > "$T/istate"
    values "$T/eig.nc" eigenvalue > "$T/ours"
    awk '$1 ~ /^[0-9]+$/ && NF == 3 { print $2 }' "$T/istate" > "$T/theirs"
    awk -v k="$(grep -c Kpoint "$T/istate")" -v n_ours="$(wc -l < "$T/ours")" -v n_theirs="$(wc -l < "$T/theirs")" '
        FNR == NR { ours[NR - 1] = $1; next }
        { b = n_theirs / k; row = int((FNR - 1) / b); d = ours[row * (n_ours / k) + (FNR - 1) % b] - $1
          if (d < 0) d = -d; if (!(d <= worst)) worst = d; n++ }
        END { print "ABACUS bands\t" (n >= k && n_ours % k == 0 ? worst : 1) }' "$T/ours" "$T/theirs" >> "$T/table"
    sed "s/^/# $1  /" "$T/table" >&3
    awk -F'\t' '
        function size(x) { return x < 0 ? -x : x }
        $1 == "overlap" && $2 > 1e-7 || $1 == "h0" && ($2 > 0.1 || $3 > 1e-3) || $1 == "h_label" && ($2 > 0.1 || $3 > 2e-3) { bad = 1 }
        ($1 == "h_label imaginary" || $1 == "h_label flip") && $2 > 1e-3 || /^E_/ && $2 > 5e-5 { bad = 1 }
        $1 == "ABACUS E" && size($2) > 3e-5 || $1 == "ABACUS EFERMI" && size($2) > 2e-4 || $1 == "ABACUS bands" && $2 > 2e-4 { bad = 1 }
        END { exit bad || NR < 16 }' "$T/table"
}

@test "ABACUS's crystals: Si" { meets Si 6 6 6; }
@test "ABACUS's crystals: GaAs" { meets GaAs 6 6 6; }
@test "ABACUS's crystals: MgO" { meets MgO 6 6 6; }
@test "ABACUS's crystals: PbTe" { meets PbTe 4 4 4; }
@test "ABACUS's crystals: Au" { meets Au 8 8 8; }
@test "ABACUS's crystals: MoS2" { meets MoS2 6 6 1; }

@test "a few labelled crystals are met from their structures alone" {
    [ -d "$SHARED/data/labels" ] || skip "no labelled crystals"
    [[ $BIN != */san/* ]] || skip "minutes under the sanitizers"
    NEXTHAM_PSEUDO=$SHARED/data/pseudo NEXTHAM_ORBITAL=$SHARED/data/orbital JOBS=2 NH_BIN=$BIN \
        run tests/bench/labels "$SHARED/data/labels" Al-mp-134 Kr-mp-612118 CdTe-mp-406 BeS-mp-422
    printf '# %s\n' "${lines[@]}" >&3
    [ "$status" -eq 0 ]
}
