# pipelines/fine-tune.sh: structures of one kind and a model in, a model for that kind out; with made-up elements (make_species.py).
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    export BIN
    for p in h0build nhscf; do [ -x "$BIN/$p" ] || skip "no $p"; done
    /usr/bin/python3 "$DATA/make_species.py" "$T"
    export NEXTHAM_PSEUDO=$T/pseudo NEXTHAM_ORBITAL=$T/orbital H0BUILD_OPTIONS="--ecut 20" NHSCF_OPTIONS="--mesh 2 2 2" JOBS=2
    pipelines/prototypes.sh --only B,N --copies 5 --parts none > "$T/BN.xyz"
    sed -n '/^network:/,/^data/p' pipelines/train-tiny.yaml | sed '1d; $d; s/^  //' > "$T/net.yaml"
    "$BIN/nhmodel" init -c "$T/net.yaml" -o "$T/model.nc"
    export MODEL=$T/model.nc
}

@test "fine-tune.sh: labels, training from the model, what was gained on crystals that were left out; no gain is a failure" {
    run pipelines/fine-tune.sh "$T/BN.xyz" "$T/out" --set schedule.epochs=4 --set 'loss.k_mesh=[2,2,2]'
    echo "$output"
    [ "$status" -eq 0 ]
    [[ ${lines[-1]} == "Gauge MAE of 1 crystals that were not trained on, meV: H0 "*", before "*", after "* ]]
    "$BIN/nhmodel" info "$T/out/model.nc" | grep -q 'B 3'
    # the same crystals, labels are not made again; a rate of nothing gains nothing
    touch "$T/then" && sleep 1
    run pipelines/fine-tune.sh "$T/BN.xyz" "$T/out" --set schedule.epochs=1 --set optimizer.lr=1e-30 --set schedule.warmup_lr=1e-30 \
        --set schedule.min_lr=0 --set 'loss.k_mesh=[2,2,2]'
    echo "$output"
    [ "$status" -eq 1 ]
    [[ ${lines[-1]} == *"(1.00 times)" ]]
    [ -z "$(find "$T/out/data" -name '*.nc' -newer "$T/then")" ]
}

@test "fine-tune.sh: too few crystals, no list" {
    head -n 4 "$T/BN.xyz" > "$T/one.xyz"
    run pipelines/fine-tune.sh "$T/one.xyz" "$T/out"
    [ "$status" -eq 1 ] && [[ ${lines[-1]} == "fine-tune.sh: $T/one.xyz: no crystal for the part validation" ]]
    run pipelines/fine-tune.sh "$T/nothing.xyz" "$T/out"
    [ "$status" -eq 1 ] && [[ $output == *"nothing.xyz: no such file"* ]]
    run pipelines/fine-tune.sh
    [ "$status" -eq 2 ]
}
