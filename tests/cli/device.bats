# --device: the programs with their kernels on the emulated device, against the CPU; what happens where there is none.
load helper
load tiny_net

setup_file() {
    export T=$(mktemp -d)
    BIN=${NH_BIN:-$PWD/bin}
    tiny_net > "$T/tiny.yaml"
    ncgen -o "$T/graph.nc" tests/data/tiny_graph.cdl
    "$BIN/nhmodel" init --config "$T/tiny.yaml" --seed 3 -o "$T/model.nc"
    "$BIN/mkgraph" --abacus pipelines/GaAs -o "$T/gaas.nc"
}

teardown_file() {
    rm -rf "$T"
}

setup() {
    export NH_KERNELS=${NH_EMULATED:-$PWD/build/release/emu/libnhkernels.so}
}

# Largest difference of a variable in two files: difference FILE FILE VARIABLE
difference() {
    paste -d ' ' <(numbers "$1" "$3") <(numbers "$2" "$3") | awk '
        NF != 2 || ($1 == "NaN") != ($2 == "NaN") { print "differ in shape"; exit }
        $1 != "NaN" { d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d; n++ }
        END { if (n == 0) print "no numbers"; else printf "%.3e\n", most }'
}

numbers() {
    ncdump -p 9,17 -v "$2" "$1" | sed "1,/^ $2 =/d" | tr -d ' ;}' | tr ',' '\n' | grep .
}

within() { # within LIMIT FILE FILE VARIABLE
    local d
    d=$(difference "${@:2}")
    echo "$4: $d"
    awk -v d="$d" -v limit="$1" 'BEGIN { exit !(d + 0 == d && d <= limit) }'
}

@test "nhinfer: the emulated device predicts what the CPU does" {
    "$BIN/nhinfer" -m "$T/model.nc" --precision double "$T/graph.nc" -o "$T/cpu.nc"
    "$BIN/nhinfer" -m "$T/model.nc" --precision double --device cuda "$T/graph.nc" -o "$T/cuda.nc"
    within 1e-12 "$T/cpu.nc" "$T/cuda.nc" h_pred
    run "$BIN/nhinfer" -m "$T/model.nc" --device cuda:1,tf32 --timing "$T/graph.nc" -o "$T/single.nc"
    [ "$status" -eq 0 ] && [[ "$output" == *"sub-models on emulation on the host"* ]]
    within 1e-4 "$T/cpu.nc" "$T/single.nc" h_pred
}

@test "nhinfer: the order of blocks and streams, and little memory, change nothing" {
    infer() { "$BIN/nhinfer" --no-history --precision double -m pipelines/model.nc --device cuda tests/data/LiCl_rattled.nc "$@"; }
    infer -o "$T/one.nc"
    for seed in 1 2 3; do
        NH_EMU_SEED=$seed infer -o "$T/two.nc"
        cmp "$T/one.nc" "$T/two.nc"
    done
    NH_EMU_MEMORY=20000000 infer -o "$T/small.nc"
    within 1e-6 "$T/one.nc" "$T/small.nc" h_pred
    NH_EMU_MEMORY=6000000 run infer -o "$T/none.nc"
    fails 1 "nhinfer: " "CUDA device 0: out of memory" "the features of 254 edges do not fit"
    [ ! -e "$T/none.nc" ]
}

@test "nhinfer: sub-models on one, two and three devices give the same bytes" {
    infer() { "$BIN/nhinfer" --no-history --precision double -m pipelines/model.nc tests/data/LiCl_rattled.nc "$@"; }
    NH_EMU_DEVICES=1 infer --device cuda -o "$T/one.nc"
    for n in 2 3; do
        NH_EMU_DEVICES=$n NH_EMU_SEED=$n run infer --device cuda --timing -o "$T/more.nc"
        [ "$status" -eq 0 ]
        [ "$(grep -o "emulation on the host" <<< "$output" | wc -l)" -eq $n ]
        cmp "$T/one.nc" "$T/more.nc"
    done
    NH_EMU_DEVICES=3 infer --device cuda:2,0 -o "$T/more.nc"
    cmp "$T/one.nc" "$T/more.nc"
    NH_EMU_DEVICES=3 NH_EMU_MEMORY=0 run infer --device cuda:1 -o "$T/none.nc"
    fails 1 "nhinfer: " "CUDA device 1: out of memory"
    # one of them has too little memory: its sub-models do not run, whatever the others do
    NH_EMU_DEVICES=3 NH_EMU_MEMORY=100000000,6000000,100000000 run infer --device cuda -o "$T/none.nc"
    fails 1 "nhinfer: " "sub-model range1: CUDA device 1: out of memory" "the features of 254 edges do not fit"
    [ ! -e "$T/none.nc" ]
    # crystals one after another, weights kept on each device
    printf '%s\n' "$PWD/tests/data/LiCl_rattled.nc" "$PWD/tests/data/LiCl_rattled.nc	again.nc" > "$T/list"
    NH_EMU_DEVICES=3 "$BIN/nhinfer" --no-history --precision double -m pipelines/model.nc --device cuda --batch "$T/list" --outdir "$T/batch"
    cmp "$T/one.nc" "$T/batch/LiCl_rattled.nc"
    cmp "$T/one.nc" "$T/batch/again.nc"
}

@test "nhtrain: ten steps on the emulated device are ten steps on the CPU" {
    for device in cpu cuda; do
        "$BIN/nhtrain" --no-history -q -c pipelines/train-tiny.yaml --device $device --set schedule.epochs=5 \
            --set precision=double --set run_dir="$T/$device"
    done
    [ "$(wc -l < "$T/cuda/metrics.tsv")" -eq 6 ]
    # every number but the times
    cut -f 1-19 "$T/cpu/metrics.tsv" > "$T/a"
    cut -f 1-19 "$T/cuda/metrics.tsv" > "$T/b"
    paste "$T/a" "$T/b" | awk -F '\t' '
        NR == 1 { for (i = 1; i <= NF / 2; i++) name[i] = $i; next }
        { for (i = 1; i <= NF / 2; i++) if (name[i] !~ /second|time/) {
              d = $i - $(i + NF / 2); m = $i < 0 ? -$i : $i; if (d < 0) d = -d
              if (d > 1e-6 * m + 1e-12) { print name[i], $i, $(i + NF / 2); bad = 1 } } }
        END { exit bad }'
}

# Every number of a file.
all_numbers() {
    ncdump -p 9,17 "$1" | tr -s ' ,;' '\n' | grep -E '^-?[0-9][0-9.]*(e[-+]?[0-9]+)?$'
}

# What two runs have written is the same to rounding: same_run RUN_DIR RUN_DIR
same_run() {
    for file in last.nc best.nc; do
        paste <(all_numbers "$1/$file") <(all_numbers "$2/$file") | awk '
            { d = $1 - $2; if (d < 0) d = -d; if (!(d <= most)) most = d; n++; if (NF != 2) bad = 1 }
            END { print n, most; exit bad || n < 100000 || !(most < 1e-10) }'
    done
}

train_tiny() {
    "$BIN/nhtrain" --no-history -q -c pipelines/train-tiny.yaml --set precision=double --set accumulate=2 --set optimizer.ema=0.5 \
        --set optimizer.clip=0.03 --set optimizer.kind=adamw --set optimizer.weight_decay=0.01 --set schedule.kind=constant \
        --set schedule.warmup=0 "$@"
}

@test "nhtrain: averages, clipped and accumulated gradients, weight decay, and going on: the state is the CPU's" {
    train_tiny --set schedule.epochs=2 --set run_dir="$T/straight"
    train_tiny --set schedule.epochs=1 --set run_dir="$T/resumed" --device cuda
    "$BIN/nhtrain" --no-history -q --resume "$T/resumed" --set schedule.epochs=2 --device cuda
    same_run "$T/straight" "$T/resumed"
}

@test "nhtrain: processes with a device each, which share crystals or sub-models, are one on the CPU" {
    command -v mpirun > /dev/null && ldd "$BIN/nhtrain" | grep -q libmpi || skip "no MPI"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    train_tiny --set schedule.epochs=1 --set run_dir="$T/one"
    mpirun --oversubscribe -n 2 "$BIN/nhtrain" --no-history -q -j 1 -c "$T/one/config.yaml" --device cuda --set run_dir="$T/crystals" \
        --set accumulate=1 --set parallel=1
    same_run "$T/one" "$T/crystals"
    mpirun --oversubscribe -n 2 "$BIN/nhtrain" --no-history -q -j 1 -c "$T/one/config.yaml" --device cuda --set run_dir="$T/models" \
        --set parallel=ensemble
    same_run "$T/one" "$T/models"
}

@test "fourier and geneig: the emulated device against the CPU" {
    for device in cpu cuda; do
        "$BIN/fourier" --matrix h_label --mesh 2 2 1 --device $device "$T/gaas.nc" -o "$T/hk-$device.nc"
        "$BIN/geneig" --matrix h_label --mesh 2 2 1 --vectors --device $device "$T/gaas.nc" -o "$T/eig-$device.nc"
        "$BIN/geneig" --window -5:5 -j 2 --device $device "$T/hk-cpu.nc" -o "$T/window-$device.nc"
    done
    within 1e-11 "$T/hk-cpu.nc" "$T/hk-cuda.nc" hk
    within 1e-12 "$T/hk-cpu.nc" "$T/hk-cuda.nc" sk
    within 1e-9 "$T/eig-cpu.nc" "$T/eig-cuda.nc" eigenvalue
    within 1e-9 "$T/window-cpu.nc" "$T/window-cuda.nc" eigenvalue
    # H(k) from the sums and from a file, whatever the order of streams; in batches that fit
    for seed in 1 2; do
        NH_EMU_SEED=$seed "$BIN/geneig" --matrix h_label --mesh 2 2 1 --vectors --device cuda "$T/gaas.nc" -o "$T/order.nc"
        within 0 "$T/eig-cuda.nc" "$T/order.nc" eigenvalue
        within 0 "$T/eig-cuda.nc" "$T/order.nc" eigenvector
    done
    "$BIN/geneig" --vectors --device cuda "$T/hk-cuda.nc" -o "$T/order.nc"
    within 0 "$T/eig-cuda.nc" "$T/order.nc" eigenvector
    NH_EMU_MEMORY=7900000 "$BIN/geneig" --matrix h_label --mesh 2 2 1 --device cuda "$T/gaas.nc" -o "$T/small.nc"
    within 1e-9 "$T/eig-cpu.nc" "$T/small.nc" eigenvalue
    NH_EMU_MEMORY=7500000 run "$BIN/geneig" --matrix h_label --mesh 2 2 1 --device cuda "$T/gaas.nc" -o "$T/no.nc"
    fails 1 "geneig: " "CUDA device 0: out of memory"
    [ ! -e "$T/no.nc" ]
    /usr/bin/python3 -c 'import netCDF4, numpy' || skip "vectors not checked: no netCDF4 for Python"
    # vectors of degenerate bands are any of their space, so: C^dagger S C = 1 and H C = E S C
    /usr/bin/python3 - "$T/hk-cpu.nc" "$T/eig-cuda.nc" << 'END'
import sys, netCDF4
import numpy as np
hk, eig = (netCDF4.Dataset(f) for f in sys.argv[1:])
c = lambda v: np.asarray(v[:])[..., 0] + 1j * np.asarray(v[:])[..., 1]
h, s, v, e = c(hk["hk"]), c(hk["sk"]), c(eig["eigenvector"]), np.asarray(eig["eigenvalue"][:])
for k in range(len(h)):
    assert abs(v[k].conj() @ s[k] @ v[k].T - np.eye(len(e[k]))).max() < 1e-10
    assert abs(h[k] @ v[k].T - s[k] @ v[k].T * e[k]).max() < 1e-9
END
}

@test "geneig: --s-threshold and bad overlap matrices on the emulated device" {
    for device in cpu cuda; do
        "$BIN/geneig" -q --s-threshold 1e-2 --device $device "$T/hk-cpu.nc" -o "$T/projected-$device.nc"
    done
    within 1e-9 "$T/projected-cpu.nc" "$T/projected-cuda.nc" eigenvalue
    [ "$(ncdump -h "$T/projected-cuda.nc" | grep s_dropped)" = "$(ncdump -h "$T/projected-cpu.nc" | grep s_dropped)" ]
    sed 's/overlap = 0.1, 0.4, 1,/overlap = 0.1, 0.4, 0.15,/' "$DATA/chain.cdl" > "$T/bad.cdl"
    ncgen -k nc4 -o "$T/bad.nc" "$T/bad.cdl"
    "$BIN/fourier" --path "G 0 0 0; X .5 0 0" -n 4 "$T/bad.nc" -o "$T/bad-hk.nc"
    for device in cpu cuda; do
        run "$BIN/geneig" --path "G 0 0 0; X .5 0 0" -n 4 --device $device "$T/bad.nc" -o "$T/no.nc"
        fails 1 "geneig: $T/bad.nc: k-point 3 (0.25 0 0): the overlap matrix is not positive definite: smallest eigenvalue"
        run "$BIN/geneig" --device $device "$T/bad-hk.nc" -o "$T/no.nc"
        fails 1 "geneig: $T/bad-hk.nc: k-point 3 (0.25 0 0): the overlap matrix is not positive definite: smallest eigenvalue"
        [ ! -e "$T/no.nc" ]
        run "$BIN/geneig" --s-threshold 1e3 --device $device "$T/hk-cpu.nc" -o "$T/no.nc"
        fails 1 "geneig: $T/hk-cpu.nc: k-point 1 (" "no eigenvalue of the overlap matrix reaches the threshold 1000: the largest is"
    done
    # the bound of --against is the CPU's
    "$BIN/geneig" --matrix h_label --against h0 --mesh 2 2 1 --device cuda "$T/gaas.nc" -o "$T/against-cuda.nc"
    "$BIN/geneig" --matrix h_label --against h0 --mesh 2 2 1 "$T/gaas.nc" -o "$T/against-cpu.nc"
    within 0 "$T/against-cpu.nc" "$T/against-cuda.nc" s_condition
}

@test "without a device, without kernels: one line, or the CPU" {
    NH_EMU_DEVICES=0 run "$BIN/nhinfer" -m "$T/model.nc" --device cuda "$T/graph.nc" -o "$T/no.nc"
    fails 1 "nhinfer: --device cuda: " "no CUDA device: no CUDA-capable device is detected"
    run "$BIN/geneig" --device cuda:7 "$T/hk-cpu.nc" -o "$T/no.nc"
    fails 1 "geneig: --device cuda:7: no CUDA device 7: there are 2, counted from 0"
    NH_EMU_DEVICES=3 run "$BIN/nhinfer" -m "$T/model.nc" --device cuda:0,3 "$T/graph.nc" -o "$T/no.nc"
    fails 1 "nhinfer: --device cuda:0,3: no CUDA device 3: there are 3, counted from 0"
    [ ! -e "$T/no.nc" ]
    run "$BIN/nhinfer" -m "$T/model.nc" --device cuda:1,1 "$T/graph.nc"
    fails 2 "nhinfer: --device: cpu, auto or cuda[:I[,J]...][,tf32] expected, found 'cuda:1,1'"
    run "$BIN/geneig" --device cuda:0,1 "$T/hk-cpu.nc"
    fails 2 "geneig: --device: one device expected, found 'cuda:0,1'"
    NH_KERNELS=/nowhere/libnhkernels.so run "$BIN/fourier" --matrix h0 --mesh 1 1 1 --device cuda "$T/graph.nc" -o "$T/no.nc"
    fails 1 "fourier: --device cuda: " "no CUDA kernels: there is no /nowhere/libnhkernels.so (make cuda)"
    NH_EMU_DEVICES=0 run "$BIN/nhinfer" -m "$T/model.nc" --precision double --device auto "$T/graph.nc" -o "$T/auto.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == "nhinfer: warning: no CUDA device: no CUDA-capable device is detected; computing on the CPU" ]]
    "$BIN/nhinfer" -m "$T/model.nc" --precision double "$T/graph.nc" -o "$T/cpu.nc"
    within 0 "$T/cpu.nc" "$T/auto.nc" h_pred
    NH_EMU_DEVICES=0 run "$BIN/nhtrain" -c pipelines/train-tiny.yaml --device cuda --set run_dir="$T/never"
    fails 1 "nhtrain: --device cuda: no CUDA device"
    [ ! -e "$T/never" ]
    run "$BIN/h0embed" --device cuda "$T/graph.nc"
    fails 2 "h0embed: " "--device"
}

@test "h0build: H0 on the device is the CPU's" {
    /usr/bin/python3 tests/data/make_species.py "$T"
    export NEXTHAM_PSEUDO=$T/pseudo NEXTHAM_ORBITAL=$T/orbital
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n.1 .12 .14\n.36 .35 .4\n' > "$T/POSCAR"
    "$BIN/h0build" -q --ecut 15 "$T/POSCAR" -o "$T/cpu.nc"
    "$BIN/h0build" -q --ecut 15 --device cuda "$T/POSCAR" -o "$T/device.nc"
    within 1e-11 "$T/cpu.nc" "$T/device.nc" h0
    within 0 "$T/cpu.nc" "$T/device.nc" overlap
    NH_EMU_MEMORY=1000000 run "$BIN/h0build" -q --ecut 15 --device cuda "$T/POSCAR" -o "$T/none.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *memory* ]]
    [ ! -e "$T/none.nc" ]
}

@test "nhscf: the loop with its grid on the device ends where the CPU's does; the certificate, too" {
    /usr/bin/python3 tests/data/make_species.py "$T"
    export NEXTHAM_PSEUDO=$T/pseudo NEXTHAM_ORBITAL=$T/orbital
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n.1 .12 .14\n.36 .35 .4\n' > "$T/POSCAR"
    "$BIN/h0build" -q --ecut 15 "$T/POSCAR" -o "$T/graph.nc"
    "$BIN/nhscf" -q --mesh 2 2 2 -o "$T/cpu.nc" "$T/graph.nc"
    "$BIN/nhscf" -q --mesh 2 2 2 --device cuda -o "$T/device.nc" "$T/graph.nc"
    within 1e-9 "$T/cpu.nc" "$T/device.nc" h_label
    "$BIN/nhscf" -q --check --start h0 --mesh 2 2 2 "$T/graph.nc" > "$T/check-host"
    "$BIN/nhscf" -q --check --start h0 --mesh 2 2 2 --device cuda "$T/graph.nc" > "$T/check-device"
    cmp "$T/check-host" "$T/check-device"
    run "$BIN/nhscf" --mesh 2 2 2 --device cuda:0,1 "$T/graph.nc"
    [ "$status" -eq 2 ]
}
