# Names and files that would run a command, reach another file or a server, or never end. What is right: one line, or the work done.
load helper
load tiny_net

setup() {
    T=$BATS_TEST_TMPDIR
    ROOT=$PWD
}

one_error() { # one_error TEXT: the last run failed with one line that has TEXT
    echo "$output"
    [ "$status" -eq 1 ]
    [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]
    [[ "$output" == *"$1"* ]]
}

@test "bands.mk: names of files in a crystal, of crystals in a list and of the list run nothing" {
    mkdir -p "$T/w"
    cd "$T/w"
    cp -r "$ROOT/pipelines/GaAs" 'a b;touch PWNED1'
    touch 'a b;touch PWNED1/$(shell touch PWNED2)' 'a b;touch PWNED1/x;touch PWNED3' 'a b;touch PWNED1/`touch PWNED4`'
    printf 'a b;touch PWNED1\tgood\n`touch${IFS}PWNED5`\tbad\n' > "l;touch PWNED6.list"
    mkdir -p o
    run make -f "$ROOT/pipelines/bands.mk" BIN="$BIN" MODEL="$ROOT/pipelines/model.nc" LIST="l;touch PWNED6.list" OUT=o POINTS=10
    echo "$output"
    [ "$status" -ne 0 ] # bad is not there
    [[ "$output" == *"failed: 1 of 2 crystals"* ]]
    grep -q "^good" o/errors.tsv
    run find . -name 'PWNED*' -not -path '*a b*'
    [ -z "$output" ]
    run make -f "$ROOT/pipelines/bands.mk" BIN="$BIN" LIST="l;touch PWNED6.list" OUT='o;touch PWNED7'
    [ "$status" -ne 0 ]
    [ ! -e PWNED7 ]
}

@test "bands.mk: nothing to do where nothing changed; a changed input is noticed" {
    mkdir -p "$T/w"
    cd "$T/w"
    cp "$ROOT/pipelines/tiny/LiCl-1.nc" x.nc
    echo x.nc > l
    go() { make -f "$ROOT/pipelines/bands.mk" BIN="$BIN" MODEL="$ROOT/pipelines/model.nc" LIST=l OUT=o POINTS=10; }
    go | grep -q "x ham.nc"
    ! go | grep -q "x ham.nc"
    sleep 1
    touch x.nc
    go | grep -q "x ham.nc"
}

@test "report.sh: a list whose name is gnuplot code, folders that sed would read, titles of pictures" {
    mkdir -p "$T/w|&"
    cd "$T/w|&"
    cp "$ROOT/pipelines/tiny/LiCl-1.nc" .
    echo LiCl-1.nc > "t'.system('touch PWNED').'.list"
    echo '<svg xmlns="http://www.w3.org/2000/svg"/>' > 'x" onerror="alert(1).svg'
    BIN=$BIN MESH="2 2 2" POINTS=10 "$ROOT/pipelines/report.sh" -m "$ROOT/pipelines/model.nc" -o out -x 'x" onerror="alert(1).svg' "t'.system('touch PWNED').'.list"
    [ ! -e PWNED ]
    grep -q 'alt="x&quot; onerror=&quot;alert(1)"' out/report.html
    run env BIN="$BIN" "$ROOT/pipelines/report.sh" -m "$ROOT/pipelines/model.nc" -o "q'x" "t'.system('touch PWNED').'.list"
    [ "$status" -eq 2 ]
    printf 'LiCl-1.nc\r\n' > crlf.list
    run env BIN="$BIN" "$ROOT/pipelines/report.sh" -m "$ROOT/pipelines/model.nc" -o out crlf.list
    [ "$status" -eq 1 ]
    [[ "$output" == *"carriage returns"* ]]
}

@test "report.sh: the script in a run folder is not run" {
    cd "$T"
    mkdir run
    printf 'epoch\tlr\tloss_h\tval_h0_meV\tval_meV\n0\t1e-3\t2\t1.5\t1.4\n1\t1e-3\t1\t1.5\t1.2\n' > run/metrics.tsv
    echo "system('touch $T/PWNED')" > run/metrics.gp
    cp "$ROOT/pipelines/tiny/LiCl-1.nc" .
    echo LiCl-1.nc > a.list
    BIN=$BIN MESH="2 2 2" POINTS=10 "$ROOT/pipelines/report.sh" -m "$ROOT/pipelines/model.nc" -o out -r run a.list
    [ ! -e PWNED ]
    [ -s out/curves-1.svg ]
}

@test "addresses are no files: netCDF asks no server" {
    for name in http://127.0.0.1:9/x.nc 'file:///etc/passwd' 's3://bucket/x.nc'; do
        run "$BIN/geneig" --matrix h0 --mesh 1 1 1 -o "$T/o.nc" "$name"
        one_error "a file expected, not an address"
        run "$BIN/nhinfer" -m "$name" -o "$T/o.nc" pipelines/tiny/LiCl-1.nc
        one_error "a file expected, not an address"
    done
}


@test "lattices and cutoffs without an end" {
    printf 'GaAs in metres\n5.65e-10\n0 .5 .5\n.5 0 .5\n.5 .5 0\nGa As\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > "$T/POSCAR"
    run timeout 20 "$BIN/mkgraph" --basis Ga:1s,As:1s -o "$T/o.nc" "$T/POSCAR"
    one_error "POSCAR"
    sed 's/5.65e-10/5.65/' "$T/POSCAR" > "$T/right"
    run timeout 20 "$BIN/mkgraph" --basis Ga:1s,As:1s --cutoff 100000 -o "$T/o.nc" "$T/right"
    one_error "cutoff"
    "$BIN/mkgraph" -q --basis Ga:1s,As:1s -o "$T/o.nc" "$T/right"
}

@test "a prediction that is not finite is an error" {
    tiny_net > "$T/net.yaml"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$T/m.nc"
    ncgen -k nc4 -o "$T/good.nc" "$DATA/tiny_graph.cdl"
    "$BIN/nhinfer" -q -m "$T/m.nc" -o "$T/o.nc" "$T/good.nc"
    rm "$T/o.nc"
    awk '/^ *h0 =/ { on = 1 } on && /[0-9]/ { n += gsub(/-?[0-9]+\.[0-9]+/, "1e200") } /;/ { on = 0 } { print }' "$DATA/tiny_graph.cdl" > "$T/huge.cdl"
    ncgen -k nc4 -o "$T/huge.nc" "$T/huge.cdl"
    run "$BIN/nhinfer" -q -m "$T/m.nc" -o "$T/o.nc" "$T/huge.nc"
    one_error "not finite"
    [ ! -e "$T/o.nc" ]
}

@test "a limit on the size of files: an error, nothing left behind" {
    mkdir "$T/d"
    run bash -c "ulimit -f 4; '$BIN/nhmodel' init --config tests/data/torch/net.yaml --seed 1 -o '$T/d/m.nc'"
    [ "$status" -eq 1 ]
    [[ "$output" == *"File too large"* || "$output" == *"HDF error"* || "$output" == *"rror"* ]]
    [ -z "$(ls -A "$T/d")" ]
}

@test "a matrix file with a very short first line" {
    printf '#\n#1 2\n' > "$T/s.csr"
    run "$BIN/mkgraph" --basis Ga:1s,As:1s --h0 "$T/s.csr" -o "$T/o.nc" pipelines/GaAs/h0/STRU
    one_error "s.csr"
}

@test "escape sequences in a file do not reach the terminal" {
    local esc=$'\033'
    printf 'title\n1\n5 0 0\n0 5 0\n0 0 5\n%s[31mGa\n1\nDirect\n0 0 0\n' "$esc" > "$T/POSCAR"
    run "$BIN/mkgraph" --basis Ga:1s -o "$T/o.nc" "$T/POSCAR"
    one_error 'x1b[31m'
    [[ "$output" != *"$esc"* ]]
    tiny_net > "$T/net.yaml"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$T/m.nc"
    ncdump "$T/m.nc" | sed "s/:provenance = \"[^\"]*\"/:provenance = \"${esc}]0;title\"/" > "$T/m.cdl"
    ncgen -k nc4 -o "$T/evil.nc" "$T/m.cdl"
    run "$BIN/nhmodel" info "$T/evil.nc"
    echo "$output"
    [[ "$output" == *'\x1b]0;title'* && "$output" != *"$esc"* ]]
}

@test "a title or label with line ends makes no rows of a table" {
    ncgen -k nc4 -o "$T/g.nc" "$DATA/tiny_graph.cdl"
    "$BIN/geneig" -q --matrix h0 --mesh 2 1 1 -o "$T/eig.nc" "$T/g.nc"
    ncdump "$T/eig.nc" | sed 's/:title = "[^"]*"/:title = "x\\n9\\t9\\033[31m"/' > "$T/eig.cdl"
    ncgen -k nc4 -o "$T/evil.nc" "$T/eig.cdl"
    run "$BIN/bandplot-data" -q --format summary "$T/evil.nc"
    echo "$output"
    [ "$status" -eq 0 ] && [ "${#lines[@]}" -eq 2 ]
    [[ "${lines[1]}" == 'x\x0a9\x09'* ]]
    run "$BIN/bandplot-data" -q "$T/evil.nc"
    [ "$(printf '%s\n' "$output" | grep -c '^[0-9]')" -eq 2 ]
}

@test "a folder whose name is no UTF-8: nhtrain says so before it computes" {
    mkdir -p "$T"/n$'\xff'
    ncgen -k nc4 -o "$T/g.nc" "$DATA/tiny_graph.cdl"
    tiny_net > "$T/net.yaml"
    echo g.nc > "$T/list"
    printf 'network: net.yaml\ndata: {train: list}\nrun_dir: x\nschedule: {epochs: 1}\nloss: {k_mesh: [1, 1, 1]}\n' > "$T/train.yaml"
    cd "$T"/n$'\xff'
    run "$BIN/nhtrain" -q -c "$T/train.yaml" --set run_dir=run
    one_error "could not be read again"
    [ ! -e run/best.nc ]
}

@test "many keys take time in proportion" {
    awk 'BEGIN { for (i = 0; i < 100000; i++) print "k" i ": 1" }' > "$T/big.yaml"
    run timeout 20 "$BIN/nhmodel" init --config "$T/big.yaml" -o "$T/m.nc"
    one_error "big.yaml:1: unknown key k0"
}

@test "numbers in a file do not ask for memory" {
    [[ $BIN != */san/* ]] || skip "the sanitizer's own memory needs more address space"
    printf 'two hundred million\n1\n5 0 0\n0 5 0\n0 0 5\nGa\n200000000\nDirect\n0 0 0\n' > "$T/POSCAR"
    run bash -c "ulimit -v 600000; timeout 20 '$BIN/mkgraph' -j 1 --basis Ga:1s -o '$T/o.nc' '$T/POSCAR'"
    one_error "200000000 atoms do not fit into the rest of the file"
    # Variables that were never written take no room in a file.
    sed -e 's/atom = 2 ;/atom = 20000000 ;/' -e '/^data:/,$d' "$DATA/tiny_graph.cdl" > "$T/empty.cdl"
    echo '}' >> "$T/empty.cdl"
    ncgen -k nc4 -o "$T/empty.nc" "$T/empty.cdl"
    [ "$(stat -c %s "$T/empty.nc")" -lt 1000000 ]
    run timeout 20 "$BIN/geneig" --matrix h0 --mesh 1 1 1 -o "$T/o.nc" "$T/empty.nc"
    one_error "more numbers than a file of"
    run timeout 20 bash -c "'$BIN/geneig' --matrix h0 --mesh 1 1 1 -o '$T/o.nc' < '$T/empty.nc'"
    one_error "more numbers than a file of"
}

@test "a limited address space is an error, not a loop without end" {
    [[ $BIN != */san/* ]] || skip "the sanitizer's own memory needs more address space"
    ncgen -k nc4 -o "$T/good.nc" "$DATA/tiny_graph.cdl"
    run bash -c "ulimit -v 250000; timeout 20 '$BIN/geneig' -j 1 --matrix h0 --mesh 1 1 1 -o '$T/o.nc' '$T/good.nc'"
    one_error "address space"
}

@test "a pipe with a name is read, a dangling link and the model itself are not written over" {
    tiny_net > "$T/net.yaml"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$T/m.nc"
    ncgen -k nc4 -o "$T/good.nc" "$DATA/tiny_graph.cdl"
    "$BIN/nhinfer" -q -m "$T/m.nc" -o "$T/o.nc" <(cat "$T/good.nc")
    ln -s "$T/nowhere" "$T/link.nc"
    run "$BIN/nhinfer" -q -m "$T/m.nc" -o "$T/link.nc" "$T/good.nc"
    one_error "symbolic link to a file that does not exist"
    [ -L "$T/link.nc" ]
    cp "$T/m.nc" "$T/kept.nc"
    run "$BIN/nhinfer" -q -m "$T/m.nc" -o "$T/m.nc" "$T/good.nc"
    one_error "would replace the model"
    cmp "$T/m.nc" "$T/kept.nc"
}

@test "a model that is overwritten while it is in use is noticed" {
    tiny_net > "$T/net.yaml"
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$T/m.nc"
    ncgen -k nc4 -o "$T/good.nc" "$DATA/tiny_graph.cdl"
    cp "$T/m.nc" "$T/copy.nc"
    mkfifo "$T/late.nc" # nhinfer has read the model when it asks for the crystal
    "$BIN/nhinfer" -q -m "$T/m.nc" -o "$T/o.nc" "$T/late.nc" 2> "$T/message" &
    local pid=$!
    exec 7> "$T/late.nc" # goes on when nhinfer opens the other end
    dd if="$T/copy.nc" of="$T/m.nc" conv=notrunc status=none
    cat "$T/good.nc" >&7
    exec 7>&-
    local status=0
    wait "$pid" || status=$?
    cat "$T/message"
    [ "$status" -eq 1 ]
    grep -q "overwritten while it was in use" "$T/message"
    [ ! -e "$T/o.nc" ]
}
