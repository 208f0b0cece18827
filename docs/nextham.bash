# Bash completion of all programs, from what --help prints: options, the values of a choice, files.
#   . docs/nextham.bash        for the programs that are in PATH
_nextham() {
    local program=${COMP_WORDS[0]} current=$2 previous=$3 help
    help=$("$program" --help 2> /dev/null) || return 0
    # "-m, --model FILE   text": the argument of the option before, where it has one
    local argument
    argument=$(awk -v o="$previous" '
        { line = $0; sub(/^ +/, "", line) }
        line ~ /^-/ {
            sub(/  .*/, "", line)
            n = split(line, part, /, /)
            for (i = 1; i <= n; i++) {
                split(part[i], word, " ")
                if (word[1] == o) { m = split(part[n], last, " "); if (m > 1) print last[2]; exit }
            }
        }' <<< "$help")
    if [[ $argument == *'|'* ]]; then
        argument=$(sed 's/\[[^]]*\]//g; s/|/ /g' <<< "$argument") # without what may follow a choice
        mapfile -t COMPREPLY < <(compgen -W "$argument" -- "$current")
    elif [[ $current == -* && -z $argument ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(grep -oE '^ +(-[A-Za-z], )?--[a-z0-9-]+' <<< "$help" | grep -oE -- '--[a-z0-9-]+')" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2> /dev/null
    fi
    return 0
}
complete -F _nextham dos mkgraph h0embed nhinfer fourier geneig bandplot-data optcond berry gaugemae nhtrain mkabacus nhmodel h0build nhscf nhconvert nextham
