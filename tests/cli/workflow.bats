# The workflows in pipelines/ on the crystals beside them: each product made once, made anew where its inputs changed, failures listed
# and no obstacle to the others; ABACUS in the loop, with a stand-in that copies prepared results.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    export BIN
    for program in mkgraph mkabacus nhinfer geneig bandplot-data gaugemae; do
        [ -x "$BIN/$program" ] || skip "no $program"
    done
    command -v gnuplot > /dev/null || skip "no gnuplot"
    export KPATH="L .5 .5 .5; G 0 0 0; X .5 0 .5" POINTS=20
}

# A stand-in for ABACUS: results for the GaAs of pipelines/GaAs, whatever H0 or self-consistent run its INPUT asks for.
stand_in() {
    cat > "$T/abacus" << END
#!/bin/bash
set -eu
echo run >> "$T/runs"
from=scf
grep -q '^scf_nmax 1\$' INPUT && from=h0
grep -q '^nspin 4\$' INPUT && grep -q '^out_mat_hs2 1\$' INPUT && grep -q '^Ga_' STRU && [ -s KPT ]
[ ! -e "$T/crash" ] || { echo "out of memory"; exit 9; }
mkdir OUT.ABACUS
for f in "$PWD/pipelines/GaAs/\$from/OUT.ABACUS/"*.xz; do xzcat "\$f" > "OUT.ABACUS/\$(basename "\$f" .xz)"; done
[ ! -e "$T/unconverged" ] || sed -i '/convergence is achieved/d' OUT.ABACUS/running_scf.log
END
    chmod +x "$T/abacus"
    mkdir -p "$T/pseudo" "$T/orbital"
    touch "$T/pseudo/Ga.upf" "$T/pseudo/As_ONCV.UPF" "$T/orbital/Ga_gga_8au_100Ry_2s2p2d1f.orb" "$T/orbital/As_gga_7au_100Ry_2s2p1d.orb"
    export ENGINE=abacus ABACUS=$T/abacus ABACUS_PSEUDO=$T/pseudo ABACUS_ORBITAL=$T/orbital
    printf 'GaAs\n5.653\n0 .5 .5\n.5 0 .5\n.5 .5 0\nGa As\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > "$T/GaAs.vasp"
}

@test "mkabacus: INPUT, KPT and STRU that give the structure back" {
    stand_in
    "$BIN/mkabacus" --run scf --pseudo-dir "$T/pseudo" --orbital-dir "$T/orbital" --kspacing 0.5 --set ecutwfc=50 --set mixing_beta=0.2 \
        --outdir "$T/run" "$T/GaAs.vasp"
    grep -qx 'scf_nmax 100' "$T/run/INPUT"
    grep -qx 'ecutwfc 50' "$T/run/INPUT"
    grep -qx 'mixing_beta 0.2' "$T/run/INPUT"
    grep -qx "pseudo_dir $(realpath "$T/pseudo")" "$T/run/INPUT"
    [ "$(cut -d' ' -f1 "$T/run/INPUT" | sort | uniq -d)" = "" ]
    grep -qx '4 4 4 0 0 0' "$T/run/KPT" # |b| = 2 pi sqrt(3)/a = 1.925 1/Å
    "$BIN/mkabacus" --mesh 1 2 3 --pseudo-dir "$T/pseudo" --orbital-dir "$T/orbital" --outdir "$T/other" < "$T/GaAs.vasp"
    grep -qx '1 2 3 0 0 0' "$T/other/KPT"
    grep -qx 'scf_nmax 1' "$T/other/INPUT"
    # the same crystal from the written STRU (its shells from the names of its orbitals)
    "$BIN/mkgraph" --no-history --basis Ga:2s2p2d1f,As:2s2p1d -o "$T/a.nc" "$T/GaAs.vasp"
    "$BIN/mkgraph" --no-history -o "$T/b.nc" "$T/run/STRU"
    for v in position lattice atomic_number shell_l pair_cell; do
        [ "$(ncdump -p 8 -v $v "$T/a.nc" | sed -n '/^data:/,$p')" = "$(ncdump -p 8 -v $v "$T/b.nc" | sed -n '/^data:/,$p')" ]
    done
    # one element in two places of a list is one species of STRU
    printf 'x\n1\n5 0 0\n0 5 0\n0 0 5\nGa As Ga\n1 1 1\nCartesian\n0 0 0\n1 2 3\n2.5 2.5 2.5\n' > "$T/three"
    "$BIN/mkabacus" --pseudo-dir "$T/pseudo" --orbital-dir "$T/orbital" --outdir "$T/three.run" "$T/three"
    grep -qx 'ntype 2' "$T/three.run/INPUT"
    [ "$(grep -c '^Ga$' "$T/three.run/STRU")" -eq 1 ]
    [ "$(grep -A2 '^Ga$' "$T/three.run/STRU" | tail -1)" = 2 ]
}

@test "mkabacus: what is missing, in one line" {
    stand_in
    refused() {
        run "$BIN/mkabacus" "${@:3}"
        echo "$output"
        [ "$status" -eq "$1" ] && [ "${#lines[@]}" -eq 1 ] && [[ "$output" == "mkabacus: "*"$2"* ]]
    }
    local folders=(--pseudo-dir "$T/pseudo" --orbital-dir "$T/orbital")
    refused 2 "--outdir" "${folders[@]}" "$T/GaAs.vasp"
    refused 2 "--pseudo-dir" --outdir "$T/x" "$T/GaAs.vasp"
    refused 1 "KEY=VALUE" "${folders[@]}" --set ecutwfc --outdir "$T/x" "$T/GaAs.vasp"
    sed 's/As/Xe/' "$T/GaAs.vasp" > "$T/GaXe"
    refused 1 "no file Xe_*.upf" "${folders[@]}" --outdir "$T/x" "$T/GaXe"
    touch "$T/pseudo/Ga_two.upf"
    refused 1 "several files Ga_*.upf" "${folders[@]}" --outdir "$T/x" "$T/GaAs.vasp"
    [ ! -e "$T/x" ]
    refused 1 "no structure file" "${folders[@]}" --outdir "$T/x" "$T/abacus"
}

@test "abacus.sh: H0 and label of a structure; repeated only where the input changed; what went wrong" {
    stand_in
    run pipelines/abacus.sh "$T/GaAs.vasp" "$T/run"
    [ "$status" -eq 0 ]
    [ ! -e "$T/run/scf" ]
    LABELS=1 pipelines/abacus.sh "$T/GaAs.vasp" "$T/run"
    [ "$(wc -l < "$T/runs")" -eq 2 ]
    "$BIN/mkgraph" --abacus "$T/run" -o "$T/graph.nc"
    ncdump -h "$T/graph.nc" | grep -q 'h_label('
    ABACUS_OPTIONS="--set ecutwfc=60" pipelines/abacus.sh "$T/GaAs.vasp" "$T/run"
    [ "$(wc -l < "$T/runs")" -eq 3 ]
    touch "$T/unconverged"
    LABELS=1 run pipelines/abacus.sh "$T/GaAs.vasp" "$T/second"
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == "abacus.sh: $T/second/scf: "*"not converged" ]]
    touch "$T/crash"
    run pipelines/abacus.sh "$T/GaAs.vasp" "$T/third"
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == "abacus.sh: $T/third/h0: ABACUS ended with exit status 9: out of memory" ]]
    unset ABACUS
    run pipelines/abacus.sh "$T/GaAs.vasp" "$T/fourth"
    [ "$status" -eq 1 ]
    [[ "$output" == *"a structure without H0"* ]]
}

@test "bands.mk: folders, graphs and structures; only what changed; failures listed in the end" {
    stand_in
    cp pipelines/tiny/LiCl-1.nc "$T/LiCl.nc"
    cp pipelines/model.nc "$T/model.nc"
    printf '# crystals\n%s\nLiCl.nc\n%s\tby-abacus\nbroken.vasp\nnowhere\tgone\n' "$PWD/pipelines/GaAs" GaAs.vasp > "$T/list"
    sed '2d' "$T/GaAs.vasp" > "$T/broken.vasp"
    bands() { make -f pipelines/bands.mk -j2 LIST="$T/list" MODEL="$T/model.nc" OUT="$T/out" "$@"; }
    LABELS=1 run bands
    echo "$output"
    [ "$status" -eq 2 ]
    [[ "$output" == *"failed: 2 of 5 crystals"* ]]
    [ "$(cut -f1 "$T/out/failed.tsv" | tr '\n' ' ')" = "broken gone " ]
    grep -q 'broken.vasp' "$T/out/failed.tsv"
    # three matrices of each of the three others; the same crystal by both ways gives the same numbers
    [ "$(grep -vc '^#' "$T/out/errors.tsv")" -eq 9 ]
    [ "$(grep -c '^#' "$T/out/errors.tsv")" -eq 1 ]
    diff <(grep '^GaAs' "$T/out/errors.tsv" | cut -f3-) <(grep '^by-abacus' "$T/out/errors.tsv" | cut -f3-)
    awk -F'\t' '$1 == "GaAs" && $3 == "h_pred" { good = $9 > 0 && $9 < 100 } END { exit !good }' "$T/out/errors.tsv"
    for crystal in GaAs LiCl by-abacus; do grep -q '<svg' "$T/out/$crystal/bands/bands.svg"; done
    # without the two nothing fails, and nothing is left to do
    sed -i '/broken/d; /nowhere/d' "$T/list"
    touch "$T/then"
    run bands
    [ "$status" -eq 0 ]
    [ -z "$(find "$T/out/" -name '*.svg' -newer "$T/then")" ]
    # a new input: its own products only; a new model: predictions of all, no graph
    sleep 1 && touch "$T/LiCl.nc"
    bands
    [ "$(find "$T/out" -name '*.svg' -newer "$T/then" | wc -l)" -eq 1 ]
    sleep 1 && touch "$T/model.nc" "$T/then2"
    bands
    [ "$(find "$T/out" -name '*.svg' -newer "$T/then2" | wc -l)" -eq 3 ]
    [ -z "$(find "$T/out" -name graph.nc -type f -newer "$T/then2")" ]
    printf 'a/x.nc\nb/x.nc\n' > "$T/list"
    run bands
    [ "$status" -eq 2 ]
    [[ "$output" == *"called x, as line 1"* ]]
}

@test "crystals.sh: names, parts, a split that depends on names and seed only" {
    for i in $(seq 20); do echo "a/c$i.nc"; done > "$T/list"
    pipelines/crystals.sh "$T/list" > "$T/split"
    [ "$(cut -f3 "$T/split" | sort | uniq -c | tr -s ' \n' ' ')" = " 2 test 16 train 2 validation " ]
    sort -R "$T/list" > "$T/shuffled"
    diff <(sort "$T/split" | sed "s|$T/||") <(pipelines/crystals.sh "$T/shuffled" | sort | sed "s|$T/||")
    ! diff -q "$T/split" <(pipelines/crystals.sh "$T/list" 8:1:1 2) > /dev/null
    [ "$(pipelines/crystals.sh "$T/list" 0:0:1 | cut -f3 | sort -u)" = test ]
    printf '# comment\n/b/GaAs/\nx.vasp\tname\ttest\ny.nc.xz\n' > "$T/list"
    [ "$(pipelines/crystals.sh "$T/list" | tr '\t\n' '  ')" = "GaAs /b/GaAs train name $T/x.vasp test y $T/y.nc.xz validation " ]
    for wrong in 'a/x\nb/x' 'x\ty z' 'x\ty\tfoo'; do
        printf "$wrong\n" > "$T/list"
        run pipelines/crystals.sh "$T/list"
        [ "$status" -eq 1 ] && [[ "$output" == "crystals.sh: $T/list:"* ]] || { echo "$wrong: $status $output"; return 1; }
    done
}
