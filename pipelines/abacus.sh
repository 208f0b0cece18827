#!/usr/bin/env bash
# ABACUS in the loop:  abacus.sh STRUCTURE OUT
#   OUT/h0: one step from superposed atomic densities; with LABELS=1 also OUT/scf, to self-consistency. mkgraph --abacus OUT reads them.
# In the environment: ABACUS, the command that runs ABACUS (also "mpirun -n 16 abacus"); ABACUS_PSEUDO and ABACUS_ORBITAL, folders of
# pseudopotentials and orbitals; ABACUS_OPTIONS, options for mkabacus ("--kspacing .25 --set ecutwfc=80"); BIN, folder of the programs.
# A run that is there, finished and of the same input is not repeated.
set -euo pipefail
bin=${BIN:-$(dirname "$0")/../bin}
structure=$1 out=$2
fail() {
    echo "abacus.sh: $1" >&2
    exit 1
}
[ -e "$structure" ] || fail "$structure: no such file"
[ -n "${ABACUS:-}" ] || fail "$structure: a structure without H0, and ABACUS names no program that makes one"
[ -n "${ABACUS_PSEUDO:-}" ] && [ -n "${ABACUS_ORBITAL:-}" ] || fail "ABACUS_PSEUDO and ABACUS_ORBITAL must name folders"

# Why a run cannot be used; nothing where it can.
problem() {
    local run=$1 log matrix
    log=$(find "$run" -path '*/OUT.*/running_scf.log' | head -1)
    matrix=$(find "$run" -path '*/OUT.*' \( -name 'data-HR-sparse_SPIN0.csr' -o -name 'hrs1_nao.csr' \) -size +0 | head -1)
    if [ -z "$log" ]; then echo "no running_scf.log"
    elif ! grep -Eq '^ *Total +Time' "$log"; then echo "$log: not finished"
    elif [ -z "$matrix" ]; then echo "no H(R) in OUT.*/"
    elif [ "$(basename "$run")" = scf ] && ! grep -Eq 'charge density convergence is achieved|#SCF IS CONVERGED#' "$log"; then
        echo "$log: not converged"
    fi
}

mkdir -p "$out"
for kind in h0 ${LABELS:+scf}; do
    run=$out/$kind
    # shellcheck disable=SC2086
    "$bin/mkabacus" -q --run "$kind" --pseudo-dir "$ABACUS_PSEUDO" --orbital-dir "$ABACUS_ORBITAL" ${ABACUS_OPTIONS:-} \
        --outdir "$run.new" "$structure"
    if [ -d "$run" ] && [ -z "$(problem "$run")" ] &&
        cmp -s "$run/INPUT" "$run.new/INPUT" && cmp -s "$run/STRU" "$run.new/STRU" && cmp -s "$run/KPT" "$run.new/KPT"; then
        rm -r "$run.new"
        continue
    fi
    rm -rf "$run"
    mv "$run.new" "$run"
    (cd "$run" && $ABACUS > abacus.out 2>&1) || fail "$run: ABACUS ended with exit status $?: $(tail -1 "$run/abacus.out")"
    why=$(problem "$run")
    [ -z "$why" ] || fail "$run: $why"
done
