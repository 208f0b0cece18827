# Programs for any machine (make PORTABLE=1): which instruction set is taken, and that the numbers do not depend on it.
load helper

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || return
    T=$BATS_TEST_TMPDIR
    P=build/portable
    [ -x $P/bin/nhinfer ] || skip "make PORTABLE=1 was not called"
    [ "$(uname -m)" = x86_64 ] || skip "one instruction set on this machine"
}

# The library that a program loads, as it is found with some of the machine's abilities hidden.
library() { GLIBC_TUNABLES=$1 LD_DEBUG=libs $P/bin/nhinfer --version 2>&1 | sed -n 's/.*calling init: .*\/bin\/..\/\(lib\/.*libnextham.so\)$/\1/p'; }

predict() { # TUNABLES PROGRAM OUT
    GLIBC_TUNABLES=$1 "$2" -q --no-history -m pipelines/model.nc -o "$3" "$T/graph.nc"
}

largest_difference() { # h_pred of two files, eV
    /usr/bin/python3 - "$1" "$2" << 'END'
import sys
import netCDF4
import numpy as np
a, b = (np.asarray(netCDF4.Dataset(f)["h_pred"][:]) for f in sys.argv[1:])
assert a.size > 1000 and np.isfinite(a).all()
print(np.abs(a - b).max())
END
}

@test "the loader takes the level that the machine has, and plain x86-64 where it has none" {
    [ "$(library glibc.cpu.hwcaps=-AVX2)" = lib/nextham/libnextham.so ]
    grep -qw avx2 /proc/cpuinfo || skip "no AVX2 here"
    [ "$(library glibc.cpu.hwcaps=-AVX512F)" = lib/nextham/glibc-hwcaps/x86-64-v3/libnextham.so ]
}

@test "each level is compiled for its registers" {
    command -v objdump || skip "no objdump"
    gemm() { objdump -d --no-show-raw-insn "$1" | sed -n '/<nh_gemm_f>:/,/^$/p; /<panel_product/,/^$/p'; }
    gemm $P/lib/nextham/libnextham.so > "$T/plain"
    gemm $P/lib/nextham/glibc-hwcaps/x86-64-v3/libnextham.so > "$T/v3"
    gemm $P/lib/nextham/glibc-hwcaps/x86-64-v4/libnextham.so > "$T/v4"
    grep -q 'mulps.*%xmm' "$T/plain"
    ! grep -q '%ymm' "$T/plain"
    grep -q 'vfmadd.*%ymm' "$T/v3"
    ! grep -q '%zmm' "$T/v3"
    grep -q 'vfmadd.*%zmm' "$T/v4"
}

@test "levels give the same Hamiltonian to rounding" {
    "$BIN/mkgraph" --abacus pipelines/GaAs -o "$T/graph.nc"
    predict "" "$BIN/nhinfer" "$T/here.nc"
    predict "" $P/bin/nhinfer "$T/best.nc"
    predict glibc.cpu.hwcaps=-AVX2 $P/bin/nhinfer "$T/plain.nc"
    for level in best plain; do
        d=$(largest_difference "$T/here.nc" "$T/$level.nc")
        awk -v d="$d" 'BEGIN { exit !(d < 1e-5) }' || { echo "$level: $d"; false; }
    done
    ! cmp -s "$T/best.nc" "$T/plain.nc" # another order of sums: it is another code
}
