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
    run "$BIN/geneig" --s-threshold 1e-3 --device cuda "$T/hk-cpu.nc" -o "$T/no.nc"
    fails 1 "geneig: " "--s-threshold: no kernels for it yet (use --device cpu)"
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

@test "without a device, without kernels: one line, or the CPU" {
    NH_EMU_DEVICES=0 run "$BIN/nhinfer" -m "$T/model.nc" --device cuda "$T/graph.nc" -o "$T/no.nc"
    fails 1 "nhinfer: --device cuda: " "no CUDA device: no CUDA-capable device is detected"
    run "$BIN/geneig" --device cuda:7 "$T/hk-cpu.nc" -o "$T/no.nc"
    fails 1 "geneig: --device cuda:7: no CUDA device 7: there are 2, counted from 0"
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
