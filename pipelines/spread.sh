#!/usr/bin/env bash
# One table of many reports:  spread.sh SETTING/report-SEED...   (folders that report.sh made)
# Mean and standard deviation over the seeds, of each quantity, setting and list.
set -euo pipefail
for report; do
    for summary in "$report"/*/summary.tsv; do
        awk -F '\t' -v OFS='\t' -v setting="$(basename "$(dirname "$report")")" -v list="$(basename "$(dirname "$summary")")" \
            'NR > 1 { print list, $1, setting, $3, $4 }' "$summary"
    done
done | awk -F '\t' -v OFS='\t' '
    { key = $1 OFS $2 OFS $3; if (!(key in n)) order[++rows] = key; n[key]++; h0[key] += $4; sum[key] += $5; square[key] += $5 ^ 2 }
    END {
        print "list", "quantity", "setting", "seeds", "H0", "mean", "spread"
        for (i = 1; i <= rows; i++) {
            k = order[i]; mean = sum[k] / n[k]; v = square[k] / n[k] - mean ^ 2
            print k, n[k], sprintf("%.4g\t%.4g", h0[k] / n[k], mean), (n[k] > 1 ? sprintf("%.2g", v > 0 ? sqrt(v * n[k] / (n[k] - 1)) : 0) : "-")
        }
    }' | { IFS= read -r header; echo "$header"; sort -s -t "$(printf '\t')" -k1,2; }
