#!/usr/bin/env bash
# Registers, spills and shared memory of every kernel as ptxas tells them, and the occupancy that follows, as a table in
# Markdown: kernels/ptxas.sh [NVCC]. Compiles every source once more for each precision and architecture.
set -euo pipefail
cd "$(dirname "$0")/.."
nvcc=${1:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
echo '| kernel | registers sm_80, sm_90 | double | spills, bytes | warps of 64 on an SM: single, double |'
echo '|---|---|---|---|---|'
for source in kernels/{rows,linear,adam,norm,gate,dense,radial,product,lift,attention,invariants,embedding,backward,loss,fourier,eigen,tiles,potential}.cu; do
    for real in "" -DNH_REAL_DOUBLE; do
        for arch in 80 90; do
            "$nvcc" -std=c++17 -O3 -I. -Ilib $real -gencode arch=compute_$arch,code=sm_$arch -Xptxas -v -c "$source" -o /dev/null 2>&1 |
                awk -v which="${real:+d}$arch" '
                    / entry function / { split($0, q, "\047"); name = q[2] }
                    /spill stores/ { spill = $5 + $9 }
                    / Used / { for (i = 1; i < NF; i++) if ($i == "Used") print which, name, $(i + 1), spill }'
        done
    done | c++filt -p | awk -v file="$(basename "$source" .cu)" '
        function warps(r,    w) { # 256 registers at a time, blocks of 8 warps
            w = int(65536 / (int((r * 32 + 255) / 256) * 256)); w -= w % 8; return w > 64 ? 64 : w }
        { n = $2; for (i = 3; i < NF - 1; i++) n = n " " $i
          sub(/^_GLOBAL__N__[^:]*::/, "", n); sub(/^void /, "", n)
          if (!(n in seen)) { order[++count] = n; seen[n] = 1 }
          r[n, $1] = $(NF - 1); if ($NF > spill[n]) spill[n] = $NF }
        END { for (i = 1; i <= count; i++) { n = order[i]; d = (n, "d90") in r
              printf "| %s: %s | %d, %d | %s | %d | %d%s |\n", file, n, r[n, 80], r[n, 90],
                     d ? r[n, "d80"] ", " r[n, "d90"] : "-", spill[n], warps(r[n, 90]), d ? ", " warps(r[n, "d90"]) : "" } }'
done
