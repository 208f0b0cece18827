# A network that computes in milliseconds, for tests/data/tiny_graph.cdl.
tiny_net() {
    cat << 'END'
network: nextham-v1
basis: 2s1p
cutoff: 2.5
sh_lmax: 3
mid: 4x0e+2x1o+2x1e+1x2e
heads: 2
blocks: 2
radial: {basis: 8, max: 4, hidden: [8, 8]}
tracegrad: {hidden: 8, hidden_last: 8, z: 8, scale: 0.2}
trace_head: [8]
ranges: [[0, 1], [1, 2.5]]
edge_scalars: 4
alpha_hidden: [8, 8]
END
}

# The last `run` failed with the given status and one line that has all the texts. fails STATUS PROGRAM TEXT...
fails() {
    local text
    echo "$output"
    [ "$status" -eq "$1" ] || return 1
    [ "${#lines[@]}" -eq 1 ] || return 1
    [[ "$output" == "$2"* ]] || return 1
    for text in "${@:3}"; do
        [[ "$output" == *"$text"* ]] || { echo "lacks: $text"; return 1; }
    done
}
