# make install: programs that run, a library that other programs build with, and nothing private.
load helper
load tiny_net

setup_file() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    # skip is for setup: here it would be a failure
    [ "${NH_BIN:-$PWD/bin}" = "$PWD/bin" ] || { export ANOTHER_BUILD=1; return 0; }
    unset MAKEFLAGS MFLAGS MAKELEVEL
    export P=$BATS_FILE_TMPDIR/inst F=$BATS_FILE_TMPDIR
    make -s PREFIX="$P" install >"$F/install.log" 2>&1 || { cat "$F/install.log"; return 1; }
    export PKG_CONFIG_PATH=$P/lib/pkgconfig
    ncgen -4 -o "$F/graph.nc" "$PWD/tests/data/tiny_graph.cdl"
    tiny_net >"$F/net.yaml"
    "$P/bin/nhmodel" init --config "$F/net.yaml" --seed 3 -o "$F/model.nc"
    "$P/bin/nhinfer" -q --no-history -m "$F/model.nc" "$F/graph.nc" -o "$F/ham.nc"
}

setup() {
    [ -z "${ANOTHER_BUILD:-}" ] || skip "of the usual build"
    cd "$BATS_TEST_DIRNAME/../.." || return
    T=$BATS_TEST_TMPDIR
}

headers() { (cd "$P/include" && find . -name '*.h' | sed 's,^\./,,' | LC_ALL=C sort); }

@test "what is installed: programs, pages, library, workflows with their model; no path of DESTDIR in it" {
    unset MAKEFLAGS MFLAGS MAKELEVEL
    make -s DESTDIR="$T/root" PREFIX=/opt/nh install
    (cd "$P" && find . ! -type d | LC_ALL=C sort) >"$T/one"
    (cd "$T/root/opt/nh" && find . ! -type d | LC_ALL=C sort) >"$T/two"
    diff "$T/one" "$T/two"
    for program in tools/*.c; do
        name=$(basename "$program" .c)
        [ -x "$P/bin/$name" ] && [ -s "$P/share/man/man1/$name.1" ]
    done
    [ -x "$P/share/nextham/pipelines/bands.sh" ] && cmp pipelines/model.nc "$P/share/nextham/pipelines/model.nc"
    grep -x 'prefix=/opt/nh' "$T/root/opt/nh/lib/pkgconfig/nextham.pc"
    ! grep -rlF "$T" "$T/root/opt/nh/lib/pkgconfig" "$T/root/opt/nh/include"
    [ "$(find "$P/include" -name '*internal*' | wc -l)" -eq 0 ]
    [ "$(headers | wc -l)" -lt 25 ]
}

@test "the installed workflow finds its programs and its model" {
    ln -s "$F/graph.nc" "$T/crystal.nc"
    run env -u BIN "$P/share/nextham/pipelines/graph.sh" "$T/crystal.nc" "$T/out/graph.nc"
    echo "$output"
    [ "$status" -eq 0 ]
    cmp "$F/graph.nc" "$T/out/graph.nc"
}

@test "each header compiles by itself, as C11 and as C++17" {
    local flags
    flags=$(pkg-config --cflags nextham)
    for h in $(headers); do
        echo "$h"
        echo "#include <$h>" >"$T/one.c"
        cc -std=c11 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror $flags -fsyntax-only "$T/one.c"
        c++ -std=c++17 -pedantic -Wall -Wextra -Werror $flags -fsyntax-only -x c++ "$T/one.c"
        # The umbrella has it, and it names no header that is not installed.
        [ "$h" = nextham.h ] || grep -qF "\"$h\"" "$P/include/nextham.h"
    done
}

@test "the shared library exports what the headers declare, and has a name with a version" {
    include/symbols "$P/include/nextham.h" cc $(pkg-config --cflags nextham) >"$T/declared"
    [ "$(wc -l <"$T/declared")" -gt 50 ]
    nm -D --defined-only "$P/lib/libnextham.so" | awk '{ print $3 }' | LC_ALL=C sort >"$T/exported"
    diff "$T/declared" "$T/exported"
    readelf -d "$P/lib/libnextham.so" | grep -F 'Library soname: [libnextham.so.0]'
    ! readelf -d "$P/lib/libnextham.so" | grep -i 'libmpi'
}

examples() { # FOLDER MAKE-ARGUMENT...
    cp -r examples "$1"
    make -s -C "$1" clean
    make -s -C "$1" CFLAGS='-O1 -Wall -Wextra -Werror' "${@:2}"
}

# They do what the programs do. bands: against geneig, at the same points.
run_examples() { # FOLDER
    "$1/predict" "$F/model.nc" "$F/graph.nc" "$T/ham.nc"
    values "$T/ham.nc" h_pred >"$T/mine"
    values "$F/ham.nc" h_pred >"$T/theirs"
    [ "$(wc -l <"$T/mine")" -gt 100 ]
    diff -q "$T/mine" "$T/theirs"
    "$1/read_ham" "$T/ham.nc" >"$T/text"
    cat "$T/text"
    grep -E '^h_pred: H\[0\] = -?[0-9.]+' "$T/text"
    "$1/bands" tests/data/LiCl_rattled.nc "G 0 0 0; X .5 0 .5" >"$T/none" 2>"$T/err" && return 1
    grep -x 'bands: tests/data/LiCl_rattled.nc: no variable h_pred.*' "$T/err"
    ncgen -k nc4 -o "$T/chain.nc" tests/data/chain.cdl
    "$1/bands" "$T/chain.nc" "G 0 0 0; X .5 0 0" >"$T/bands"
    "$P/bin/geneig" -q --path "G 0 0 0; X .5 0 0" -n 20 "$T/chain.nc" -o "$T/eig.nc"
    values "$T/eig.nc" eigenvalue >"$T/expected"
    awk '{ for (i = 2; i <= NF; i++) print $i }' "$T/bands" >"$T/found"
    paste "$T/found" "$T/expected" | awk '
        { d = $1 - $2; if (d < 0) d = -d; if (!(d < 1e-5)) bad++ }
        END { exit !(NR >= 21 && bad == 0) }'
}

@test "the examples are built with the installed library and run: shared" {
    examples "$T/ex"
    readelf -d "$T/ex/predict" | grep -F '[libnextham.so.0]'
    LD_LIBRARY_PATH=$P/lib run_examples "$T/ex"
    # In C++, too.
    c++ -std=c++17 -Wall -Wextra -Werror -x c++ examples/predict.c $(pkg-config --cflags --libs nextham) -o "$T/cxx"
    LD_LIBRARY_PATH=$P/lib "$T/cxx" "$F/model.nc" "$F/graph.nc" "$T/cxx.nc"
    cmp "$T/cxx.nc" "$T/ham.nc"
}

@test "the examples are built with the installed library and run: static" {
    examples "$T/ex" STATIC=1
    ! readelf -d "$T/ex/predict" | grep -F 'libnextham'
    run_examples "$T/ex"
}

@test "examples that go wrong say why, in one line" {
    examples "$T/ex"
    export LD_LIBRARY_PATH=$P/lib
    run "$T/ex/predict" "$F/model.nc" "$T/none.nc" "$T/out.nc"
    fails 1 "predict: $T/none.nc: " "No such file"
    run "$T/ex/predict" "$F/graph.nc" "$F/graph.nc" "$T/out.nc"
    fails 1 "predict: $F/graph.nc: "
    run "$T/ex/bands" "$F/ham.nc" "G 0 0 0; X"
    fails 1 "bands: "
    [ ! -e "$T/out.nc" ]
}

@test "from Python, as docs/python.md says" {
    /usr/bin/python3 -c 'import ctypes' || skip "no Python"
    awk '/^```python/ { on = !done; next } /^```/ { if (on) done = 1; on = 0 } on' docs/python.md >"$T/predict.py"
    LD_LIBRARY_PATH=$P/lib /usr/bin/python3 "$T/predict.py" "$F/model.nc" "$F/graph.nc" "$T/ham.nc"
    values "$T/ham.nc" h_pred >"$T/mine"
    values "$F/ham.nc" h_pred >"$T/theirs"
    diff -q "$T/mine" "$T/theirs"
    LD_LIBRARY_PATH=$P/lib run /usr/bin/python3 "$T/predict.py" "$F/none.nc" "$F/graph.nc" "$T/ham.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"RuntimeError: $F/none.nc: "* ]]
}
