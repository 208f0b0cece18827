# nhtrain: settings, run folder, resuming, what it refuses.
load helper
load tiny_net

setup_file() {
    export T=$(mktemp -d)
    # one run that others are compared with
    train -j 1 --set run_dir="$T/whole" 2> "$T/whole.log"
}

teardown_file() {
    rm -rf "$T"
}

train() {
    "${NH_BIN:-$PWD/bin}/nhtrain" --no-history -c pipelines/train-tiny.yaml --set schedule.epochs=20 "$@"
}

# Value of a column in the last row of metrics.tsv: last RUN_DIR COLUMN
last() {
    awk -F '\t' -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i } END { print $c }' "$1/metrics.tsv"
}

@test "help, version, wrong command lines" {
    run "$BIN/nhtrain" --help
    [ "$status" -eq 0 ] && [[ "$output" == *"--resume"*"--set"* ]]
    run "$BIN/nhtrain"
    fails 2 "nhtrain: --config or --resume missing"
    run "$BIN/nhtrain" -c pipelines/train-tiny.yaml --epochs 3
    fails 2 "nhtrain:" "--epochs"
    run "$BIN/nhtrain" -c pipelines/train-tiny.yaml --set optimizer.lr
    fails 2 "nhtrain: --set optimizer.lr: KEY=VALUE expected"
    run "$BIN/nhtrain" -c pipelines/train-tiny.yaml --set optimizer.lr=fast
    fails 2 "nhtrain: --set optimizer.lr=fast" "number expected, found 'fast'"
}

@test "the tiny configuration learns something, and fills its folder" {
    for f in config.yaml metrics.tsv metrics.gp last.nc best.nc; do [ -s "$T/whole/$f" ]; done
    [ "$(wc -l < "$T/whole/metrics.tsv")" -eq 21 ]
    [ "$(awk -F '\t' '{ print NF }' "$T/whole/metrics.tsv" | sort -u | wc -l)" -eq 1 ]
    awk -v a="$(last "$T/whole" val_meV)" -v b="$(last "$T/whole" val_h0_meV)" 'BEGIN { exit !(a < 0.9 * b) }'
    [ "$(grep -c '^epoch' "$T/whole.log")" -eq 20 ]
    run "$BIN/nhmodel" info "$T/whole/best.nc"
    [ "$status" -eq 0 ] && [[ "$output" == *"trained by nhtrain"* ]]
    [[ "$output" == *"2, with the number of training crystals: Li 2 Cl 2"* ]]
    # a crystal that stands in the list twice is one
    printf '%s\n' "$PWD"/pipelines/tiny/LiCl-{1,2,1,1,2}.nc > "$T/twice.list"
    train -q --set run_dir="$T/twice" --set schedule.epochs=1 --set data.train="$T/twice.list"
    ncdump -h "$T/twice/best.nc" | grep -q ':elements = "Li 2 Cl 2" ;'
    [ -z "$(find "$T/whole" -name '*.tmp')" ]
}

# The Gauge MAE of the best epoch is what nhinfer and gaugemae find: same_error RUN_DIR GRAPH.nc
same_error() {
    local best h0 pred base
    read -r best h0 <<< "$(awk -F '\t' 'NR > 1 && $NF == 1 { row = $17 " " $19 } END { print row }' "$1/metrics.tsv")"
    "$BIN/nhinfer" -m "$1/best.nc" -o "$T/ham.nc" "$2"
    "$BIN/gaugemae" --mu l2 "$T/ham.nc" > "$T/mae.txt"
    pred=$(awk '$1 == "h_pred" && $2 == "overall" { print $7 }' "$T/mae.txt")
    base=$(awk '$1 == "h0" && $2 == "overall" { print $7 }' "$T/mae.txt")
    echo "$best $h0 / $pred $base"
    awk -v a="$best" -v b="$pred" 'BEGIN { exit !(b > 0 && (a - b) ^ 2 < (1e-5 + 1e-6 * b) ^ 2) }'
    if [ "$h0" = nan ]; then [ -z "$base" ]; else awk -v a="$h0" -v b="$base" 'BEGIN { exit !(b > 0 && (a - b) ^ 2 < 4e-12) }'; fi
}

@test "the validation's Gauge MAE is that of nhinfer and gaugemae" {
    [ "$(head -n 1 "$T/whole/metrics.tsv" | cut -f 17,19)" = "val_meV	val_h0_meV" ]
    same_error "$T/whole" pipelines/tiny/LiCl-3.nc
}

@test "curves" {
    command -v gnuplot > /dev/null || skip "no gnuplot"
    (cd "$T/whole" && gnuplot metrics.gp)
    [ "$(head -c 4 "$T/whole/metrics.png" | tail -c 3)" = PNG ]
}

@test "same seed, same bytes; config.yaml says what was used; another seed, another model" {
    "$BIN/nhtrain" --no-history -q -j 1 -c "$T/whole/config.yaml" --set run_dir="$T/again"
    cmp "$T/whole/best.nc" "$T/again/best.nc"
    cmp "$T/whole/last.nc" "$T/again/last.nc"
    diff <(grep -v run_dir "$T/whole/config.yaml") <(grep -v run_dir "$T/again/config.yaml")
    diff <(cut -f 1-3,5- "$T/whole/metrics.tsv") <(cut -f 1-3,5- "$T/again/metrics.tsv")
    train -q -j 1 --set run_dir="$T/seed" --set seed=2
    ! cmp -s "$T/whole/best.nc" "$T/seed/best.nc"
}

@test "killed at any moment and resumed: the same bytes as without" {
    for i in 1 2; do
        rm -rf "$T/killed"
        "$BIN/nhtrain" --no-history -q -j 1 -c pipelines/train-tiny.yaml --set schedule.epochs=20 --set run_dir="$T/killed" \
            --set checkpoint.every_steps=3 &
        pid=$!
        # as soon as there is a state; later each time
        for _ in $(seq 500); do [ -e "$T/killed/last.nc" ] && break; sleep 0.01; done
        sleep "0.$((i * 13))"
        kill -9 "$pid" 2> /dev/null || true
        wait "$pid" || true
        [ -e "$T/killed/last.nc" ]
        "$BIN/nhtrain" --no-history -q -j 1 --resume "$T/killed"
        diff <(ncdump "$T/whole/last.nc" | grep -v '^netcdf') <(ncdump "$T/killed/last.nc" | grep -v '^netcdf') > "$T/diff" || { head "$T/diff"; false; }
        cmp "$T/whole/best.nc" "$T/killed/best.nc"
        diff <(cut -f 1-3,5- "$T/whole/metrics.tsv") <(cut -f 1-3,5- "$T/killed/metrics.tsv")
    done
}

@test "SIGTERM and SIGINT: the state is saved, and the run goes on from there" {
    for signal in TERM INT; do
        rm -rf "$T/stopped"
        # not with &: a shell starts its background jobs with SIGINT ignored
        python3 - "$BIN/nhtrain" "$T" "$signal" << 'END'
import os, signal, subprocess, sys, time
program, folder, name = sys.argv[1:]
signal.signal(signal.SIGINT, signal.SIG_DFL)
p = subprocess.Popen([program, '--no-history', '-j', '1', '-c', 'pipelines/train-tiny.yaml', '--set', 'schedule.epochs=20',
                      '--set', 'run_dir=' + folder + '/stopped'], stderr=open(folder + '/stopped.log', 'w'))
metrics = folder + '/stopped/metrics.tsv'
while not os.path.exists(metrics):
    time.sleep(0.01)
p.send_signal(getattr(signal, 'SIG' + name))
p.wait()
open(folder + '/status', 'w').write(str(p.returncode))
END
        [ "$(cat "$T/status")" -eq "$([ $signal = INT ] && echo 130 || echo 143)" ]
        grep -q "stopped in epoch .*nhtrain --resume $T/stopped" "$T/stopped.log"
        [ -s "$T/stopped/last.nc" ]
        "$BIN/nhtrain" --no-history -q -j 1 --resume "$T/stopped"
        cmp "$T/whole/best.nc" "$T/stopped/best.nc"
        diff <(cut -f 1-3,5- "$T/whole/metrics.tsv") <(cut -f 1-3,5- "$T/stopped/metrics.tsv")
    done
}

@test "more epochs for a run that is done" {
    cp -r "$T/whole" "$T/longer"
    "$BIN/nhtrain" -q -j 1 --resume "$T/longer" --set schedule.epochs=22
    [ "$(wc -l < "$T/longer/metrics.tsv")" -eq 23 ]
    grep -q "epochs: 22" "$T/longer/config.yaml"
    run "$BIN/nhtrain" -q --resume "$T/longer" --set network.heads=1
    fails 1 "nhtrain: $T/longer/last.nc: network: the run to resume has another one"
    run "$BIN/nhtrain" -q --resume "$T/longer" --set precision=double
    fails 1 "nhtrain: $T/longer/last.nc: precision"
}

@test "a folder with a run is not written over" {
    run train -q --set run_dir="$T/whole"
    fails 1 "nhtrain: $T/whole: holds a run already"
    run "$BIN/nhtrain" --resume "$T/nowhere"
    fails 1 "nhtrain: $T/nowhere/config.yaml: No such file"
    mkdir -p "$T/empty" && cp "$T/whole/config.yaml" "$T/empty"
    run "$BIN/nhtrain" --resume "$T/empty"
    fails 1 "nhtrain: $T/empty/last.nc: No such file"
    mkdir -p "$T/nostate" && cp "$T/whole/config.yaml" "$T/nostate" && cp "$T/whole/best.nc" "$T/nostate/last.nc"
    run "$BIN/nhtrain" --resume "$T/nostate"
    fails 1 "nhtrain: $T/nostate/last.nc: attribute random_state"
}

@test "fine-tuning, parts of the ensemble, averages, double precision, accumulation, the paper's loss" {
    train -q --set run_dir="$T/first" --set schedule.epochs=3 --set "ensemble=[1]" --set optimizer.ema=0.5
    # the sub-models that were not trained correct nothing
    nonzero() { ncdump -g "$1" -v edge_lin.tp.weight "$T/first/best.nc" | sed '1,/^  *edge_lin.tp.weight =/d' | tr ',;' '\n\n' | grep -c '[1-9]' || true; }
    [ "$(nonzero range0)" -eq 0 ] && [ "$(nonzero range1)" -gt 100 ] && [ "$(nonzero range2)" -eq 0 ]
    sed -e '/^network:/,/^data:/{/^data:/!d}' -e "s|tiny/|$PWD/pipelines/tiny/|g" pipelines/train-tiny.yaml > "$T/tune.yaml"
    echo "init: $T/whole/best.nc" >> "$T/tune.yaml"
    "$BIN/nhtrain" -q -c "$T/tune.yaml" --set schedule.epochs=2 --set run_dir="$T/tuned" --set schedule.kind=constant \
        --set schedule.warmup=0 --set optimizer.lr=1e-5
    awk -v a="$(last "$T/tuned" val_meV)" -v b="$(last "$T/whole" val_meV)" 'BEGIN { exit !(a < 1.02 * b) }'
    grep -q "^init: '$T/whole/best.nc'" "$T/tuned/config.yaml"
    "$BIN/nhtrain" -q --resume "$T/tuned" --set schedule.epochs=3
    # what was learnt before counts, and nothing twice
    for f in best last; do ncdump -h "$T/tuned/$f.nc" | grep -q ':elements = "Li 2 Cl 2" ;'; done
    train -q --set run_dir="$T/double" --set schedule.epochs=3 --set precision=double --set accumulate=2 --set loss.kind=paper \
        --set optimizer.clip=0.1 --set memory=recompute --set loss.k_per_step=2 --set loss.cut=per-k
    [ "$(last "$T/double" step)" -eq 3 ]
    ncdump -h "$T/double/best.nc" | grep -q "double edge_lin.tp.weight"
}

@test "ablations change what they say" {
    train -q --set run_dir="$T/a1" --set schedule.epochs=1 --set "ablate=[tracegrad, ensemble, loss-pq]"
    grep -q "scale: 0}" "$T/a1/config.yaml"
    grep -q "ranges: \[\[0, 6\]\]" "$T/a1/config.yaml"
    grep -q "lambda_pq: 0$" "$T/a1/config.yaml" && grep -q "lambda_p: 0.0002" "$T/a1/config.yaml"
    [ "$(last "$T/a1" pq)" != nan ]
    train -q --set run_dir="$T/a2" --set schedule.epochs=1 --set "ablate=[loss-k]"
    [ "$(last "$T/a2" p)" = 0 ] && [ "$(last "$T/a2" pq)" = 0 ]
}

@test "a network that does not see H0, one that answers with the Hamiltonian" {
    train -q -j 1 --set run_dir="$T/input" --set schedule.epochs=6 --set "ablate=[input]"
    grep -q "input: elements" "$T/input/config.yaml" && grep -q "h0: as-given" "$T/input/config.yaml"
    ncdump -h "$T/input/best.nc" > "$T/header"
    grep -q "float ele_embed.weight(n120, n8)" "$T/header" && ! grep -q input_rs "$T/header"
    same_error "$T/input" pipelines/tiny/LiCl-3.nc
    [ "$(last "$T/input" val_base_meV)" = "$(last "$T/input" val_h0_meV)" ]
    # rows of Li and Cl have been trained, others have not
    table() { ncdump -v ele_embed.weight -g range0 "$1" | sed '1,/^  *ele_embed.weight =/d' | tr -d ' \n' | tr ',;' '\n\n' | sed -n "$((8 * $2 + 1)),$((8 * $2 + 8))p"; }
    train -q -j 1 --set run_dir="$T/input0" --set schedule.epochs=1 --set optimizer.lr=0 --set schedule.warmup_lr=0 --set schedule.min_lr=0 --set "ablate=[input]"
    for z in 3 17; do ! diff -q <(table "$T/input/last.nc" $z) <(table "$T/input0/last.nc" $z) || false; done
    for z in 4 118; do diff <(table "$T/input/last.nc" $z) <(table "$T/input0/last.nc" $z); done
    [ "$(table "$T/input/last.nc" 118 | wc -l)" -eq 8 ]

    train -q -j 1 --set run_dir="$T/output" --set schedule.epochs=6 --set "ablate=[output]"
    grep -q "target: hamiltonian" "$T/output/config.yaml" && grep -q "input: h0" "$T/output/config.yaml"
    same_error "$T/output" pipelines/tiny/LiCl-3.nc
    awk -v a="$(last "$T/output" val_base_meV)" -v b="$(last "$T/output" val_h0_meV)" 'BEGIN { exit !(a > 10 * b) }'
    "$BIN/nhtrain" -q -j 1 --resume "$T/output" --set schedule.epochs=7
    [ "$(wc -l < "$T/output/metrics.tsv")" -eq 8 ]
    sed -e '/^network:/,/^data:/{/^data:/!d}' -e "s|tiny/|$PWD/pipelines/tiny/|g" pipelines/train-tiny.yaml > "$T/own.yaml"
    run "$BIN/nhtrain" -q -c "$T/own.yaml" --set init="$T/whole/best.nc" --set run_dir="$T/own" --set "ablate=[output]"
    fails 1 "nhtrain: ablate: output needs a network of its own, not that of init"
}

@test "the cut-down network: trained and run on files without H0" {
    mkdir "$T/bare" "$T/full" # both through text, which has no -0
    for i in 1 2 3; do
        ncdump -p 9,17 pipelines/tiny/LiCl-$i.nc > "$T/text"
        ncgen -4 -o "$T/full/$i.nc" "$T/text"
        sed -e '/h0(spin, elem, ri)/d' -e '/h0:/d' -e '/^ h0 =/,/;/d' "$T/text" | ncgen -4 -o "$T/bare/$i.nc"
    done
    ! ncdump -h "$T/bare/1.nc" | grep -w h0 || false
    for d in bare full; do
        printf '%s\n' 1.nc 2.nc > "$T/$d/train.list"
        echo 3.nc > "$T/$d/validation.list"
    done
    lists() { echo --set data.train="$T/$1/train.list" --set data.validation="$T/$1/validation.list"; }
    common=(-q -j 1 --set schedule.epochs=6 --set "ablate=[cut-down]")
    train "${common[@]}" --set run_dir="$T/cut" $(lists bare) --set data.test="$T/bare/validation.list" > "$T/cut.txt"
    grep -q "h0: none" "$T/cut/config.yaml" && grep -q "input: elements" "$T/cut/config.yaml"
    grep -q "^overall  *nan" "$T/cut.txt"
    [ "$(last "$T/cut" val_h0_meV)" = nan ]
    awk -v a="$(last "$T/cut" val_meV)" -v b="$(last "$T/cut" val_base_meV)" 'BEGIN { exit !(a < b) }'
    # files with an H0 give the same: it is not looked at
    train "${common[@]}" --set run_dir="$T/cut0" $(lists full)
    [ "$(cut -f 1-3,6-18 "$T/cut/metrics.tsv")" = "$(cut -f 1-3,6-18 "$T/cut0/metrics.tsv")" ]
    # nhinfer, on the graph and on what h0embed --no-h0 makes of it
    same_error "$T/cut" "$T/bare/3.nc"
    cp "$T/ham.nc" "$T/plain.nc"
    "$BIN/h0embed" --no-h0 "$T/bare/3.nc" -o "$T/embedded.nc"
    "$BIN/nhinfer" -m "$T/cut/best.nc" "$T/embedded.nc" -o "$T/ham.nc"
    ncdump -h "$T/ham.nc" | grep -q "element(atom)"
    diff <(ncdump -v h_pred "$T/plain.nc" | sed '/^data/,$!d') <(ncdump -v h_pred "$T/ham.nc" | sed '/^data/,$!d')
    # the others need it
    run "$BIN/nhinfer" -m "$T/whole/best.nc" "$T/bare/3.nc" -o "$T/ham2.nc"
    fails 1 "nhinfer: $T/bare/3.nc: no variable h0"
    run train -q --set run_dir="$T/refused" $(lists bare) --set "ablate=[input]"
    fails 1 "nhtrain: $T/bare/train.list:1: $T/bare/1.nc: no variable h0"
}

@test "steps without a finite loss are skipped and counted" {
    # a label of 1e200: its square is none
    ncdump pipelines/tiny/LiCl-1.nc | sed -e 's/float h_label/double h_label/' -e '/^ h_label =/,/;/s/^ *[-0-9.e]*,/ 1e200,/' | ncgen -4 -o "$T/wild.nc"
    printf '%s\n' "$T/wild.nc" "$PWD/pipelines/tiny/LiCl-2.nc" > "$T/wild.list"
    train --set run_dir="$T/wild" --set data.train="$T/wild.list" --set schedule.epochs=3 --set loss.l1_epochs=0 \
        --set "ablate=[loss-k]" 2> "$T/wild.log"
    [ "$(cut -f 15 "$T/wild/metrics.tsv" | tr '\n' ' ')" = "skipped 1 1 1 " ]
    grep -q "skipped 3" "$T/wild.log"
    [ "$(last "$T/wild" loss_h)" != nan ]
}

@test "memory does not grow with the list" {
    [[ $BIN != *san* ]] || skip "the sanitizer keeps freed memory"
    mkdir "$T/many"
    for i in $(seq 80); do ln -s "$PWD/pipelines/tiny/LiCl-$((i % 3 + 1)).nc" "$T/many/$i.nc"; echo "$i.nc"; done > "$T/many/list"
    cp "$T/many/list" "$T/many/long.list"
    head -n 20 "$T/many/list" > "$T/many/short.list"
    peak() {
        python3 - "$@" << 'END'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
END
    }
    common=(-q -j 1 -c pipelines/train-tiny.yaml --set schedule.epochs=1 --set data.cache=0 --set data.validation= --set "ablate=[loss-k]")
    short=$(peak "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/short" --set data.train="$T/many/short.list")
    long=$(peak "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/long" --set data.train="$T/many/long.list")
    echo "$short kB, $long kB"
    [ "$long" -lt $((short + 20000)) ]
    [ "$(last "$T/long" step)" -eq 80 ]
}

@test "wrong data is found before training" {
    list() { printf '%s\n' "$@" > "$T/wrong.list"; }
    refuse() {
        run train -q --set run_dir="$T/refused" --set data.train="$T/wrong.list"
        fails 1 "nhtrain: $1" "${@:2}"
        rm -rf "$T/refused"
    }
    list "$PWD/pipelines/tiny/LiCl-1.nc" gone.nc
    refuse "$T/wrong.list:2: $T/gone.nc: No such file"
    list "$PWD/tests/data/LiCl_rattled.nc"
    refuse "$T/wrong.list:1: $PWD/tests/data/LiCl_rattled.nc: no variable h_label"
    echo text > "$T/text.nc"
    list "$PWD/pipelines/tiny/LiCl-1.nc" text.nc
    refuse "$T/wrong.list:2: $T/text.nc"
    : > "$T/wrong.list"
    refuse "$T/wrong.list: no names of files"
    list "$PWD/pipelines/tiny/LiCl-1.nc"
    run train -q --set run_dir="$T/refused" --set network.basis=4s1p
    fails 1 "nhtrain: $PWD/pipelines/tiny/train.list:1: $PWD/pipelines/tiny/LiCl-1.nc: the network is for another basis"
    rm -rf "$T/refused"
    run train -q --set run_dir="$T/refused" --set network.cutoff=9
    fails 1 "nhtrain:" "made with cutoff 8" "needs 9"
    rm -rf "$T/refused"
    run train -q --set run_dir="$T/refused" --set network.rydberg=13.6
    fails 1 "nhtrain:" "Rydberg factor 13.605698066 eV, the network's is 13.6"
    rm -rf "$T/refused"
    # one element with other shells in a second file: chlorine for lithium
    ncdump pipelines/tiny/LiCl-2.nc | sed 's/atomic_number = 3, 17/atomic_number = 17, 3/' | ncgen -4 -o "$T/mixed.nc"
    list "$PWD/pipelines/tiny/LiCl-1.nc" mixed.nc
    refuse "$T/wrong.list:2: $T/mixed.nc: mixed bases: Cl has the shells 4s1p here and 2s2p1d in $PWD/pipelines/tiny/LiCl-1.nc"
    run train -q --set run_dir="$T/refused" --set "ensemble=[3]"
    fails 1 "nhtrain:" "sub-model 3 asked for, the network has 3"
}

@test "a disk that is full, a folder that cannot be made" {
    run train -q --set run_dir=/dev/null/run
    fails 1 "nhtrain: /dev/null"
    run train -q --set run_dir=/proc/run
    fails 1 "nhtrain: /proc/run"
}

@test "processes that share the sub-models of a crystal are one that has all of them" {
    command -v mpirun > /dev/null && ldd "$BIN/nhtrain" | grep -q libmpi || skip "no MPI"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    common=(-q -j 1 --no-history -c pipelines/train-tiny.yaml --set schedule.epochs=5 --set schedule.kind=constant
        --set precision=double --set optimizer.ema=0.5)
    "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/alone"
    # three sub-models over two processes; over three; stopped after two epochs, and resumed by another number of processes
    mpirun --oversubscribe -n 2 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/shared2" --set parallel=ensemble
    mpirun --oversubscribe -n 3 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/shared3" --set parallel=3
    mpirun --oversubscribe -n 2 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/shared1" --set parallel=2 --set schedule.epochs=2
    "$BIN/nhtrain" -q -j 1 --no-history --resume "$T/shared1" --set schedule.epochs=3
    mpirun --oversubscribe -n 3 "$BIN/nhtrain" -q -j 1 --no-history --resume "$T/shared1" --set schedule.epochs=5 --set parallel=ensemble
    for i in 1 2 3; do
        diff <(cut -f 1-3,5- "$T/alone/metrics.tsv") <(cut -f 1-3,5- "$T/shared$i/metrics.tsv")
        # no sum of numbers depends on where the sub-models are: not only to rounding
        for f in best last; do
            diff <(ncdump -p 9,17 "$T/alone/$f.nc" | tail -n +2) <(ncdump -p 9,17 "$T/shared$i/$f.nc" | tail -n +2) > "$T/diff" || { head "$T/diff"; false; }
        done
    done
    # two groups of two
    mpirun --oversubscribe -n 4 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/groups" --set parallel=2
    "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/pairs" --set accumulate=2
    diff <(cut -f 1-3,5- "$T/pairs/metrics.tsv") <(cut -f 1-3,5- "$T/groups/metrics.tsv")
    run mpirun --oversubscribe -n 3 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/refused" --set parallel=2
    [ "$status" -ne 0 ] && [ "$(grep -c "parallel: 2 processes a crystal do not divide the 3" <<< "$output")" -eq 1 ]
    run mpirun --oversubscribe -n 4 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/refused" --set parallel=4
    [ "$status" -ne 0 ] && [ "$(grep -c "parallel: 4 processes a crystal, but only 3 sub-models" <<< "$output")" -eq 1 ]
    [ ! -e "$T/refused/last.nc" ]
}

@test "two processes, one crystal each a step, are one with two" {
    command -v mpirun > /dev/null && ldd "$BIN/nhtrain" | grep -q libmpi || skip "no MPI"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    common=(-q -j 1 --no-history -c pipelines/train-tiny.yaml --set schedule.epochs=5 --set precision=double)
    mpirun --oversubscribe -n 2 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/two"
    "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/one" --set accumulate=2
    diff <(cut -f 1-3,5- "$T/one/metrics.tsv") <(cut -f 1-3,5- "$T/two/metrics.tsv")
    [ "$(last "$T/two" step)" -eq 5 ]
    # one line about what all of them find
    run mpirun --oversubscribe -n 2 "$BIN/nhtrain" "${common[@]}" --set run_dir="$T/two"
    [ "$status" -ne 0 ] && [ "$(grep -c "holds a run already" <<< "$output")" -eq 1 ]
}

@test "the names of the basis go into the model; mixed bases, and an overlap of another structure, are refused" {
    xyz="$T/basis"
    mkdir -p "$xyz"
    # names FILE ORBITALS [ATOM]: the crystal with the name of its orbital files; ATOM has moved by a lattice vector
    names() {
        /usr/bin/python3 - "$@" << 'END'
import shutil, sys
import netCDF4, numpy as np
shutil.copy("pipelines/tiny/LiCl-1.nc", sys.argv[1])
with netCDF4.Dataset(sys.argv[1], "a") as f:
    f.set_auto_mask(False)
    f.orbital_hash = sys.argv[2]
    if len(sys.argv) > 3:
        f["position"][int(sys.argv[3])] = f["position"][int(sys.argv[3])] + f["lattice"][0]
        r = f["position"][:]
        v = r[f["pair_dst"][:]] - r[f["pair_src"][:]] + f["pair_cell"][:] @ f["lattice"][:]
        f["pair_distance"][:] = np.sqrt((v**2).sum(axis=1))
END
    }
    names "$xyz/a.nc" "Li:11 Cl:22"
    names "$xyz/b.nc" "Cl:22 Li:11"
    names "$xyz/c.nc" "Li:11 Cl:23"
    names "$xyz/moved.nc" "Li:11 Cl:22" 1
    printf 'a.nc\nb.nc\n' > "$xyz/good.list"
    printf 'a.nc\nc.nc\n' > "$xyz/mixed.list"
    printf 'moved.nc\n' > "$xyz/moved.list"
    short() { train -q -j 1 --set schedule.epochs=1 --set schedule.warmup=0 --set data.validation="$xyz/good.list" --set run_dir="$xyz/$1" --set data.train="$xyz/$1.list"; }
    run short mixed
    fails 1 "nhtrain: " "c.nc: mixed bases: another orbital file of Cl"
    run short moved
    fails 1 "nhtrain: " "moved.nc" "do not overlap"
    short good
    ncdump -h "$xyz/good/last.nc" | grep -q ':orbital_hash = "Cl:22 Li:11"'
}

@test "a run that was killed before a checkpoint was due is resumed, or begun again where nothing was saved" {
    "$BIN/nhtrain" --no-history -q -j 1 -c pipelines/train-tiny.yaml --set schedule.epochs=500 --set run_dir="$T/early" &
    pid=$!
    for _ in $(seq 6000); do [ -s "$T/early/metrics.tsv" ] && [ -e "$T/early/last.nc" ] && break; sleep 0.01; done
    kill -9 "$pid"
    wait "$pid" || true
    "$BIN/nhtrain" --no-history -q -j 1 --resume "$T/early" --set schedule.epochs=3
    rm "$T/early/last.nc"
    run "$BIN/nhtrain" --no-history -j 1 -c pipelines/train-tiny.yaml --set schedule.epochs=2 --set run_dir="$T/early"
    [ "$status" -eq 0 ]
    [[ "$output" == *"$T/early: a run that ended before its first state was saved: begun again"* ]]
    [ "$(wc -l < "$T/early/metrics.tsv")" -eq 3 ]
}

@test "two trainers in one folder: the second one is refused" {
    "$BIN/nhtrain" --no-history -q -j 1 -c pipelines/train-tiny.yaml --set schedule.epochs=500 --set run_dir="$T/shared-folder" &
    pid=$!
    for _ in $(seq 6000); do [ -e "$T/shared-folder/last.nc" ] && break; sleep 0.01; done
    run "$BIN/nhtrain" --no-history -q -j 1 --resume "$T/shared-folder"
    kill -9 "$pid"
    wait "$pid" || true
    fails 1 "nhtrain: $T/shared-folder: another nhtrain works in this folder"
    "$BIN/nhtrain" --no-history -q -j 1 --resume "$T/shared-folder" --set schedule.epochs=1
}
