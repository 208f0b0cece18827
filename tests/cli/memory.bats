# Each program where one allocation fails, the first, the last and some between (NH_FAULTS=all: every one): exit status 1 and one line, or the
# output as it is without a failure; no half file, no temporary.
load helper
load tiny_net

setup() {
    T=$BATS_TEST_TMPDIR
    ROOT=$PWD
    LIB=${NH_FAILMALLOC:-$PWD/build/release/faults/failmalloc.so}
    [ -e "$LIB" ] || skip "the programs have another allocator, or make unit was not run"
    export OPENBLAS_NUM_THREADS=1
    tiny_net > "$T/net.yaml"
    "$BIN/nhmodel" init --no-history --config "$T/net.yaml" --seed 1 -o "$T/m.nc"
    ncgen -k nc4 -o "$T/g.nc" "$DATA/tiny_graph.cdl"
}

# each NAME OUTPUT COMMAND...: the program writes OUTPUT, a file, a folder or "stdout", in an empty folder.
each() {
    local name=$1 out=$2 n i step bad=0 status
    shift 2
    mkdir -p "$T/$name"
    cd "$T/$name"
    LD_PRELOAD=$LIB NH_FAIL_COUNT=$T/count "$@" > stdout 2> stderr || { cat stderr; return 1; }
    n=$(cat "$T/count")
    mv "$out" "$T/$name.expected"
    step=$((n / 12 + 1))
    [ "${NH_FAULTS:-}" != all ] || step=1
    for ((i = 1; i <= n; i += step)); do
        rm -rf -- "$T/$name"/*
        status=0
        LD_PRELOAD=$LIB NH_FAIL=$i timeout 60 "$@" > stdout 2> stderr || status=$?
        case $status in
        0) cmp -s "$out" "$T/$name.expected" || [ -d "$out" ] || { echo "$name, allocation $i of $n: another output"; bad=1; } ;;
        1)
            [ "$(wc -l < stderr)" -eq 1 ] && grep -qE '^[a-z0-9-]+( [a-z]+)?: .' stderr ||
                { echo "$name, allocation $i of $n: no one line: $(cat stderr)"; bad=1; }
            [ ! -f "$out" ] || [ "$out" = stdout ] || { echo "$name, allocation $i of $n: left an output"; bad=1; }
            ;;
        *) echo "$name, allocation $i of $n: status $status: $(cat stderr)"; bad=1 ;;
        esac
        [ -z "$(find . -name '*.tmp')" ] || { echo "$name, allocation $i of $n: left a temporary"; bad=1; rm -f -- .*.tmp; }
    done
    cd "$T"
    return $bad
}

@test "no memory: mkgraph, mkabacus" {
    local run=$ROOT/tests/data/abacus_tiny/nspin1
    each mkgraph o.nc "$BIN/mkgraph" -q -j 1 --no-history --abacus "$run" -o o.nc
    each mkgraph-structure o.nc "$BIN/mkgraph" -q -j 1 --no-history --basis Ga:1s,As:1s -o o.nc "$ROOT/pipelines/GaAs/h0/STRU"
}

@test "no memory: h0embed, fourier, geneig, gaugemae, bandplot-data" {
    each h0embed o.nc "$BIN/h0embed" -q -j 1 --no-history --basis 2s1p -o o.nc "$T/g.nc"
    each fourier o.nc "$BIN/fourier" -q -j 1 --no-history --matrix h0 --path "G 0 0 0; X .5 0 0" -n 3 -o o.nc "$T/g.nc"
    each geneig o.nc "$BIN/geneig" -q -j 1 --no-history --vectors --matrix h0 --mesh 2 1 1 -o o.nc "$T/g.nc"
    each gaugemae o.tsv "$BIN/gaugemae" -q --pred h0 --ref h_label -o o.tsv "$T/g.nc"
    each bandplot o.tsv "$BIN/bandplot-data" -q -o o.tsv "$T/geneig.expected"
}

@test "no memory: nhmodel, nhinfer" {
    each nhmodel o.nc "$BIN/nhmodel" init --no-history --config "$T/net.yaml" --seed 1 -o o.nc
    each nhmodel-info stdout "$BIN/nhmodel" info "$T/m.nc"
    each nhinfer o.nc "$BIN/nhinfer" -q -j 1 --no-history -m "$T/m.nc" -o o.nc "$T/g.nc"
}

@test "no memory: nhtrain" {
    echo "$T/g.nc" > "$T/list"
    printf 'network: %s\ndata: {train: %s}\nrun_dir: run\nschedule: {epochs: 1}\nloss: {k_mesh: [1, 1, 1]}\n' "$T/net.yaml" "$T/list" > "$T/train.yaml"
    each nhtrain run "$BIN/nhtrain" -q -j 1 -c "$T/train.yaml"
}

@test "no memory: h0build, nhscf" {
    command -v /usr/bin/python3 > /dev/null && /usr/bin/python3 -c 'import numpy' || skip "python3 with numpy makes the species"
    /usr/bin/python3 "$ROOT/tests/data/make_species.py" "$T"
    printf 'BN\n1\n0 1.8 1.8\n1.8 0 1.8\n1.8 1.8 0\nB N\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > "$T/POSCAR"
    each h0build o.nc "$BIN/h0build" -q -j 1 --no-history --pseudo-dir "$T/pseudo" --orbital-dir "$T/orbital" -o o.nc "$T/POSCAR"
}
