#!/bin/bash
# CC, PKG_CONFIG_PATH and PREFIX are conda's.
set -eu
make -j"${CPU_COUNT:-1}" CC="$CC" PORTABLE=1 MPI=0 NVCC= PREFIX="$PREFIX" LDFLAGS="${LDFLAGS:-} -Wl,-rpath,$PREFIX/lib" install
