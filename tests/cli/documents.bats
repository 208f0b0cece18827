# Every command that README.md and docs/cookbook.md show is run, one after another, in a folder where the demo has been made; those of
# INSTALL.md name targets that there are. A block of commands is fenced as sh; these documents have no other place for commands.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    for p in nextham h0build mkgraph h0embed nhinfer fourier geneig dos bandplot-data optcond berry gaugemae nhmodel nhconvert nhtrain; do
        [ -x "$BIN/$p" ] || skip "no $p"
    done
    command -v gnuplot > /dev/null || skip "no gnuplot"
}

# The commands of a document, one a line.
commands() {
    awk '/^```sh$/ { on = 1; next } /^```/ { on = 0; next } on' "$1" | sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' | grep -v '^ *$'
}

# indented FILE: prints lines that look like commands outside the fences
indented() {
    awk '/^```/ { on = !on; next } !on && /^    / { print FILENAME ": " $0 }' "$1"
}

# made LINE: what is after "make" in a line are targets of the Makefile, options or settings; nothing is made
made() {
    local part=${1%%#*} word call
    [[ $part =~ (^|[ ;&])make($| ) ]] || { echo "what is this: $1"; return 1; }
    while IFS= read -r call; do
        for word in $call; do
            case $word in
            -* | [A-Z]*=*) ;;
            *) grep -Eq "^$word:" Makefile || { echo "no target $word"; return 1; } ;;
            esac
        done
    done < <(sed -E 's/(&&|;)/\n/g' <<< "$part" | sed -nE 's/^ *make( |$)//p')
}

# follow FILE COUNT: runs its commands in $T/work, at least COUNT of them
follow() {
    local n=0 line
    mkdir "$T/work"
    ln -s "$PWD/pipelines" "$PWD/formats" "$PWD/lib" "$PWD/docs" "$T/work"
    ln -s "$BIN" "$T/work/bin"
    pipelines/demo.sh "$BIN" "$T/work/demo" > "$T/log" 2>&1 || { cat "$T/log"; return 1; }
    [ "$(head -c 4 "$T/work/demo/bands.png" | tail -c 3)" = PNG ]
    grep -q '^h_pred  *overall' "$T/work/demo/errors.txt"
    # a structure with files for its elements, small ones made for tests
    /usr/bin/python3 -c 'import numpy' || skip "no numpy for Python"
    /usr/bin/python3 tests/data/make_species.py "$T/work"
    printf 'BN\n3.615\n0 .5 .5\n.5 0 .5\n.5 .5 0\nB N\n1 1\nDirect\n0 0 0\n.25 .25 .25\n' > "$T/work/POSCAR"
    commands "$1" > "$T/commands"
    [ -x "$BIN/nhscf" ] || sed -i '/^nextham bands/d' "$T/commands" # its certificate
    : > "$T/work/before" # assignments and exports of the lines so far
    while IFS= read -r line; do
        case $line in
        sudo\ * | make | make\ *) made "$line" || return 1 ;;
        export\ * | [a-z]*=*) echo "$line" >> "$T/work/before" ;;
        *)
            (cd "$T/work" && bash -euo pipefail -c ". ./before; $line" > out 2> err < /dev/null) || {
                # head closes the pipe of what writes into it
                [ $? -eq 141 ] || { echo "failed: $line"; cat "$T/work/err"; return 1; }
            }
            [ ! -s "$T/work/err" ] || { echo "on stderr: $line"; cat "$T/work/err"; return 1; }
            ;;
        esac
        n=$((n + 1))
    done < "$T/commands"
    [ "$n" -ge "$2" ] || { echo "$n commands in $1"; return 1; }
}

@test "README: every command runs" {
    [ -z "$(indented README.md)" ]
    follow README.md 14
    # the picture and the tables that the text promises
    grep -q '<svg' "$T/work/bands.svg"
    [ ! -x "$BIN/nhscf" ] || grep -q '<svg' "$T/work/bands/bands.svg"
    [ -s "$T/work/tiny/best.nc" ]
}

@test "docs/cookbook.md: every command runs" {
    [ -z "$(indented docs/cookbook.md)" ]
    follow docs/cookbook.md 18
    [ -s "$T/work/run/best.nc" ]
}

@test "INSTALL.md: every target is there" {
    commands INSTALL.md > "$T/commands"
    [ "$(wc -l < "$T/commands")" -ge 6 ]
    while IFS= read -r line; do made "$line"; done < "$T/commands"
}

@test "links of the documents lead to files" {
    for f in *.md docs/*.md lib/README.md formats/README.md kernels/README.md; do
        grep -oE '\]\([^)#]*\)' "$f" | sed 's/^](//; s/)$//' | while IFS= read -r link; do
            [[ $link == http* ]] || [ -e "$(dirname "$f")/$link" ] || { echo "$f: $link"; exit 1; }
        done || return 1
    done
}

@test "manual pages of formats and the overview: whole, and groff has nothing to say" {
    command -v groff > /dev/null || skip "no groff"
    mkdir "$T/man"
    for p in "$BIN"/*; do [ ! -x "$p" ] || "$p" --man > "$T/man/$(basename "$p").1"; done
    for page in nextham.7 nextham-graph.5 nextham-model.5; do
        docs/man/page "docs/man/$page" 1.2.3 "$T"/man/*.1 > "$T/man/$page"
        groff -man -ww -z -Tutf8 "$T/man/$page" 2> "$T/warnings"
        [ ! -s "$T/warnings" ] || { cat "$T/warnings"; return 1; }
        ! grep -n '@' "$T/man/$page" || return 1
    done
    for p in "$BIN"/*; do grep -q "^.BR $(basename "$p" | sed s/-/.*/g) (1)" "$T/man/nextham.7" || { echo "no $p"; return 1; }; done
    grep -q 'pair_start(pair)' "$T/man/nextham-graph.5"
    printf '@schema nothing.cdl@\n' > "$T/bad.5"
    run docs/man/page "$T/bad.5" 1
    [ "$status" -ne 0 ]
}

@test "bash completes options, choices and files of every program" {
    . docs/nextham.bash
    PATH=$BIN:$PATH
    complete_line() { # complete_line PROGRAM PREVIOUS CURRENT
        COMPREPLY=()
        COMP_WORDS=("$1")
        _nextham "$1" "$3" "$2" || true
        echo "${COMPREPLY[*]}"
    }
    [ "$(complete_line nhinfer nhinfer --prec)" = --precision ]
    [ "$(complete_line nhinfer --precision '')" = "single double" ]
    [[ " $(complete_line nhinfer --device '') " == *" cuda "* ]]
    [[ " $(complete_line geneig -o READ) " == *" README.md "* ]]
    for p in "$BIN"/*; do
        [[ " $(complete_line "$(basename "$p")" x --he) " == *" --help "* ]] || { echo "$p"; return 1; }
        grep -Eq "^complete .* $(basename "$p")( |\$)" docs/nextham.bash || { echo "$p is not completed"; return 1; }
    done
}

@test "zsh completes what --help prints" {
    command -v zsh > /dev/null || skip "no zsh"
    sed 's/@PROGRAMS@/nhinfer/' docs/nextham.zsh > "$T/_nextham"
    # a line of zle with the key that completes, in a terminal of zsh's own
    cat > "$T/try.zsh" <<'X'
zmodload zsh/zpty
zpty z "PATH=$1:$PATH zsh -f -i"
zpty -w z "PS1=; fpath=($2 \$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word"
zpty -n -w z $'nhinfer --keep-fea\t'
sleep 2
zpty -r -t z text '*--keep-features*' && print -r -- found
zpty -d z
X
    run zsh -f "$T/try.zsh" "$BIN" "$T"
    [[ $output == *found* ]]
}

@test "the check of commands sees one that fails, one that warns, an unknown target" {
    printf '```sh\ntrue\nfalse\n```\n' > "$T/x.md"
    run follow "$T/x.md" 1
    [ "$status" -ne 0 ] && [[ $output == *"failed: false"* ]]
    rm -r "$T/work"
    printf '```sh\necho oops >&2\n```\n' > "$T/x.md"
    run follow "$T/x.md" 1
    [ "$status" -ne 0 ] && [[ $output == *"on stderr"*oops* ]]
    rm -r "$T/work"
    printf '```sh\nmake nothing\n```\n' > "$T/x.md"
    run follow "$T/x.md" 1
    [ "$status" -ne 0 ] && [[ $output == *"no target nothing"* ]]
    printf '    hidden command\n' > "$T/x.md"
    [ -n "$(indented "$T/x.md")" ]
}
