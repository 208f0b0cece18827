# `h0: time-reversal` on GaAs: the H0 there was made with a starting magnetisation, which splits bands that a crystal without
# one has in pairs. The model has no range with a pair in it: its correction is zero, h_pred is the base itself.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
}

model() { # model RULE FILE
    cat > "$T/net.yaml" <<NET
mid: 4x0e+2x1o
sh_lmax: 1
heads: 1
blocks: 1
tracegrad: {hidden: 4, hidden_last: 4, z: 4, scale: 0}
trace_head: [4]
ranges: [[7.99999998, 7.99999999]]
h0: $1
NET
    "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$2"
}

overall() { # overall MATRIX: Gauge MAE in meV
    awk -v m="$1" '$1 == m && $2 == "overall" { print $7 }'
}

@test "the mean of H0 and its time reversal is nearer to the label, in Gauge MAE and in bands" {
    "$BIN/mkgraph" -q --abacus pipelines/GaAs -o "$T/g.nc"
    model time-reversal "$T/m.nc"
    "$BIN/nhinfer" -q -m "$T/m.nc" -o "$T/h.nc" "$T/g.nc"
    "$BIN/gaugemae" --mu l2 "$T/h.nc" > "$T/mae"
    awk -v given="$(overall h0 < "$T/mae")" -v mean="$(overall h_pred < "$T/mae")" 'BEGIN { exit !(given > 2.3 && mean < 0.7) }'
    # the same mean from features of the H0 as given
    "$BIN/h0embed" --precision double "$T/g.nc" | "$BIN/nhinfer" -q -m "$T/m.nc" | "$BIN/gaugemae" --mu l2 - > "$T/mae2"
    [ "$(overall h_pred < "$T/mae2")" = "$(overall h_pred < "$T/mae")" ]
    for m in h0 h_label h_pred; do
        "$BIN/geneig" -q --matrix $m --path "L .5 .5 .5; G 0 0 0; X .5 0 .5" --total 20 -o "$T/$m.nc" "$T/h.nc"
    done
    for m in h0 h_pred; do
        "$BIN/bandplot-data" --ref "$T/h_label.nc" "$T/$m.nc" | sed -n 's/^# band error after the shift: mean \([0-9.]*\) meV.*/\1/p' > "$T/error_$m"
    done
    awk -v given="$(cat "$T/error_h0")" -v mean="$(cat "$T/error_h_pred")" 'BEGIN { exit !(given > 500 && mean < 400) }'
    # L, G and X are their own time reversal: all bands in pairs there, and none of H0's
    for m in h0 h_pred; do
        ncdump -p 9,12 -v eigenvalue "$T/$m.nc" | awk '/^ eigenvalue =/ { on = 1; next } on { gsub(/[,;}]/, " "); for (i = 1; i <= NF; i++) print $i }' |
            awk 'NR % 2 { a = $1; next } NR <= 40 { d = $1 - a; if (d > most) most = d } END { print most }' > "$T/split_$m"
    done
    awk -v given="$(cat "$T/split_h0")" -v mean="$(cat "$T/split_h_pred")" 'BEGIN { exit !(given > 0.1 && mean < 1e-5) }'
}

@test "as-given is the H0 as it is" {
    "$BIN/mkgraph" -q --abacus pipelines/GaAs -o "$T/g.nc"
    model as-given "$T/m.nc"
    "$BIN/nhinfer" -q --no-hermitize -m "$T/m.nc" -o "$T/h.nc" "$T/g.nc"
    "$BIN/gaugemae" --mu l2 "$T/h.nc" > "$T/mae"
    [ "$(overall h_pred < "$T/mae")" = "$(overall h0 < "$T/mae")" ]
    run "$BIN/nhmodel" info "$T/m.nc"
    [[ "$output" == *"h0: as-given"* ]]
}

@test "an unknown rule: one line with file, line and key" {
    printf 'heads: 1\nh0: average\n' > "$T/net.yaml"
    run "$BIN/nhmodel" init --config "$T/net.yaml" --seed 1 -o "$T/m.nc"
    [ "$status" -eq 1 ]
    [[ "$output" == *"net.yaml:2: h0: 'average' found, as-given, time-reversal or none expected"* ]]
    [ ! -e "$T/m.nc" ]
}
