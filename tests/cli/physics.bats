# The converged Hamiltonian of an ABACUS run, read, transformed and diagonalised here, has ABACUS's own eigenvalues (istate.info) at
# its k-points within 0.1 meV: units, orbital order, signs, Fourier sums and eigenproblem in one number.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
}

plain() { # a file, or its compressed form
    if [ -e "$1" ]; then cat "$1"; else xz -dc "$1.xz"; fi
}

# agrees RUN: RUN/scf/OUT.ABACUS against our bands of h_label
agrees() {
    for p in mkgraph geneig; do [ -x "$BIN/$p" ] || skip "no $p"; done
    [ -d "$1" ] || skip "no $1"
    "$BIN/mkgraph" -q --abacus "$1" -o "$T/graph.nc"
    plain "$1/scf/OUT.ABACUS/istate.info" > "$T/istate"
    if [ -e "$1/scf/OUT.ABACUS/kpoints" ] || [ -e "$1/scf/OUT.ABACUS/kpoints.xz" ]; then
        plain "$1/scf/OUT.ABACUS/kpoints" | awk '$1 ~ /^[0-9]+$/ && NF == 5 { print $2, $3, $4 }' > "$T/list"
        "$BIN/geneig" -q --matrix h_label --kpoints "$T/list" -o "$T/eig.nc" "$T/graph.nc"
    else
        "$BIN/geneig" -q --matrix h_label --kpath "$1/scf/KPT" -o "$T/eig.nc" "$T/graph.nc"
    fi
    ncdump -p 9,12 -v eigenvalue "$T/eig.nc" | awk '/^ eigenvalue =/ { on = 1; next } on { gsub(/[,;}]/, " "); for (i = 1; i <= NF; i++) print $i }' \
        > "$T/ours"
    awk '$1 ~ /^[0-9]+$/ && NF == 3 { print $2 }' "$T/istate" > "$T/theirs"
    # Their file may have fewer bands than the basis has functions: rows of n_band numbers against rows of n_basis.
    k=$(grep -c Kpoint "$T/istate")
    awk -v k="$k" -v n_ours="$(wc -l < "$T/ours")" -v n_theirs="$(wc -l < "$T/theirs")" -v name="$1" '
        FNR == NR { ours[NR - 1] = $1; next }
        { b = n_theirs / k; row = int((FNR - 1) / b); d = ours[row * (n_ours / k) + (FNR - 1) % b] - $1
          if (d < 0) d = -d; if (!(d <= worst)) worst = d; n++ }
        END { printf "%s: %d k-points, %d bands, largest deviation %.6f meV\n", name, k, n_theirs / k, 1000 * worst
              exit !(n >= k && n_ours % k == 0 && n_theirs % k == 0 && worst < 1e-4) }' "$T/ours" "$T/theirs" > "$T/result" ||
        { cat "$T/result"; return 1; }
    echo "# $(cat "$T/result")" >&3
}

@test "ABACUS's eigenvalues: GaAs of pipelines/" { agrees pipelines/GaAs; }
@test "ABACUS's eigenvalues: Si" { agrees "$SHARED/data/abacus/Si"; }
@test "ABACUS's eigenvalues: GaAs" { agrees "$SHARED/data/abacus/GaAs"; }
@test "ABACUS's eigenvalues: MgO" { agrees "$SHARED/data/abacus/MgO"; }
@test "ABACUS's eigenvalues: PbTe" { agrees "$SHARED/data/abacus/PbTe"; }
@test "ABACUS's eigenvalues: Au" { agrees "$SHARED/data/abacus/Au"; }
@test "ABACUS's eigenvalues: MoS2" { agrees "$SHARED/data/abacus/MoS2"; }

# At the symmetric sites of a perfect crystal the published layer norms amplify rounding noise; norm_eps leaves it small.
@test "norm_eps: a perfect crystal's bands do not depend on the precision of the network" {
    "$BIN/mkgraph" -q --abacus pipelines/GaAs -o "$T/graph.nc"
    for eps in 1e-5 0.3; do
        sed -n '/^network:/,/^zero_output/s/^  //p' pipelines/train.yaml |
            sed "s/^norm_eps:.*/norm_eps: $eps/; s/^blocks:.*/blocks: 4/; s/^ranges:.*/ranges: [[0, 8]]/" > "$T/net.yaml"
        "$BIN/nhmodel" init --config "$T/net.yaml" --seed 3 -o "$T/model.nc"
        for p in single double; do
            "$BIN/nhinfer" -q -m "$T/model.nc" --precision $p "$T/graph.nc" | "$BIN/geneig" -q --matrix h_pred --mesh 2 2 2 -o "$T/$p.nc"
        done
        "$BIN/bandplot-data" -q --ref "$T/double.nc" "$T/single.nc" | sed -n 's/.*band error after the shift.* max \([0-9.]*\) meV.*/\1/p' >> "$T/largest"
    done
    echo "# published eps, then 0.3: largest differences in meV: $(paste -s "$T/largest")" >&3
    awk 'NR == 1 { published = $1 } NR == 2 { exit !(published > 0.1 && $1 < 0.01) }' "$T/largest"
}
