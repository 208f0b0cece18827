#!/usr/bin/env bash
# States in the gap of a large cell, from a structure alone:  large-cell.sh [OPTIONS]
#   N x N x N cubic cells of silicon without one atom -> H0 by h0build -> sparse bands about the Fermi level by geneig.
#   -n N       cells along each axis: 8 N^3 - 1 atoms [3]
#   -s 1|4     without spin (real numbers at Gamma), or with spin-orbit coupling [1]
#   -b BANDS   bands about the Fermi level [12]
#   -e EL, -a A   another element of the diamond structure, its lattice constant in angstrom [Si, 5.43]
#   -m GB      memory that may be used [what is free]
#   -o FOLDER  [large-cell]: POSCAR, graph.nc, gap.nc, gap.txt
# In the environment: NEXTHAM_PSEUDO and NEXTHAM_ORBITAL, folders of pseudopotentials and orbitals; H0BUILD_OPTIONS ("--ecut
# 60"); BIN, folder of the programs; THREADS.
set -euo pipefail
export LC_ALL=C.UTF-8
bin=${BIN:-$(dirname "$0")/../bin}
n=3 spin=1 bands=12 element=Si a=5.43 out=large-cell memory=
usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
while getopts n:s:b:e:a:m:o: option; do
    case $option in
    n) n=$OPTARG ;;
    s) spin=$OPTARG ;;
    b) bands=$OPTARG ;;
    e) element=$OPTARG ;;
    a) a=$OPTARG ;;
    m) memory=$OPTARG ;;
    o) out=$OPTARG ;;
    *) usage ;;
    esac
done
[ $# -lt $OPTIND ] && [ "$n" -ge 1 ] 2> /dev/null || usage
mkdir -p "$out"
awk -v n="$n" -v a="$a" -v element="$element" 'BEGIN {
    split("0 0 0 0 2 2 2 0 2 2 2 0 1 1 1 1 3 3 3 1 3 3 3 1", b, " ")
    printf "%s%d with a vacancy\n1\n%.10f 0 0\n0 %.10f 0\n0 0 %.10f\n%s\n%d\nDirect\n", element, 8 * n ^ 3 - 1, n * a, n * a, n * a, element, 8 * n ^ 3 - 1
    for (i = 0; i < n; i++) for (j = 0; j < n; j++) for (k = 0; k < n; k++) for (m = 0; m < 8; m++)
        if (i + j + k + m > 0) # the vacancy is at the origin
            printf "%.12f %.12f %.12f\n", (i + b[3 * m + 1] / 4) / n, (j + b[3 * m + 2] / 4) / n, (k + b[3 * m + 3] / 4) / n }' > "$out/POSCAR"
# shellcheck disable=SC2086
"$bin/h0build" -q ${THREADS:+-j "$THREADS"} --nspin "$spin" ${H0BUILD_OPTIONS:-} -o "$out/graph.nc" "$out/POSCAR"
echo "0 0 0" > "$out/gamma"
"$bin/geneig" ${THREADS:+-j "$THREADS"} --solver sparse ${memory:+--memory "$memory"} --matrix h0 --kpoints "$out/gamma" --efermi auto \
    --nev "$bands" -o "$out/gap.nc" "$out/graph.nc"
ncdump -v eigenvalue,band_index "$out/gap.nc" | awk '
    $1 == ":efermi" { level = $3 }
    $1 == "eigenvalue" && $2 == "=" { on = 1; $1 = $2 = "" }
    $1 == "band_index" && $2 == "=" { first = $3 + 0 }
    on { last = /;/; gsub(/[,;]/, " "); for (i = 1; i <= NF; i++) if ($i != "") e[count++] = $i; on = !last }
    END { print "# band\tE - Ef (eV)"; for (i = 0; i < count; i++) printf "%d\t%.6f\n", first + i, e[i] - level }' > "$out/gap.txt"
cat "$out/gap.txt"
