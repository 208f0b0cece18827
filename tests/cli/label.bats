# pipelines/label.sh and native.sh: structures in, training data out, without a DFT code; with made-up elements (make_species.py).
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    export BIN
    for p in h0build nhscf; do [ -x "$BIN/$p" ] || skip "no $p"; done
    /usr/bin/python3 "$DATA/make_species.py" "$T"
    export NEXTHAM_PSEUDO=$T/pseudo NEXTHAM_ORBITAL=$T/orbital H0BUILD_OPTIONS="--ecut 20" NHSCF_OPTIONS="--mesh 2 2 2"
    frame() { # COMMENT LATTICE-CONSTANT ATOM...
        printf '%d\nLattice="0 %s %s %s 0 %s %s %s 0" Properties=species:S:1:pos:R:3 %s\n' $(($# - 2)) "$2" "$2" "$2" "$2" "$2" "$2" "$1"
        printf '%s\n' "${@:3}"
    }
    {
        frame 'id=mp-1 formula=BN part=train' 1.8 'B 0 0 0' 'N .9 .9 .95'
        frame 'id=mp-2 formula=BN part=test-unseen-formula' 1.7 'B 0 0 0' 'N .85 .85 .85'
        frame 'id=mp-3 formula=B part=val' 1.5 'B 0 0 0'
        frame 'id=xenon formula=Xe part=train' 3 'Xe 0 0 0'
        frame 'id=spot part=train' 2 'B 0 0 0' 'N 0 0 0'
    } > "$T/all.xyz"
}

@test "label.sh: labelled graphs, lists, facts, failures with their reasons; what is there is not made again" {
    run pipelines/label.sh "$T/all.xyz" "$T/out"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "$output" == "3 crystals, 2 failed;"*"WARNING: formulas in more than one part: BN"* ]]
    [ "$(cat "$T/out/train.list")" = graph/mp-1/mp-1.nc ]
    [ "$(cat "$T/out/validation.list")" = graph/mp-3/mp-3.nc ]
    [ "$(cat "$T/out/test.list")" = graph/mp-2/mp-2.nc ]
    [ "$(cut -f1-6 "$T/out/crystals.tsv" | sed 1d)" = "$(printf 'mp-1\ttrain\tBN\t2\tB,N\t8.\nmp-2\ttest\tBN\t2\tB,N\t8.\nmp-3\tvalidation\tB\t1\tB\t3.')" ]
    grep -q $'^xenon\th0build: .*Xe_' "$T/out/failed.tsv"
    grep -q $'^spot\th0build: .*spot' "$T/out/failed.tsv"
    [ "$(wc -l < "$T/out/failed.tsv")" -eq 2 ]
    ncdump -h "$T/out/graph/mp-1/mp-1.nc" | grep -q 'h_label(spin, elem, ri)'
    # the list of training can be trained on as it is: gaugemae reads it
    (cd "$T/out" && "$BIN/gaugemae" -q --pred h0 $(cat train.list) > /dev/null)
    # again: only what failed is tried; a structure that changed is made anew
    touch "$T/then" && sleep 1
    pipelines/label.sh "$T/all.xyz" "$T/out" > /dev/null
    [ -z "$(find "$T/out/graph" -name '*.nc' -newer "$T/then")" ]
    sed -i 's/^N .9 .9 .95/N .9 .9 .94/' "$T/all.xyz"
    pipelines/label.sh "$T/all.xyz" "$T/out" > /dev/null
    [ "$(find "$T/out/graph" -name '*.nc' -newer "$T/then")" = "$T/out/graph/mp-1/mp-1.nc" ]
}

@test "label.sh: no label without convergence; the results do not depend on the number of jobs" {
    NHSCF_OPTIONS="--mesh 2 2 2 --max-iterations 2" MOST=1 run pipelines/label.sh "$T/all.xyz" "$T/short"
    [ "$status" -eq 1 ]
    grep -q $'^mp-1\tnhscf: .*not converged after 2 iterations' "$T/short/failed.tsv"
    [ -z "$(find "$T/short" -name '*.nc*')" ]
    JOBS=1 MOST=3 pipelines/label.sh "$T/all.xyz" "$T/one" > /dev/null
    JOBS=3 MOST=3 pipelines/label.sh "$T/all.xyz" "$T/three" > /dev/null
    for n in 1 2 3; do
        cmp <(values "$T/one/graph/mp-$n/mp-$n.nc" h_label) <(values "$T/three/graph/mp-$n/mp-$n.nc" h_label)
    done
    cmp <(cut -f1-10 "$T/one/crystals.tsv") <(cut -f1-10 "$T/three/crystals.tsv")
}

@test "native.sh and graph.sh: H0 of a structure, its label where it is asked for; another engine" {
    pipelines/label.sh "$T/all.xyz" "$T/out" > /dev/null || true
    structure=$T/out/structures/mp-1.xyz
    pipelines/graph.sh "$structure" "$T/h0.nc"
    ncdump -h "$T/h0.nc" > "$T/header"
    grep -q 'h0(spin' "$T/header" && ! grep -q h_label "$T/header"
    [ "$(cut -f1 "$T/h0.times")" = h0build ]
    LABELS=1 pipelines/graph.sh "$structure" "$T/label.nc"
    ncdump -h "$T/label.nc" | grep -q h_label
    [ "$(cut -f1 "$T/label.times" | tr '\n' ' ')" = "h0build nhscf " ]
    ENGINE=vasp run pipelines/graph.sh "$structure" "$T/x.nc"
    [ "$status" -eq 1 ] && one_line && [[ "$output" == *'"vasp", native or abacus expected'* ]]
    run pipelines/native.sh "$T/nowhere" "$T/x.nc"
    [ "$status" -eq 1 ] && one_line && [[ "$output" == "native.sh: $T/nowhere: no such file" ]]
    [ -z "$(find "$T" -name 'x.nc*')" ]
}

@test "certificate.sh: what nhscf --check says beside the true error, and how they rank" {
    MOST=3 pipelines/label.sh "$T/all.xyz" "$T/out" > /dev/null
    # three predictions: the label, and two that are further and further from it
    local i=0
    for share in 0 0.05 0.4; do
        i=$((i + 1))
        /usr/bin/python3 - "$T/out/graph/mp-$i/mp-$i.nc" "$T/ham-$i.nc" $share << 'END'
import shutil, sys
import netCDF4
shutil.copy(*sys.argv[1:3])
with netCDF4.Dataset(sys.argv[2], "a") as d:
    v = d.createVariable("h_pred", "f8", d["h_label"].dimensions)
    v.units = "eV"
    v[:] = d["h_label"][:] + float(sys.argv[3]) * (d["h0"][:] - d["h_label"][:])
END
        echo "ham-$i.nc" >> "$T/list"
    done
    echo nowhere.nc >> "$T/list"
    run pipelines/certificate.sh "$T/list" "$T/certificate"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == "3 crystals; rank correlation with the true error (Spearman): residual 1.000, "* ]]
    [ "$(wc -l < "$T/certificate/certificate.tsv")" -eq 4 ]
    [ "$(cut -f1 "$T/certificate/failed.tsv")" = nowhere ]
    awk -F'\t' '/^ham-1/ && !($2 < 1e-3 && $5 < 1e-6) { bad = 1 } /^ham-3/ && !($2 > 0.01 && $5 > 0.01) { bad = 1 } END { exit bad }' "$T/certificate/certificate.tsv"
    ! command -v gnuplot > /dev/null || grep -q '<svg' "$T/certificate/certificate.svg"
}
