# pipelines/Snakefile on the crystals that the repository ships: its steps are tested in workflow.bats, here that they are put together.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    export BIN
    command -v snakemake > /dev/null || skip "no snakemake"
    command -v gnuplot > /dev/null || skip "no gnuplot"
    [[ $BIN != */san/* ]] || skip "the same programs a hundred times over: not under the sanitizers"
}

@test "Snakefile: from crystals to a report, nothing twice, on after a kill, failures listed" {
    cd "$T"
    export XDG_CACHE_HOME=$T/cache
    local root=$OLDPWD
    cp "$root/pipelines/tiny/"LiCl-?.nc .
    echo garbage > bad.nc
    printf 'LiCl-1.nc\t\ttrain\nLiCl-2.nc\t\tvalidation\nLiCl-3.nc\t\ttest\nbad.nc\t\ttest\nnowhere\t\ttest\n%s\t\ttest\n' "$root/pipelines/GaAs" > list
    cat > mine.yaml << 'END'
crystals: list
out: out
set:
  - network.basis=4s2p2d1f
  - schedule.epochs=40
  - schedule.warmup=2
  - loss.k_mesh=[1, 1, 1]
  - checkpoint.every_steps=2
mesh: "2 2 2"
points: 20
pictures: 1
batch: 2
ablation:
  settings: {no-H0-input: null, no-H0-in-output: null, no-tracegrad: null, one-sub-model: null, no-pq-loss: null, cut-down: null}
  seeds: [1, 2]
  leave_out: Cl
END
    flow() { snakemake -s "$root/pipelines/Snakefile" --configfile mine.yaml --profile "$root/pipelines/profiles/local" "$@"; }
    # killed while it trains, with all that it started
    setsid bash -c 'echo $$ > pid; exec "$@"' - snakemake -s "$root/pipelines/Snakefile" --configfile mine.yaml -j 2 > killed.log 2>&1 3>&- &
    for _ in $(seq 600); do
        [ "$(cat out/train/metrics.tsv 2> /dev/null | wc -l)" -lt 5 ] || break
        sleep 0.1
    done
    kill -KILL -- "-$(cat pid)"
    wait || true
    [ ! -e out/model.nc ]
    flow --unlock
    run flow
    echo "$output"
    [ "$status" -eq 0 ]
    # the training went on, the graphs were not made again, what failed is listed and in the report
    ncdump -h out/model.nc | grep -q 'history = .*--resume'
    [ "$(wc -l < out/train/metrics.tsv)" -eq 41 ]
    [[ "$output" != *"rule graph:"*"output: out/graph/LiCl-1"* ]]
    [ "$(cut -f1 out/failed.tsv | sort | tr '\n' ' ')" = "bad nowhere " ]
    [[ "$output" == *"failed, but no obstacle to the others:"*"nowhere	native.sh: "* ]]
    grep -q '<td>nowhere</td>' out/report/report.html
    [ "$(tail -n +2 out/report/predictions/crystals.tsv | cut -f1 | sort -u | tr '\n' ' ')" = "GaAs LiCl-3 " ]
    grep -q '<svg' out/bands/GaAs/bands.svg
    # nothing to do; a crystal that changed costs its own steps
    run flow
    [[ "$output" == *"Nothing to be done"* ]]
    sleep 1 && touch LiCl-3.nc
    run flow -n
    [[ "$output" == *"rule graph:"* && "$output" != *"rule train:"* ]]
    # another setting of the training, or another crystal: it begins anew
    sed -i 's/epochs=40/epochs=3/' mine.yaml
    flow > second.log 2>&1 || { cat second.log; return 1; }
    [ "$(wc -l < out/train/metrics.tsv)" -eq 4 ]
    cp out/train/metrics.tsv metrics
    sleep 1 && cp LiCl-2.nc LiCl-1.nc
    flow out/model.nc > third.log 2>&1 || { cat third.log; return 1; }
    ! cmp -s <(cut -f6 metrics) <(cut -f6 out/train/metrics.tsv)
    # ablations: the same budget, seeds with their spread, crystals with an element that was left out
    printf 'LiCl-1.nc\t\ttrain\n%s\t\ttrain\nLiCl-2.nc\t\tvalidation\nLiCl-3.nc\t\ttest\n' "$root/pipelines/GaAs" > list
    flow ablation > ablation.log 2>&1 || { cat ablation.log; return 1; }
    [ "$(wc -l < out/train-without.list)" -eq 1 ] && grep -q GaAs out/train-without.list
    [ "$(grep -c '^test	Gauge MAE, least' out/ablation.tsv)" -eq 3 ]
    mean=$(awk -F'\t' '$1 ~ /least/ { s += $4 } END { printf "%.4g", s / 2 }' out/ablation/full/report-{1,2}/test/summary.tsv)
    awk -F'\t' -v m="$mean" '$1 == "test" && $2 ~ /least/ { v[$3] = $6; spread[$3] = $7; n[$3] = $4 }
        END {
            good = v["full"] == m && n["full"] == 2 && spread["full"] > 0
            exit !(good && v["no-k-space-loss"] != v["full"] && v["without-Cl"] != v["full"])
        }' out/ablation.tsv || { cat out/ablation.tsv; return 1; }
}
