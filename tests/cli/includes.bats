#!/usr/bin/env bats
# The arrows between the folders of the house point down, and files do not include each other in a circle.
load helper

# lib/FILE of a small tree in $T/tree includes the headers that follow.
file() {
    local f=$T/tree/$1
    mkdir -p "${f%/*}"
    shift
    printf '#include "%s"\n' "$@" >"$f"
}

setup() {
    T=$(mktemp -d)
    mkdir -p "$T"/tree/{lib,formats,tools,kernels}
    file lib/base/error.h base/types.h
    file lib/crystal/pairs.h crystal/structure.h base/error.h
    file lib/crystal/structure.h base/error.h
    file lib/ops/ops.h ops/ops.h
    file kernels/ops.h ops/ops.h
    file tools/mkgraph.c formats/graph.h
}

teardown() { rm -rf "$T"; }

@test "includes: no arrow of ours goes up, no circle" {
    run tests/includes
    [ "$status" -eq 0 ]
    [[ $output == *"crystal -> base ("* && $output == *"tools -> formats ("* ]]
}

@test "includes: a tree in order is drawn" {
    run tests/includes "$T/tree"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = $'crystal -> base (2)\nkernels -> ops (1)\ntools -> formats (1)' ]
}

@test "includes: an arrow up, into kernels/, into a folder that is not known" {
    file lib/base/error.h base/types.h crystal/pairs.h
    run tests/includes "$T/tree"
    [ "$status" -eq 1 ]
    [[ $output == *'base/error.h:2: base must not include crystal ("crystal/pairs.h")'* ]]

    file lib/base/error.h base/types.h kernels/ops.h
    run tests/includes "$T/tree"
    [ "$status" -eq 1 ]
    [[ $output == *'base/error.h:2: base must not include kernels ("kernels/ops.h")'* ]]

    file lib/base/error.h attic/types.h
    run tests/includes "$T/tree"
    [ "$status" -eq 1 ]
    [[ $output == *'base/error.h:1: "attic/types.h": a folder that tests/includes does not know'* ]]
}

@test "includes: a circle of three files, through a header and a source" {
    file lib/crystal/structure.c crystal/structure.h crystal/neighbours.h
    file lib/crystal/neighbours.c crystal/pairs.h
    run tests/includes "$T/tree"
    [ "$status" -eq 1 ]
    [[ $output == *"includes in a circle: crystal/"* && $output == *"crystal/neighbours"* && $output == *"crystal/structure"* ]]
}

@test "netCDF is called in formats/netcdf only" { # but for its version, which --version prints
    run grep -nE '\bnc_[a-z_]+ ?\(|nh_nc_id\(' -r lib tools formats kernels --include='*.[ch]' --include='*.cu'
    [[ $output == *formats/netcdf/nc_write.c:* ]]
    run grep -vE '^formats/netcdf/|nc_inq_libvers' <<<"$output"
    echo "$output"
    [ -z "$output" ]
}
